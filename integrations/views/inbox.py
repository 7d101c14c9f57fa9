"""The inbox: every vendor record and webhook as it came, what became of it, and having it taken in again.

The rule here: a message's payload is shown to roles that may read payloads in its entity, and to nobody else; each reading
leaves an audit event.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

from django import forms
from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.urls import reverse
from django.utils.functional import cached_property

from integrations import inbox, wake
from integrations.filters import MessageFilter
from integrations.models import InboxMessage, Run
from integrations.tables import MESSAGE_TONES, MessageTable
from portal import audit
from portal.access import OPERATORS, PAYLOAD_READERS, may
from portal.models import Connection, Expense, Invoice, InvoiceVersion, Payment, PaymentVersion, TimeEntry, User
from portal.models.access import entities_held
from portal.screens import Action, Badge, DetailScreen, Empty, ListScreen, Outcome, Tab

State = InboxMessage.State


class Replay(Action):
    """Have messages mapped and taken in again."""

    name, label, key = "replay", "Replay", "post"
    roles = OPERATORS
    sentence = "Take {count} messages in again"
    of_one = "Take 1 message in again"
    button = "Replay"
    reason = forms.CharField(
        max_length=500,
        help_text="Kept in the audit trail. What was taken in before and has not changed makes no new version.",
        widget=forms.Textarea(attrs={"rows": 2}),
    )

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Put them back to the start of the way in."""
        connections = set(queryset.order_by().values_list("connection_id", flat=True))
        count = inbox.replay(queryset.values_list("pk", flat=True), user=user, reason=self.cleaned_data["reason"])
        for connection_id in connections:
            wake.up("take_in", connection_id)
        if not count:
            return Outcome("These messages are new and will be taken in anyway.", tone="warn")
        return Outcome(f"{count:,} {'message is' if count == 1 else 'messages are'} taken in again.")


class InboxScreen(ListScreen):
    """Everything that arrived."""

    title = "Inbox"
    queryset = InboxMessage.objects.select_related("connection").defer("payload", "headers").order_by("-pk")
    filterset = MessageFilter
    table = MessageTable
    actions = (Replay,)
    tabs = (
        Tab("all", "All"),
        Tab("new", "New", lambda _user: Q(state=State.NEW)),
        Tab("failed", "Cannot be read", lambda _user: Q(state=State.FAILED)),
        Tab("done", "Taken in", lambda _user: Q(state=State.DONE)),
        Tab("ignored", "Not taken", lambda _user: Q(state__in=[State.IGNORED, State.SUPERSEDED])),
    )
    caption = "Messages of the inbox"

    def headline(self) -> str:
        """What the inbox is, and what of it a person does not see who has no role in every entity."""
        said = "Vendor records and webhooks as they came. What cannot be read waits here; nothing else waits for it."
        is_partial = None not in entities_held(self.request.user, None)
        if is_partial and Connection.objects.filter(entity=None, is_source=True).exists():
            said += (
                " Of an account that all entities share you see what made bills and payments of yours; its master data, and what "
                "cannot be read of it, is shown to those with a role in every entity."
            )
        return said

    def nothing(self) -> Empty:
        """By tab: none failed is good news."""
        if self.tab and self.tab.slug == "failed":
            return Empty("Everything could be read", "No message waits for a person.", "?tab=all", "See all messages")
        if self.tab and self.tab.slug == "new":
            return Empty("Nothing waits", "Every message that came has been taken in or set aside.")
        return Empty("Nothing has arrived yet", "Messages appear when a stream is read or a webhook comes.")


@dataclass(frozen=True, slots=True)
class Became:
    """One version of a document that a message brought."""

    words: str
    url: str
    is_current: bool
    note: str


@dataclass(frozen=True, slots=True)
class Billed:
    """One version of a bill or a payment that a message brought, and whose it is."""

    entity_id: int
    became: Became


class MessageScreen(DetailScreen):
    """One message: where it came from, what became of it, and its payload."""

    queryset = InboxMessage.objects.select_related("connection__entity")
    template_name = "integrations/message.html"
    actions = (Replay,)
    object: InboxMessage

    def show(self, status: int = HTTPStatus.OK) -> HttpResponse:
        """The page; that its payload was read is written down."""
        message = self.object
        if self.is_readable:
            audit.record(
                cast("User", self.request.user), "payload.read", message, entity=self.concerned,
                after={"stream": message.stream, "external_id": message.external_id, "revision": message.revision},
            )  # fmt: skip
        return super().show(status)

    @cached_property
    def concerned(self) -> int | None:
        """The entity that the message is about; None where that is every entity's, or nobody knows."""
        ours: int | None = self.object.connection.entity_id
        return ours if ours is not None else next((version.entity_id for version in self.billed), None)

    @cached_property
    def is_readable(self) -> bool:
        """Whether this person may read payloads of the message's entity."""
        return may(self.request.user, PAYLOAD_READERS, self.concerned)

    def heading(self) -> str:
        """Stream and the source's id."""
        return f"{self.object.stream} {self.object.external_id}".strip()

    def context(self, **more: Any) -> dict[str, Any]:
        """The message in words beside its row."""
        if "object" not in more:
            return super().context(**more)
        message = self.object
        readable = self.is_readable
        return super().context(
            **more,
            tone=MESSAGE_TONES[message.state],
            became=self.became,
            run=Run.objects.filter(pk=message.run_id).first() if message.run_id else None,
            readable=readable,
            payload=pretty(message.payload) if readable else "",
            headers=pretty(message.headers) if readable and message.headers else "",
            others=self._others(),
        )

    def _others(self) -> list[InboxMessage]:
        """Other revisions of the same record, the latest ten."""
        same = InboxMessage.objects.visible_to(self.request.user).filter(
            connection=self.object.connection_id, stream=self.object.stream, external_id=self.object.external_id
        )
        return list(same.exclude(pk=self.object.pk).defer("payload", "headers").order_by("-revision")[:10])

    @cached_property
    def became(self) -> list[Became]:
        """The versions of documents that this message brought, of the entities its reader sees."""
        found: list[Became] = []
        for model in (TimeEntry, Expense):
            versions = model.objects.visible_to(self.request.user).filter(message_id=self.object.pk)
            found.extend(_became(one) for one in versions.select_related("document").order_by("pk")[:50])
        return found + [one.became for one in self.billed]

    @cached_property
    def billed(self) -> list[Billed]:
        """The versions of bills and payments that this message brought, of the entities its reader sees."""
        found: list[Billed] = []
        for model, of in ((InvoiceVersion, "invoice"), (PaymentVersion, "payment")):
            versions = model.objects.visible_to(self.request.user).filter(message_id=self.object.pk)
            found.extend(_billed(one, getattr(one, of)) for one in versions.select_related(of).order_by("pk")[:50])
        return found


def _became(version: TimeEntry | Expense) -> Became:
    document = version.document
    entry = document.entries.filter(version=version.version).select_related("state_row").order_by("-pk").first()
    quantity = (
        f"{version.hours:.2f} h" if isinstance(version, TimeEntry) else f"{version.amount:.2f} {version.currency}"
    )
    kind = "Time entry" if isinstance(version, TimeEntry) else "Expense"
    words = f"{kind} {document.external_id}, version {version.version}: {quantity} on {version.work_date:%d %b %Y}"
    is_current = document.current_version == version.version
    if entry is None:
        return Became(words, "", is_current, "owed to no target")
    note = f"on the ledger: {entry.state_row.get_state_display().lower()}"
    return Became(words, reverse("entry", args=[entry.pk]), is_current, note)


def _billed(version: InvoiceVersion | PaymentVersion, bill: Invoice | Payment) -> Billed:
    is_bill = isinstance(version, InvoiceVersion)
    amount = version.total if isinstance(version, InvoiceVersion) else version.amount
    name = f"{bill.get_kind_display()} {version.number or bill.external_id}"
    words = f"{name}, version {version.version}: {amount:,.2f} {version.currency}"
    note = f"stated as {version.get_status_display().lower()}"
    url = reverse("bill" if is_bill else "payment", args=[bill.pk])
    return Billed(bill.entity_id, Became(words, url, bill.current_id == version.pk, note))


def pretty(value: Any) -> str:
    """JSON as a person reads it."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def badge(user: Any) -> Badge | None:
    """How many messages cannot be read, for the navigation."""
    failed = InboxMessage.objects.visible_to(user).filter(state=State.FAILED)[:100].count()
    return Badge("Messages that cannot be read", failed, "bad") if failed else None
