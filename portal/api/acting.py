"""Decisions by outside programs: the acts of the screens, with their roles, once for each key, and refused in words.

The rule here: an act is the service that the screen calls, in one transaction with the answer that is kept under the program's
key, so that a repeated request is answered as the first one was and does nothing. A token decides only where it was issued for
that, as the person whose token it is: what asks for a second person asks for another user's token. A refusal changes nothing,
keeps no key and is a problem (RFC 9457) that says why.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus
from typing import Any, ClassVar

from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from portal import sql
from portal.api.base import Endpoint
from portal.models import ApiAnswer, ApiToken, User

PROBLEM = "application/problem+json"
KEPT = timedelta(days=30)
_KEY = re.compile(r"[\x21-\x7e]{8,200}")
KEY = OpenApiParameter(
    "Idempotency-Key", str, OpenApiParameter.HEADER, required=True,
    description="8 to 200 characters of the program's own: a repeat under it is answered as the first request was, for 30 days.",
)  # fmt: skip


class Problem(serializers.Serializer[Any]):
    """Why nothing was done."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    errors = serializers.DictField(required=False)  # type: ignore[assignment]  # what is sent, not what was wrong with this


class Acting(Endpoint):
    """An endpoint with acts on its rows: `said_class` is what is sent, `do` does it, and `refusals` are why it may not be."""

    said_class: ClassVar[type[serializers.Serializer[Any]]]
    refusals: ClassVar[tuple[type[Exception], ...]]

    def do(self, row: Any, said: dict[str, Any], by: Any) -> None:
        """Do what was sent with a row. Raises one of `refusals`, or PermissionDenied."""
        raise NotImplementedError

    @action(detail=True, methods=["post"], url_path="acts", url_name="act")
    def act(self, request: Request, pk: str | None = None) -> Response:
        """Do one act with this row, once for each key; the row as it stands afterwards."""

        def done(said: dict[str, Any], by: Any) -> Any:
            self.do(self.get_object(), said, by)
            return self.get_serializer(self.get_object()).data

        return self.once(request, self.said_class, done)

    def once(
        self,
        request: Request,
        said_class: type[serializers.Serializer[Any]],
        done: Callable[[dict[str, Any], Any], Any],
    ) -> Response:
        """Do something once for each key, or answer as it was answered before."""
        token = request.auth
        if not isinstance(token, ApiToken) or not token.may_decide:
            raise PermissionDenied("This token reads; ask an admin for one that may decide.")
        key = request.headers.get("Idempotency-Key", "")
        if not _KEY.fullmatch(key):
            raise ValidationError({"Idempotency-Key": ["Send 8 to 200 characters of your own in this header."]})
        if not isinstance(request.data, dict):
            raise ValidationError({"body": ["Send a JSON object."]})
        said = said_class(data=request.data)
        if unknown := sorted(set(request.data) - set(said.fields)):
            raise ValidationError({name: ["Unknown; see the schema."] for name in unknown})
        said.is_valid(raise_exception=True)
        digest = _digest(request)
        if (kept := _kept(token.user, key)) is not None:
            return _again(kept, digest)
        try:
            with transaction.atomic():
                row = ApiAnswer.objects.create(user=token.user, key=key, digest=digest, at=sql.now())
                row.answer = json.loads(json.dumps(done(said.validated_data, token.user), default=str))
                row.save(update_fields=["answer"])
        except IntegrityError as error:
            if "an_answer_is_given_once" not in str(error) or (kept := _kept(token.user, key)) is None:
                raise
            return _again(kept, digest)
        except self.refusals as refusal:
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "Nothing was decided", str(refusal))
        ApiAnswer.objects.filter(user=token.user, at__lt=sql.now() - KEPT).delete()
        return Response(row.answer)

    def handle_exception(self, exc: Exception) -> Response:
        """What is wrong with an act as a problem; a read is answered as every other one."""
        answer: Response = super().handle_exception(exc)
        if self.request.method != "POST":
            return answer
        errors = answer.data if isinstance(exc, ValidationError) and isinstance(answer.data, dict) else None
        words = "What was sent is not right."
        if not errors:
            words = str(exc.detail if isinstance(exc, APIException) else exc)
        said = problem(answer.status_code, HTTPStatus(answer.status_code).phrase, words, errors)
        for name in ("WWW-Authenticate", "Retry-After"):
            if name in answer:
                said[name] = answer[name]
        return said


def problem(status: int, title: str, detail: str, errors: Any = None) -> Response:
    """Why nothing was done, as a program reads it."""
    said = {"type": "about:blank", "title": title, "status": int(status), "detail": detail}
    return Response(said | ({"errors": errors} if errors else {}), status=status, content_type=PROBLEM)


def described(
    said: type[serializers.Serializer[Any]],
    answers: type[serializers.Serializer[Any]] | serializers.BaseSerializer[Any],
    words: str,
) -> Any:
    """How the schema tells of an act: what is sent under which header, and what is answered."""
    refused = {(code, PROBLEM): Problem for code in (400, 401, 403, 404, 422)}
    return extend_schema(request=said, parameters=[KEY], responses={200: answers, **refused}, description=words)


def _digest(request: Request) -> str:
    sent = json.dumps([request.path, request.data], sort_keys=True, default=str)
    return hashlib.sha256(sent.encode()).hexdigest()


def _kept(user: User, key: str) -> ApiAnswer | None:
    return ApiAnswer.objects.filter(user=user, key=key).first()


def _again(kept: ApiAnswer, digest: str) -> Response:
    if kept.digest != digest:
        words = "This key was used for something else; send every decision under a key of its own."
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The key was used before", words)
    return Response(kept.answer, headers={"Idempotent-Replayed": "true"})
