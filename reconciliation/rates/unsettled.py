"""Work that stays booked at other rates than were agreed since: a cause with an owner until the books agree.

The rule here: whatever leaves it (a plan that nobody made or agreed to, a row that was left, an emergency, a roll-back), the
books themselves are asked, by the code that plans. What a bill's own cause is about, and what people accepted as it is, is not
asked about again while it says the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.urls import reverse

from portal import figures, notifications, sql
from portal.models import NotificationKind
from reconciliation import billing, cases
from reconciliation.changes import measuring
from reconciliation.changes.lines import WrittenLine, frozen_lines
from reconciliation.changes.writing import Written
from reconciliation.models import ChangeSet, ExceptionCase, Hold, RateLook
from reconciliation.rates.planning import BATCH, BOOKED, candidates, cards_of
from reconciliation.rules import UNSETTLED as RULE
from reconciliation.sql import cases as cases_sql
from reconciliation.sql import documents, opening
from reconciliation.sql import rates as rates_sql
from reconciliation.sql import triage as triage_sql
from reconciliation.triage import assignable
from reconciliation.validation import Otherwise, booked_at_other_rates


def due() -> list[tuple[int, float]]:
    """Applied change sets of rates whose books are to be looked at, with the seconds that they have waited."""
    return rates_sql.looks_due()


def look(change_set_id: int) -> int:
    """Hold what stays booked at other rates than a change set agreed, and let go what agrees by now; how many are held.

    One transaction; a second worker finds the change set taken and leaves.
    """
    with transaction.atomic():
        found = ChangeSet.objects.select_for_update(of=("self",), skip_locked=True)
        locked = found.filter(pk=change_set_id, state=ChangeSet.State.APPLIED).first()
        if locked is None:
            return 0
        held, waits = 0, False
        touched: set[int] = set()
        asked: list[int] = []
        differing: list[int] = []
        for entry_ids in candidates(cards_of(locked), _since(locked), BATCH):
            differ = _differing(entry_ids)
            asked += entry_ids
            differing += [one.entry.id for one in differ]
            apart = _settled_apart(differ)
            waits |= any(one.entry.state not in BOOKED for one in apart)
            new = [one for one in apart if one.entry.state in BOOKED and not one.is_being_reversed]
            new = _nobody_elses(new, locked.pk)
            held += len(new)
            touched |= cases.open_holds([_hold(one, locked) for one in new], reason="rates changed under booked work")
        let_go()
        billing.tell_of_rates(rates_sql.end_differences(locked.pk, asked, differing))
        _own(touched, locked)
        _say(touched)
        RateLook.objects.update_or_create(change_set=locked, defaults={"looked_at": sql.now(), "waits": waits})
    return held


def let_go() -> int:
    """Close the holds of work that says by now what is agreed, or is taken back or made up for on its bill; how many."""
    held = list(Hold.objects.filter(rule=RULE, closed_at=None).order_by("entry").values_list("entry_id", flat=True))
    closed = 0
    for start in range(0, len(held), BATCH):
        some = held[start : start + BATCH]
        stands = {one.entry.id for one in _settled_apart(_otherwise(some)) if not one.is_being_reversed}
        gone = [entry_id for entry_id in some if entry_id not in stands]
        touched = cases.close_holds(gone, [RULE], reason="the books agree")
        closed += len(gone)
        _say(touched)
    return closed


def _since(change_set: ChangeSet) -> date:
    """The first work date that the lines of a change set price otherwise."""
    rows = change_set.lines.order_by("position")
    told = [WrittenLine(row.key or row.made or 0, row.record, row.before, row.after) for row in rows]
    return measuring.first_day(frozen_lines(change_set), Written(lines=told)) or date.min


def _otherwise(entry_ids: Sequence[int]) -> list[Otherwise]:
    return booked_at_other_rates(entry_ids) if entry_ids else []


def _differing(entry_ids: Sequence[int]) -> list[Otherwise]:
    """What of these says something else than is agreed: found first, and asked again once nobody else moves it."""
    found = [one.entry.id for one in _otherwise(entry_ids)]
    documents.lock(documents.of_entries(found))
    return _otherwise(found)


def _settled_apart(found: Sequence[Otherwise]) -> list[Otherwise]:
    """Without what its bill's difference or a later version's own cause is about, and what people accepted as it is."""
    found = [one for one in found if not one.is_earlier]
    if not found:
        return []
    settled = rates_sql.settled_otherwise([one.entry.id for one in found], RULE)
    return [
        one for one in found
        if not any(
            rate == one.figures.rate and amount in (None, one.figures.amount)
            for rate, amount in settled.get(one.entry.id, ())
        )
    ]  # fmt: skip


def _nobody_elses(found: Sequence[Otherwise], change_set_id: int) -> list[Otherwise]:
    """Without what a later change set is the reason of."""
    open_holds = Hold.objects.filter(rule=RULE, closed_at=None, entry__in=[one.entry.id for one in found])
    later = {
        entry_id for entry_id, detail in open_holds.values_list("entry_id", "detail")
        if detail["change_set"] > change_set_id
    }  # fmt: skip
    return [one for one in found if one.entry.id not in later]


def _hold(one: Otherwise, change_set: ChangeSet) -> cases.NewHold:
    entry, now = one.entry, one.figures
    agreed = (
        f"{figures.exact(now.rate)} {now.currency} an hour are agreed, {figures.amount(now.amount, now.currency)} {now.currency}."
        if now.rate is not None and now.amount is not None
        else "no rate is agreed for it any more."
    )
    booked = "without a rate" if entry.rate is None else f"at {figures.exact(entry.rate)} {entry.currency} an hour"
    worth = "" if entry.amount is None else f", {figures.amount(entry.amount, entry.currency)} {entry.currency}"
    stops = f" Booked anew it would be held: {one.stopped_by}" if one.stopped_by else ""
    return cases.NewHold(
        entry_id=entry.id, rule=RULE, entity_id=entry.entity_id, subject_type="change_set", subject_key=str(change_set.pk),
        sentence=f"Booked {booked}{worth}; {agreed}{stops}", cause=_cause(change_set.pk, change_set.title),
        detail={
            "change_set": change_set.pk, "title": change_set.title, "currency": entry.currency,
            "before": _text(entry.amount), "after": _text(now.amount), "rate": _text(now.rate), "currency_after": now.currency,
        },
    )  # fmt: skip


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _cause(number: int, title: str) -> str:
    return f"Work is booked at other rates than are agreed since change set {number}, “{title}”"


def _say(case_ids: Collection[int]) -> None:
    """Let open causes say what is booked and what is agreed, by currency."""
    said: dict[int, dict[str, list[Decimal]]] = defaultdict(lambda: defaultdict(lambda: [Decimal(0), Decimal(0)]))
    of = Hold.objects.filter(rule=RULE, closed_at=None, case__in=case_ids, case__rule=RULE)
    for case_id, detail in of.order_by("pk").values_list("case_id", "detail").iterator(chunk_size=2000):
        said[case_id][detail["currency"]][0] += Decimal(detail["before"] or 0)
        said[case_id][detail["currency_after"]][1] += Decimal(detail["after"] or 0)
    stands = ExceptionCase.objects.filter(pk__in=list(said), state=ExceptionCase.State.OPEN).order_by("pk")
    worded = [
        (case.pk, f"{_cause(case.detail['change_set'], case.detail['title'])}: {_money(said[case.pk])}.")
        for case in stands
    ]
    cases_sql.remember(opening.reword(worded) if worded else [], "~", "What it says has changed")


def _money(sums: Mapping[str, Sequence[Decimal]]) -> str:
    return "; ".join(
        f"{figures.amount(booked, code)} {code} in the books, {figures.amount(agreed, code)} {code} agreed, "
        f"net {'+' if agreed > booked else ''}{figures.amount(agreed - booked, code)} {code}"
        for code, (booked, agreed) in sorted(sums.items())
    )


def _own(case_ids: Iterable[int], change_set: ChangeSet) -> None:
    """Give causes that are nobody's to whoever asked for the change, where they may fix in its entity; they are told."""
    owner = change_set.submitted_by
    if owner is None:
        return
    nobodys = ExceptionCase.objects.filter(pk__in=list(case_ids), owner=None, team=None, state=ExceptionCase.State.OPEN)
    theirs = [case for case in nobodys.order_by("pk") if assignable([case.entity_id]).filter(pk=owner.pk).exists()]
    if not theirs:
        return
    ids = [case.pk for case in theirs]
    triage_sql.change(ids, {"owner_id": [owner.pk] * len(ids)})
    cases_sql.remember(ids, "~", "Given to who asked for the change")
    for case in theirs:
        notifications.notify(
            [owner.pk], NotificationKind.ASSIGNED, f"Booked work differs from your rates: {change_set.title}"[:300],
            url=reverse("cause", args=[case.pk]), entity=case.entity_id, note=change_set.reason, key=f"unsettled:{case.pk}",
        )  # fmt: skip


def causes_of(change_set: ChangeSet, user: Any) -> list[ExceptionCase]:
    """The open causes of what a change set left in the books that a person may see."""
    of = ExceptionCase.objects.visible_to(user).filter(
        rule=RULE, subject_type="change_set", subject_key=str(change_set.pk)
    )
    return list(of.filter(state=ExceptionCase.State.OPEN).select_related("entity", "owner").order_by("entity__code"))
