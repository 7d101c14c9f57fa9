"""The audit trail on screen: every decision with its person, its reason and what it changed, and the proof of the chain.

The rule here: a person reads the events of their entities and those that belong to all; nobody changes one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal import audit
from portal.filters import AuditFilter
from portal.models import AuditEvent, GrantRole
from portal.screens import DetailScreen, Empty, ListScreen, MainColumn, Screen, Tab, Table, TextColumn, WhenColumn
from portal.screens.base import roles_of
from portal.views.governed import address_of

VERIFIERS = frozenset({GrantRole.AUDITOR, GrantRole.CONTROLLER, GrantRole.ADMIN})


def in_words(action: str) -> str:
    """A stored action as a person says it: `breaker-opened` is “Breaker opened”."""
    return action.replace("-", " ").replace(".", " ").replace("_", " ").capitalize()


class AuditTable(Table):
    """One decision a row."""

    action = MainColumn(
        verbose_name="Decision", url=lambda row: reverse("audit_event", args=[row.pk]), second=lambda row: row.reason
    )
    object_name = TextColumn(verbose_name="About", wraps=True)
    actor_name = TextColumn(verbose_name="Who")
    entity = TextColumn()
    at = WhenColumn(verbose_name="When")
    id = TextColumn(verbose_name="Link of the chain", orderable=False)

    def render_action(self, value: str, record: Any, bound_column: Any) -> SafeString:
        """The action in words, linked."""
        shown: SafeString = bound_column.column.render(in_words(value), record)
        return shown

    def render_object_name(self, value: str, record: Any) -> SafeString:
        """The object's name with its kind."""
        return format_html("{}<small>{}</small>", value[:160], record.object_type)

    def value_object_name(self, value: str, record: Any) -> str:
        """The object's kind and name."""
        return f"{record.object_type} {value}"


class AuditScreen(ListScreen):
    """Every decision."""

    title = "Audit"
    queryset = AuditEvent.objects.select_related("entity").order_by("-pk")
    filterset = AuditFilter
    table = AuditTable
    template_name = "audit/list.html"
    tabs = (
        Tab("all", "All"),
        Tab("mine", "Mine", lambda user: Q(actor=user)),
        Tab("people", "By people", lambda _user: Q(actor__isnull=False)),
        Tab("system", "By the system", lambda _user: Q(actor=None)),
    )
    caption = "Decisions, latest first"
    empty = Empty("No decision has been recorded yet", "Every decision of a person leaves one event here, for good.")

    def headline(self) -> str:
        """What an event is."""
        return "One event per decision, appended and chained: a changed or removed event breaks the chain at its place."

    def may_verify(self) -> bool:
        """Whether this person may have the chain walked."""
        return bool(VERIFIERS & roles_of(self.request))


@dataclass(frozen=True, slots=True)
class Change:
    """One field before and after, as text."""

    name: str
    before: str
    after: str

    @property
    def differs(self) -> bool:
        """Whether the decision changed it."""
        return self.before != self.after


def changes_of(before: Any, after: Any) -> list[Change]:
    """What a decision changed, field by field; values that are no fields are one change without a name."""
    if not isinstance(before, dict | None) or not isinstance(after, dict | None):
        return [Change("", as_text(before), as_text(after))]
    names = list(dict.fromkeys([*(before or {}), *(after or {})]))
    return [
        Change(name.replace("_", " ").capitalize(), as_text((before or {}).get(name)), as_text((after or {}).get(name)))
        for name in names
    ]


def as_text(value: Any) -> str:
    """A stored value as a person reads it; nothing stays empty."""
    if value is None or value in ("", {}, []):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int):
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=str)


class EventScreen(DetailScreen):
    """One decision: who, when, why, and what it changed."""

    queryset = AuditEvent.objects.select_related("entity", "actor")
    template_name = "audit/event.html"
    object: AuditEvent

    def heading(self) -> str:
        """The action in words."""
        return in_words(self.object.action)

    def context(self, **more: Any) -> dict[str, Any]:
        """The change, and the links of the chain on both sides."""
        event = self.object
        seen = AuditEvent.objects.visible_to(self.request.user)
        return super().context(
            **more,
            changes=changes_of(event.before, event.after) if (event.before or event.after) else [],
            history=address_of(self.request.user, event.object_type, event.object_id),
            previous=seen.filter(pk__lt=event.pk).order_by("-pk").first(),
            following=seen.filter(pk__gt=event.pk).order_by("pk").first(),
        )


class VerifyScreen(Screen):
    """Walk the whole chain, and say whether it holds."""

    title = "The chain of decisions"
    template_name = "audit/verified.html"
    roles = VERIFIERS

    def get(self, request: HttpRequest) -> HttpResponseBase:
        """What verifying means, and the button."""
        return self.page(self.context(result=None))

    def post(self, request: HttpRequest) -> HttpResponseBase:
        """Walk it."""
        if not VERIFIERS & roles_of(request):
            raise PermissionDenied("Verifying the chain is for auditors, controllers and admins.")
        events = AuditEvent.objects.order_by("pk")
        problems = audit.verify()
        head = events.last()
        return self.page(
            self.context(
                result={
                    "problems": problems[:200],
                    "count": len(problems),
                    "events": events.count(),
                    "first": events.first(),
                    "head": head,
                    "at": timezone.now(),
                }
            )
        )
