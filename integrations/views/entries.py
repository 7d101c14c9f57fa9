"""The page of one ledger entry: every figure explained, the proof that it stands in the target, and all the evidence.

The rule here: the page says only what rows say. What went over the wire is shown to roles that may read payloads in every
entity that the call touched, and each reading leaves an audit event.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from http import HTTPStatus
from itertools import pairwise
from typing import Any

import msgspec
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone

from integrations import thread
from integrations.models import InboxMessage
from integrations.postings import plain
from portal import access, audit, figures, money
from portal.models import AttemptLine, Expense, LedgerEntry, State, TimeEntry
from portal.screens import DetailScreen, Screen
from portal.tables import STATE_TONES, name_of, waiting
from reconciliation.fixes import FIXES
from reconciliation.models import HandBack, Hold
from reconciliation.rules import BY_CODE
from reconciliation.tables import title_of
from reconciliation.views.fixing import fixes_of

RECEIPTED = (State.ACCEPTED, State.POSTED, State.RECONCILED, State.REVERSED)
PROVED = (State.POSTED, State.RECONCILED)
OUTCOME_TONES = {
    "accepted": "good", "found": "good", "equal": "good", "rejected": "bad", "in_doubt": "info", "absent": "warn",
    "unavailable": "warn", "unauthorised": "bad",
}  # fmt: skip
COMPARED = {
    "status": "Status",
    "hours": "Hours",
    "amount": "Amount",
    "currency": "Currency",
    "rate": "Rate at source",
    "work_date": "Work date",
    "post_on": "Posting date",
    "resource_name": "Person",
    "resource_code": "Person's code",
    "project_code": "Project code",
    "project_name": "Project",
    "task_code": "Task",
    "is_billable": "Billable",
    "category": "Category",
    "tax_code": "Tax code",
    "receipt_reference": "Receipt",
    "description": "Description",
    "approver_name": "Approved by",
    "approved_at": "Approved at",
    "rate_source": "Whose rate",
}
SHOWN_VERSIONS = 4
BROKEN = ("divergent-read-back", "gone-in-target", "not-persisted")


@dataclass(frozen=True, slots=True)
class Lamp:
    """One of the four proofs: lit, in doubt, broken or dark; and its evidence in words."""

    name: str
    light: str  # "", lit, doubt, broken
    words: Any = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """One field over the versions of a document; `changes` marks the cells that differ from the version before."""

    name: str
    cells: Sequence[tuple[str, bool]]

    @property
    def differs(self) -> bool:
        """Whether any version says something else."""
        return any(changed for _, changed in self.cells)


class EntryPage(DetailScreen):
    """One ledger entry, from the source's words to the target's books."""

    queryset = LedgerEntry.objects.select_related(
        "entity", "source", "target", "document", "project", "contract", "customer", "task", "resource", "role",
        "cost_centre", "purchase_order", "period", "rate_used__card", "state_row", "reverses",
    )  # fmt: skip
    template_name = "ledger/entry.html"
    object: LedgerEntry

    def heading(self) -> str:
        """Whose work on what."""
        return name_of(self.object)

    def context(self, **more: Any) -> dict[str, Any]:
        """Everything that is known of the entry; a fixed number of queries."""
        if "object" not in more:
            return super().context(**more)
        entry, state = self.object, self.object.state_row
        told = thread.of(entry.document)
        mine = next(one for one in told.entries if one.entry.pk == entry.pk)
        held = access.roles_in(self.request.user, entry.entity_id)
        readable = bool(held & access.PAYLOAD_READERS)
        open_holds = [hold for hold in mine.holds if hold.closed_at is None]
        latest = mine.read_backs[-1] if mine.read_backs else None
        return super().context(
            **more,
            entry=entry,
            state=state,
            tone=STATE_TONES.get(State(state.state), ""),
            said=f"entry {entry.pk} · {entry.entity.code} · {entry.source} → {entry.target}",
            lamps=lamps(entry, mine),
            sums=explained(entry),
            waits=waiting(state.waits_on),
            is_in_doubt=state.state == State.IN_DOUBT,
            looked_up_later=state.next_attempt_at is not None and state.next_attempt_at > timezone.now(),
            open_holds=[(hold, title_of(hold.rule)) for hold in open_holds],
            closed_holds=[(hold, title_of(hold.rule)) for hold in mine.holds if hold.closed_at is not None],
            actions=actions_of(entry, open_holds) if held & access.FIXERS else [],
            transitions=[
                (move, STATE_TONES.get(State(move.to_state), ""), State(move.to_state).label)
                for move in reversed(mine.transitions)
            ],
            attempts=[(line, OUTCOME_TONES.get(line.outcome, "")) for line in reversed(mine.attempts)],
            receipt=mine.receipt,
            latest=latest,
            differences=differing(latest.differences) if latest is not None else [],
            read_backs=list(reversed(mine.read_backs)),
            lines=mine.lines,
            results=mine.results,
            siblings=[one.entry for one in told.entries if one.entry.pk != entry.pk],
            numbers=[version.version for version in told.versions[-SHOWN_VERSIONS:]],
            fields=compared(told.versions[-SHOWN_VERSIONS:]),
            changes=changes(told.versions),
            versions=told.versions,
            raw=[(message, pretty(message)) for message in told.messages] if readable else [],
            readable=readable,
            hand_backs=HandBack.objects.filter(entry=entry).select_related("by").order_by("-pk"),
        )


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
        accepted = Lamp("In doubt", "doubt", "a look-up will tell")
    elif state.state == State.REJECTED:
        accepted = Lamp("Refused", "broken", told.transitions[-1].reason if told.transitions else "")
    else:
        accepted = Lamp("Accepted", "", "no receipt yet")
    first = next((one for one in told.read_backs if one.is_equal), None)
    latest = told.read_backs[-1] if told.read_backs else None
    if first is not None:
        equal = Lamp("Read back equal", "lit", figures.moment(first.at))
    elif latest is not None:
        equal = Lamp("Differs" if latest.found else "Not found", "broken", figures.moment(latest.at))
    else:
        equal = Lamp("Read back equal", "", "not read back yet")
    return [intent, accepted, equal, _today(entry, told)]


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


def explained(entry: LedgerEntry) -> list[tuple[str, str]]:
    """How the amount came about, step by step, each with the version of what it rests on."""
    steps: list[tuple[str, str]] = []
    if entry.hours is not None and entry.kind == "time":
        steps.append(("Hours", f"{said(entry.hours)} h, as approved at source"))
    if entry.is_cost_only:
        steps.append(("Amount", "posted as cost only: its hours reach the ERP, no amount is billed"))
        return steps
    if not entry.is_billable:
        steps.append(("Amount", "not billable, so nothing is priced"))
        return steps
    if entry.kind == "time" and entry.rate is not None:
        steps.append(("Rate", _rate(entry)))
    if entry.amount is None:
        steps.append(("Amount", "unknown: no rate is agreed, and a missing rate is never taken for zero"))
        return steps
    shown = f"{figures.amount(entry.amount, entry.currency)} {entry.currency}"
    if entry.kind == "time" and entry.hours is not None and entry.rate is not None:
        steps.append(("Amount", _product(entry, entry.hours, entry.rate, entry.amount)))
    else:
        steps.append(("Amount", f"{shown}, as on the receipt"))
    if entry.part:
        steps.append(("Part", f"part {entry.part} of its version, which was split at a limit"))
    return steps


def _rate(entry: LedgerEntry) -> str:
    if entry.rate is None:
        return ""
    rate = f"{said(entry.rate)} {entry.currency} an hour"
    if entry.rate_version == "source":
        return f"{rate}, the source's own, accepted by finance"
    used = entry.rate_used
    if used is None:
        return f"{rate}, {entry.rate_version}" if entry.rate_version else rate
    until = f" to {figures.day(used.valid_to)}" if used.valid_to else ""
    per = f", agreed as {said(used.amount)} a day" if used.unit == "day" else ""
    return f"{rate}, rate card {entry.rate_version}, valid from {figures.day(used.valid_from)}{until}{per}"


def _product(entry: LedgerEntry, hours: Decimal, rate: Decimal, amount: Decimal) -> str:
    exact = hours * rate
    shown = f"{figures.amount(amount, entry.currency)} {entry.currency}"
    words = f"{said(hours)} × {said(rate)} = {said(exact)}"  # noqa: RUF001
    if exact == amount:
        return (
            f"{words} {entry.currency}, no rounding needed"
            if exact == money.round_money(exact, entry.currency)
            else words
        )
    if amount == money.round_money(exact, entry.currency):
        return f"{words}, rounded half up to {shown}"
    rule = entry.contract.get_rounding_display().lower() if entry.contract is not None else "per entry"
    return f"{words}; booked are {shown} ({rule}, by the agreed unit)"


def actions_of(entry: LedgerEntry, holds: Sequence[Hold]) -> list[dict[str, Any]]:
    """What can be done with the entry: the fixes of its causes, and those of its state. In doubt, only a look-up."""
    state = entry.state_row.state
    found: dict[str, dict[str, Any]] = {}
    if state != State.IN_DOUBT:
        for hold in holds:
            for code in _of_rule(hold.rule):
                url = f"{reverse('fix', args=[hold.case_id, code])}?selected={entry.pk}"
                found.setdefault(code, {"fix": FIXES[code], "url": url})
    for fix in fixes_of(state):
        found.setdefault(fix.code, {"fix": fix, "url": reverse("fix_entry", args=[entry.pk, fix.code])})
    return [one for one in found.values() if state in {str(allowed) for allowed in one["fix"].states}]


def _of_rule(code: str) -> list[str]:
    rule = BY_CODE.get(code)
    if rule is None:
        return []
    return [remedy for remedy in (*rule.remedies, *(("waive",) if rule.waivable else ())) if remedy in FIXES]


def differing(differences: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(field, sent, found) in words."""
    return [
        (COMPARED.get(name, name.replace("_", " ").capitalize()), str(pair[0]), str(pair[1]))
        for name, pair in differences.items()
        if isinstance(pair, list) and len(pair) == 2
    ]


def _value(version: TimeEntry | Expense, name: str) -> str:
    value = getattr(version, name, None)
    if value is None or value == "":
        return ""
    if isinstance(value, datetime):
        return f"{timezone.localtime(value):%d %b %Y %H:%M %Z}"
    if isinstance(value, date):
        return figures.day(value)
    return said(value) if isinstance(value, Decimal) else plain(value)


def said(value: Decimal) -> str:
    """A figure with at least two decimals, and more where it has them."""
    exponent = value.normalize().as_tuple().exponent
    return figures.number(value, max(2, -exponent if isinstance(exponent, int) else 2))


def compared(versions: Sequence[TimeEntry | Expense]) -> list[Compared]:
    """The fields side by side, those that say anything at all."""
    found = []
    for name, label in COMPARED.items():
        values = [_value(version, name) for version in versions]
        if any(values):
            cells = [(value, index > 0 and value != values[index - 1]) for index, value in enumerate(values)]
            found.append(Compared(label, cells))
    return found


def changes(versions: Sequence[TimeEntry | Expense]) -> dict[int, list[tuple[str, str, str]]]:
    """For each version after the first, what it changed: (field, before, after)."""
    found: dict[int, list[tuple[str, str, str]]] = {}
    for before, after in pairwise(versions):
        found[after.version] = [
            (label, _value(before, name), _value(after, name))
            for name, label in COMPARED.items()
            if _value(before, name) != _value(after, name)
        ]
    return found


def pretty(message: InboxMessage) -> str:
    """The payload as it came, indented."""
    return json.dumps(message.payload, indent=2, ensure_ascii=False, sort_keys=False)


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
