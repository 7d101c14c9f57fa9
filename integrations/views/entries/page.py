"""The page of one ledger entry: where it comes from, every figure explained, the proof that it stands, and the evidence.

The rule here: the page says only what rows say, in the words of `integrations.thread`. What went over the wire is shown to
roles that may read payloads in every entity that the call touched.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django_htmx.http import HttpResponseStopPolling, trigger_client_event

from integrations import abilities, thread
from integrations.models import InboxMessage, Settlement
from integrations.thread.lineage import BROKEN, NOT_BOOKED, PROVED
from integrations.views.entries.attempt import OUTCOME_TONES
from integrations.views.entries.offers import offers
from integrations.views.entries.past import happened
from portal import access, figures
from portal.models import AttemptLine, LedgerEntry, Published, State
from portal.models.documents import OURS
from portal.screens import DetailScreen
from portal.tables import STATE_TONES, name_of, waiting
from reconciliation import triage
from reconciliation.models import EntryComment, ExceptionCase, HandBack, Hold
from reconciliation.sql import hanging
from reconciliation.tables import title_of

SHOWN_VERSIONS = 4
SHOWN_READ_BACKS = 10


@dataclass(frozen=True, slots=True)
class Lamp:
    """One of the four proofs: lit, in doubt, broken or dark; and its evidence in words."""

    name: str
    light: str  # "", lit, doubt, broken
    words: Any = ""


class EntryPage(DetailScreen):
    """One ledger entry, from the source's words to the target's books."""

    queryset = LedgerEntry.objects.exclude(kind__in=OURS).select_related(
        "entity", "source", "target", "document", "project", "resource", "state_row"
    )
    template_name = "ledger/entry.html"
    object: LedgerEntry
    refused: dict[str, str] | None = None  # a comment that was not kept, and why

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The page; what owes master data has its page under Published."""
        try:
            return super().get(request, *args, **kwargs)
        except Http404:
            told = Published.objects.visible_to(request.user).filter(document__entries=self.kwargs["pk"]).first()
            if told is None:
                raise
            return redirect("published_record", told.pk)

    def heading(self) -> str:
        """Whose work on what."""
        return name_of(self.object)

    @cached_property
    def told(self) -> thread.Thread:
        """Everything that is known of the entry's document."""
        return thread.of(self.object.document)

    @cached_property
    def mine(self) -> thread.EntryThread:
        """What of it is about this entry."""
        return next(one for one in self.told.entries if one.entry.pk == self.object.pk)

    def context(self, **more: Any) -> dict[str, Any]:
        """Everything that is known of the entry; a fixed number of queries."""
        if "object" not in more:
            return super().context(**more)
        told, mine = self.told, self.mine
        entry, state = mine.entry, mine.entry.state_row
        user = self.request.user
        held = access.roles_in(user, entry.entity_id)
        readable = bool(held & access.PAYLOAD_READERS)
        open_holds = [hold for hold in mine.holds if hold.closed_at is None]
        doubt = doubt_about(entry, held)
        visible = set(LedgerEntry.objects.visible_to(user).filter(document=told.document).values_list("pk", flat=True))
        siblings = [one.entry for one in told.entries if one.entry.pk != entry.pk and one.entry.pk in visible]
        reversal = next((one for one in siblings if _takes_back(one, entry)), None)
        now, not_now = offers(
            entry, open_holds, held, reversal=reversal, can_ask=doubt["doubt"].can_ask if doubt else True
        )
        return super().context(
            **more,
            **doubt,
            **(self.refused or {}),
            entry=entry,
            state=state,
            tone=STATE_TONES.get(State(state.state), ""),
            owners=owners_of(open_holds),
            stations=[
                (one, one.url or self._leads(one.key, entry, reversal, readable=readable))
                for one in thread.lineage(told, mine)
            ],
            views=thread.side_by_side(told, mine),
            lamps=lamps(entry, mine),
            sums=thread.explained(entry, mine.settled_at),
            waits=waiting(state.waits_on),
            open_holds=[(hold, title_of(hold.rule)) for hold in open_holds],
            hanging=[
                one
                for one in hanging.of_documents([entry.document_id])
                if entry.pk in (one.entry_id, one.reversal_id, one.anew_id)
            ],
            now=now,
            not_now=not_now,
            transitions=[
                (move, STATE_TONES.get(State(move.to_state), ""), State(move.to_state).label)
                for move in reversed(mine.transitions)
            ],
            attempts=[
                (number, line, OUTCOME_TONES.get(line.outcome, ""), OUTCOMES.get(line.outcome, line.outcome))
                for number, line in reversed(list(enumerate(mine.attempts, 1)))
            ],
            receipt=mine.receipt,
            read_backs=list(reversed(mine.read_backs))[:SHOWN_READ_BACKS],
            lines=mine.lines,
            results=mine.results,
            siblings=siblings,
            numbers=[version.version for version in told.versions[-SHOWN_VERSIONS:]],
            fields=thread.compared(told.versions[-SHOWN_VERSIONS:]),
            events=happened(told, mine, user),
            raw=[(message, pretty(message)) for message in told.messages] if readable else [],
            readable=readable,
            comments=EntryComment.objects.filter(entry=entry).select_related("author"),
            may_comment=bool(held & triage.COMMENTERS),
            people_url=reverse("entry_people", args=[entry.pk]),
            hand_backs=HandBack.objects.filter(entry=entry, answered_at=None).select_related("by").order_by("-pk"),
            untold=abilities.why_untold(entry.source),
        )

    def _leads(self, key: str, entry: LedgerEntry, reversal: LedgerEntry | None, *, readable: bool) -> str:
        """Where a station of the line leads."""
        if key == "source" and readable and self.told.messages:
            version = next((one for one in self.told.versions if one.version == entry.version), None)
            if version is not None and version.message_id is not None:
                return reverse("inbox_message", args=[version.message_id])
        if key == "reversal" and reversal is not None:
            return reverse("entry", args=[reversal.pk])
        if key == "ledger":
            held = next((hold for hold in self.mine.holds if hold.closed_at is None), None)
            return reverse("cause", args=[held.case_id]) if held is not None else "#moves"
        return {
            "source": "#versions",
            "approval": "#versions",
            "document": "#attempts",
            "read-back": "#comparison",
            "invoice": "#amount",
        }.get(key, "#")


OUTCOMES = {
    "accepted": "Accepted", "found": "Found", "rejected": "Refused", "in_doubt": "No certain answer", "absent": "Not there",
    "unbooked": "Taken, not booked yet",
    "unavailable": "Not reached", "unauthorised": "Credentials refused", "different": "Found, differs", "lost": "Worker ended",
    "unsent": "Not sent", "": "No answer yet",
}  # fmt: skip


def _takes_back(one: LedgerEntry, entry: LedgerEntry) -> bool:
    return one.reverses_id == entry.pk and one.state_row.state != State.CANCELLED


def owners_of(holds: list[Hold]) -> list[str]:
    """Who works on the causes that hold the entry; "nobody yet" where one has no owner."""
    cases = ExceptionCase.objects.filter(pk__in={hold.case_id for hold in holds}).select_related("owner")
    return sorted({case.owner.get_username() if case.owner else "nobody yet" for case in cases})


def doubt_about(entry: LedgerEntry, held: frozenset[str]) -> dict[str, Any]:
    """What the banner of an entry in doubt says to somebody who holds some roles; empty for every other state."""
    state = entry.state_row
    if state.state != State.IN_DOUBT:
        return {}
    mark = f"{state.look_ups}.{int(state.next_attempt_at.timestamp()) if state.next_attempt_at else 0}"
    said = Settlement.objects.filter(entry=entry, fence=state.fence, confirmed_at=None, dropped_at=None)
    return {
        "doubt": thread.doubt_of(entry, abilities.capabilities(entry.target)),
        "mark": mark,
        "is_in_doubt": True,
        "said": said.select_related("by").first(),
        "settle_url": reverse("entry_settle", args=[entry.pk]) if held & access.FIXERS else "",
    }


class DoubtPart(DetailScreen):
    """The banner of an entry in doubt, which asks again until the doubt is over. It keeps its place and its height.

    A screen reader hears of it only when something is new: another look-up, or the end of the doubt.
    """

    queryset = LedgerEntry.objects.select_related("target", "state_row")
    template_name = "ledger/doubt.html"
    object: LedgerEntry

    def heading(self) -> str:
        """Whose work on what."""
        return f"Entry {self.object.pk} in doubt"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The banner as it stands."""
        entry = self.object
        about = doubt_about(entry, access.roles_in(request.user, entry.entity_id))
        known = entry.state_row.get_state_display().lower()
        context = self.context(title=self.heading(), entry=entry, state=entry.state_row, known=known, **about)
        if not getattr(request, "htmx", None):
            return self.page(context)
        answer: HttpResponse = render(request, "ledger/doubt_part.html", context, status=HTTPStatus.OK)
        if not about:
            answer.status_code = HttpResponseStopPolling.status_code
            return trigger_client_event(answer, "tieout:say", {"text": f"Entry {entry.pk} is known now: {known}."})
        if request.GET.get("mark", about["mark"]) != about["mark"]:
            return trigger_client_event(answer, "tieout:say", {"text": about["doubt"].sentence})
        return answer


def lamps(entry: LedgerEntry, told: thread.EntryThread) -> list[Lamp]:
    """Intent stored, accepted, read back equal, still equal today."""
    state = entry.state_row
    sent = next((line.attempt for line in told.attempts if line.attempt.purpose == "push"), None)
    is_intended = bool(state.body_hash) or sent is not None
    when = figures.moment(sent.started_at) if sent is not None else ""
    intent = Lamp(
        "Intent stored",
        "lit" if is_intended else "",
        when or ("key and content kept" if is_intended else "not sent yet"),
    )
    if told.receipt is not None:
        accepted = Lamp("Accepted", "lit", f"receipt {told.receipt.number}")
    elif state.state == State.IN_DOUBT:
        accepted = Lamp("In doubt", "doubt", "nobody knows yet whether it was taken")
    elif state.state == State.REJECTED:
        accepted = Lamp("Refused", "broken", told.transitions[-1].reason if told.transitions else "")
    else:
        accepted = Lamp("Accepted", "", "no receipt yet")
    first = next((one for one in told.read_backs if one.is_equal), None)
    latest = told.read_backs[-1] if told.read_backs else None
    if (look := told.unbooked) is not None:
        equal = _unbooked(entry, told, look)
    elif first is not None:
        equal = Lamp("Read back equal", "lit", figures.moment(first.at))
    elif latest is not None:
        equal = Lamp("Differs" if latest.found else "Not found", "broken", figures.moment(latest.at))
    else:
        equal = Lamp("Read back equal", "", "not read back yet")
    return [intent, accepted, equal, _today(entry, told)]


def _unbooked(entry: LedgerEntry, told: thread.EntryThread, look: AttemptLine) -> Lamp:
    """Taken and not booked yet: when it was last looked at, how long the target takes, and what it says stands against it."""
    seen = f"last looked at {figures.age(look.attempt.started_at)} ago"
    late = next((hold for hold in told.holds if hold.rule == NOT_BOOKED and hold.closed_at is None), None)
    if late is not None:
        return Lamp("Not booked", "broken", f"{look.detail.rstrip('.') or 'its time is over'}; {seen}")
    can = abilities.capabilities(entry.target)
    within = f", which books within {figures.span_of(can.books_within)}" if can is not None and can.books_within else ""
    return Lamp("Not booked yet", "", f"taken by {entry.target}{within}; {seen}")


def _today(entry: LedgerEntry, told: thread.EntryThread) -> Lamp:
    state = entry.state_row
    if state.state == State.REVERSED:
        return Lamp("Taken back", "", "reversed in the target")
    latest = told.read_backs[-1] if told.read_backs else None
    broken = any(hold.rule in BROKEN and hold.closed_at is None for hold in told.holds)
    gone = any(line.gone_at is not None for line in told.lines)
    if broken or gone or (latest is not None and not latest.is_equal and state.state in PROVED):
        return Lamp("No longer equal", "broken", figures.moment(latest.at) if latest is not None else "")
    if state.state in PROVED and state.proved_at is not None:
        statement = " and in the period's statement" if state.state == State.RECONCILED else ""
        return Lamp("Still equal today", "lit", f"seen {figures.age(state.proved_at)} ago{statement}")
    return Lamp("Still equal today", "", "nothing to compare yet")


def pretty(message: InboxMessage) -> str:
    """The payload as it came, indented."""
    return json.dumps(message.payload, indent=2, ensure_ascii=False, sort_keys=False)
