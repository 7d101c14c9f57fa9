"""What went over the wire in one attempt, redacted.

The rule here: it is shown to roles that may read payloads in every entity that the call touched, and each reading leaves an
audit event.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404

from portal import access, audit
from portal.models import AttemptLine, LedgerEntry
from portal.screens import Screen

OUTCOME_TONES = {
    "accepted": "good", "found": "good", "equal": "good", "rejected": "bad", "in_doubt": "info", "absent": "warn",
    "unavailable": "warn", "unauthorised": "bad", "different": "bad", "lost": "warn", "unsent": "", "unbooked": "info",
}  # fmt: skip


class AttemptPage(Screen):
    """What went over the wire in one attempt, redacted; read only by those who may, and never without a trace."""

    template_name = "ledger/attempt.html"

    def get(self, request: HttpRequest, pk: int, attempt: int) -> HttpResponseBase:
        """The exchanges of the attempt."""
        entry = get_object_or_404(LedgerEntry.objects.visible_to(request.user).select_related("target"), pk=pk)
        line = get_object_or_404(
            AttemptLine.objects.select_related("attempt__connection"), entry=entry, attempt=attempt
        )
        touched = AttemptLine.objects.filter(attempt=attempt).values_list("entry__entity_id", flat=True).distinct()
        for entity_id in touched:
            if not access.may(request.user, access.PAYLOAD_READERS, entity_id):
                raise PermissionDenied("This call carried entries of an entity in which you may not read payloads.")
        audit.record(request.user, "payload.read", line.attempt, entity=entry.entity_id, after={"entry": entry.pk})  # type: ignore[arg-type]
        return self.told(entry, line)

    def told(self, entry: LedgerEntry, line: AttemptLine) -> HttpResponse:
        """The page."""
        context = self.context(
            title=f"{line.attempt.get_purpose_display()} of entry {entry.pk}",
            entry=entry,
            line=line,
            attempt=line.attempt,
            exchanges=[_exchange(one) for one in line.attempt.exchanges],
            tone=OUTCOME_TONES.get(line.outcome, ""),
            others=AttemptLine.objects.filter(attempt=line.attempt).count() - 1,
        )
        return self.page(context, status=HTTPStatus.OK)


def _exchange(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "method": raw.get("method", ""),
        "url": raw.get("url", ""),
        "status": raw.get("status"),
        "ms": raw.get("duration_ms"),
        "error": raw.get("error", ""),
        "request": _body(raw.get("request_headers") or {}, raw.get("request_body", "")),
        "response": _body(raw.get("response_headers") or {}, raw.get("response_body", "")),
    }


def _body(headers: Mapping[str, str], body: str) -> str:
    lines = [f"{name}: {value}" for name, value in headers.items()]
    try:
        text = msgspec.json.format(body, indent=2) if body else ""
    except msgspec.DecodeError:
        text = body
    return "\n".join([*lines, "", text]).strip()
