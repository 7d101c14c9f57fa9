"""The page of one row: the same visibility as its list, the same actions, beside the list or by itself."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, ClassVar

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils.functional import cached_property
from django_htmx.http import HttpResponseClientRefresh

from portal.access import roles_in
from portal.models.access import Scope
from portal.screens.actions import LEVELS, ActionsMixin, Outcome
from portal.screens.base import Screen, is_beside


class DetailScreen(ActionsMixin, Screen):
    """Subclasses give queryset and template; `object` is the row. Rows of other entities are not found."""

    queryset: QuerySet[Any]
    lookup: ClassVar[str] = "pk"  # field and argument of the address

    def rows(self) -> QuerySet[Any]:
        """The rows this person may open."""
        return self.queryset.all().visible_to(self.request.user)  # type: ignore[attr-defined,no-any-return]

    @cached_property
    def object(self) -> Any:
        """The row of this address."""
        return get_object_or_404(self.rows(), **{self.lookup: self.kwargs[self.lookup]})

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The page."""
        return self.show()

    def show(self, status: int = HTTPStatus.OK) -> HttpResponse:
        """The page with its actions."""
        held = roles_in(self.request.user, self.entity_id())
        return self.page(
            self.context(
                title=self.heading(),
                object=self.object,
                offered=self.permitted(held),
                here=self.request.get_full_path(),
            ),
            status=status,
        )

    def heading(self) -> str:
        """The title of the page."""
        return self.title or str(self.object)

    def entity_id(self) -> int | None:
        """The entity whose grants decide which actions are offered; None when all entities share the row."""
        scope: Scope = getattr(type(self.object), "scope", Scope())
        value: Any = self.object
        for step in scope.path.split("__"):
            value = getattr(value, step, None)
        key: int | None = getattr(value, "pk", value)
        return key

    def chosen(self, request: HttpRequest) -> tuple[QuerySet[Any], bool]:
        """The row itself, and never everything."""
        return self.rows().filter(pk=self.object.pk), False

    def _tell(self, outcome: Outcome, *, changed: bool) -> HttpResponse:
        """The page itself follows what was done on it; beside a list, the drawer and the list do."""
        is_whole = bool(getattr(self.request, "htmx", None)) and not is_beside(self.request)
        if not (changed and is_whole) or outcome.url:
            return super()._tell(outcome, changed=changed)
        messages.add_message(self.request, LEVELS[outcome.tone], outcome.message, extra_tags=outcome.undo)
        return HttpResponseClientRefresh()
