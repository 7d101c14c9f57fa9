"""Endpoints that read, with a token.

The rule here: rows come from `visible_to` of the token's user and from nowhere else, unknown filters are refused rather than
ignored, and pages follow a cursor, so that a long read neither skips nor repeats what is added meanwhile.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import mixins, viewsets
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, NotFound, ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.throttling import UserRateThrottle

from portal import tokens
from portal.models import ApiToken, User

_ID = re.compile(r"[0-9]{1,19}")
PAGING = frozenset({"cursor", "page_size", "format"})


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        """The token and its user; raises AuthenticationFailed for one that is unknown, expired or revoked."""
        scheme, _, token = get_authorization_header(request).decode("latin-1").partition(" ")
        if not scheme:
            return None
        if scheme.lower() != "bearer":
            raise AuthenticationFailed("Send the token as “Authorization: Bearer TOKEN”.")
        found = tokens.known(token.strip())
        if found is None:
            raise AuthenticationFailed("This token is unknown, expired or revoked; ask an admin for another.")
        return found.user, found

    def authenticate_header(self, request: Request) -> str:
        """So that a missing token is answered with 401."""
        return 'Bearer realm="Tieout"'


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema names the token."""

    target_class = "portal.api.base.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """A bearer token."""
        return {"type": "http", "scheme": "bearer"}


class Pages(CursorPagination):
    """Pages in the order in which rows were made; 200 rows unless told, 2,000 at most."""

    ordering = "id"
    page_size = 200
    max_page_size = 2000
    page_size_query_param = "page_size"

    def decode_cursor(self, request: Request) -> Cursor | None:
        """Where a page begins; raises NotFound for what no page of ours can have named."""
        cursor: Cursor | None = super().decode_cursor(request)
        if cursor is not None and cursor.position is not None and not _ID.fullmatch(str(cursor.position)):
            raise NotFound(self.invalid_cursor_message)
        return cursor


class ReaderThrottle(UserRateThrottle):
    """A brake against a program gone wild; the proxy holds the real limit."""

    rate = "600/min"
    scope = "api"


class Endpoint(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Any]):
    """A list and its rows: `rows` is the model's scoped queryset, `filterset_class` the screens' own filters."""

    authentication_classes = [TokenAuthentication]
    permission_classes = [IsAuthenticated]
    throttle_classes = [ReaderThrottle]
    pagination_class = Pages
    rows: ClassVar[Any]

    def get_queryset(self) -> QuerySet[Any]:
        """The rows that the token's user may see."""
        if getattr(self, "swagger_fake_view", False):
            empty: QuerySet[Any] = self.rows.none()
            return empty
        visible: QuerySet[Any] = self.rows.all().visible_to(self.request.user)
        return visible

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter as on the screen; a filter that does not exist is an error, not silence."""
        filterset: Any = getattr(self, "filterset_class", None)
        known = set(filterset.base_filters) if filterset else set()
        unknown = set(self.request.query_params) - known - PAGING
        if unknown:
            raise ValidationError(
                {name: f"Unknown filter; expected one of {', '.join(sorted(known))}." for name in unknown}
            )
        filtered: QuerySet[Any] = super().filter_queryset(queryset)
        return filtered
