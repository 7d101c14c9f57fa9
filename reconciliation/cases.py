"""Exception cases: entries that wait for the same cause wait together.

The rule here: a hold belongs to one entry and one rule, a case to one rule, entity and subject. Cases open, count and resolve
with their holds, by the batch that changes them; a person closes a hold only by waiving it, with a reason, where the rule
lets itself be waived.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db import transaction

from portal import audit
from portal import sql as portal_sql
from portal.models import User
from reconciliation import cash, ownership, waiting
from reconciliation.models import ExceptionCase, Hold
from reconciliation.rules import BY_CODE
from reconciliation.sql import cases as sql
from reconciliation.sql import opening
from reconciliation.sql import triage as triage_sql
from reconciliation.sql.opening import Cause

REGRESSION_DAYS = 30
PASSED, WAIVED, WITHDRAWN = (
    str(outcome) for outcome in (Hold.Outcome.PASSED, Hold.Outcome.WAIVED, Hold.Outcome.WITHDRAWN)
)


class NotWaivable(Exception):
    """A hold whose waiving would book twice, book what nobody approved, or book what cannot be booked."""


@dataclass(slots=True, kw_only=True)
class NewHold:
    """One entry that a rule stops: the cause that it shares, and the sentence about itself."""

    entry_id: int
    rule: str
    entity_id: int
    subject_type: str
    subject_key: str
    sentence: str
    cause: str = ""  # the case's sentence; the hold's own when empty
    detail: Mapping[str, Any] = field(default_factory=dict)
    connection_id: int | None = None
    regression_days: int = REGRESSION_DAYS


def open_holds(holds: Sequence[NewHold], *, fresh: bool = False, reason: str = "found by validation") -> set[int]:
    """Open holds and the cases that they share; the ids of the cases touched.

    `fresh` says that the entries were just made and have no holds yet. A fixed number of statements, whatever the number.
    """
    if not holds:
        return set()
    wanted: dict[Cause, opening.Wanted] = {}
    for hold in holds:
        cause = _cause_of(hold)
        if cause not in wanted:
            wanted[cause] = opening.Wanted(
                cause, hold.connection_id, hold.cause or hold.sentence, dict(hold.detail), hold.regression_days
            )
    opened = opening.open_cases(list(wanted.values()), reason=reason)
    rows = [_row(hold, opened[_cause_of(hold)]) for hold in holds]
    touched = {found.case_id for found in opened.values()}
    if fresh:
        sql.open_holds_on_new(rows, portal_sql.now())
    else:
        touched |= sql.open_holds(rows)
    recount(touched)
    ownership.give(opened.values())
    return touched


def _row(hold: NewHold, opened: opening.Opened) -> sql.HoldRow:
    return sql.HoldRow(hold.entry_id, opened.case_id, hold.rule, hold.sentence, dict(hold.detail), opened.merged_from)


def _cause_of(hold: NewHold) -> Cause:
    return Cause(hold.rule, hold.entity_id, hold.subject_type, hold.subject_key[:300])


def close_holds(
    entry_ids: Sequence[int],
    rules: Collection[str] | None = None,
    outcome: str = PASSED,
    *,
    by: User | None = None,
    reason: str = "",
) -> set[int]:
    """Close the open holds of entries, all or those of some rules; the ids of the cases touched."""
    if not entry_ids:
        return set()
    touched = {
        case for _, case in sql.close_holds(entry_ids, rules, outcome, user_id=by.pk if by else None, reason=reason)
    }
    recount(touched)
    return touched


def close_hold_rows(
    hold_ids: Sequence[int], outcome: str = PASSED, *, by: User | None = None, reason: str = ""
) -> set[int]:
    """Close given holds; the ids of the cases touched."""
    if not hold_ids:
        return set()
    closed = sql.close_hold_rows(hold_ids, outcome, user_id=by.pk if by else None, reason=reason)
    touched = {case for _, case, _ in closed}
    recount(touched)
    return touched


def recount(case_ids: Iterable[int]) -> None:
    """Count cases anew from their open holds; a case whose last hold is closed resolves by itself."""
    ids = sorted(case_ids)
    resolved = sql.count(ids)
    cash.weigh(ids)
    sql.keep_totals(resolved)
    sql.remember(resolved, "~", "The last hold is closed")
    triage_sql.end_of(resolved, "The cause is gone.")


def raise_case(
    rule: str,
    entity_id: int,
    subject_type: str,
    subject_key: str,
    sentence: str,
    *,
    entries: Sequence[int] = (),
    detail: Mapping[str, Any] | None = None,
    connection_id: int | None = None,
    regression_days: int = REGRESSION_DAYS,
) -> int:
    """Open (or find) the case of a cause that something else found; `entries` are held by it. The case's id.

    A case without entries stays open until `resolve` is told that its cause is gone. Raises KeyError for an unknown code.
    """
    described = BY_CODE[rule]
    cause = Cause(described.code, entity_id, subject_type, subject_key[:300])
    wanted = opening.Wanted(cause, connection_id, sentence, dict(detail or {}), regression_days)
    opened = opening.open_cases([wanted], reason="found by the pipeline")[cause]
    if entries:
        said = dict(detail or {})
        left = sql.open_holds(
            [sql.HoldRow(entry, opened.case_id, rule, sentence, said, opened.merged_from) for entry in sorted(entries)]
        )
        recount(left | {opened.case_id})
    else:
        cash.weigh([opened.case_id])
        if rule in waiting.RULES:
            waiting.count([opened.case_id])
    ownership.give([opened])
    return opened.case_id


def resolve(rule: str, subject_type: str, subject_key: str, *, entity_id: int | None = None, reason: str) -> list[int]:
    """The cause of a case that holds no entry is gone (a connection answers again): close it; the ids of the cases closed."""
    closed = sql.resolve(sql.open_case_ids(rule, subject_type, subject_key[:300], entity_id), reason=reason)
    triage_sql.end_of(closed, "The cause is gone.")
    return closed


@dataclass(frozen=True, slots=True)
class AtStake:
    """The money that a cause without entries is about, and whose it is.

    `is_to_come`: a customer pays it later as long as nobody sees to it, so it counts as cash at risk. What came in already, and
    is only not put where it belongs, does not.
    """

    amount: Decimal
    currency: str
    customer_id: int | None = None
    is_to_come: bool = True


@dataclass(frozen=True, slots=True)
class Found:
    """One cause without entries that something else found, of many at once."""

    rule: str
    entity_id: int
    subject_type: str
    subject_key: str
    sentence: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    connection_id: int | None = None
    at_stake: AtStake | None = None


def raise_each(found: Sequence[Found], *, reason: str = "found by the pipeline") -> list[int]:
    """Open (or find) the cases of many causes that hold no entries; one that stands says what is found now."""
    if not found:
        return []
    wanted = {
        (cause := _cause_without(each)): opening.Wanted(
            cause, each.connection_id, each.sentence, dict(each.detail), REGRESSION_DAYS
        )
        for each in found
    }
    opened = opening.open_cases(list(wanted.values()), reason=reason)
    said = opening.say(
        [(opened[cause].case_id, item) for cause, item in wanted.items() if not opened[cause].merged_from]
    )
    sql.remember(said, "~", "What it says has changed")
    stakes = {_cause_without(each): each.at_stake for each in found}
    sql.stake(
        [
            (opened[cause].case_id, item.connection_id, of.customer_id, of.currency, of.amount, of.is_to_come)
            for cause, item in wanted.items()
            if (of := stakes[cause]) is not None and not opened[cause].merged_from
        ]
    )
    ids = sorted({each.case_id for each in opened.values()})
    cash.weigh(ids)
    ownership.give(opened.values())
    return ids


def _cause_without(found: Found) -> Cause:
    return Cause(BY_CODE[found.rule].code, found.entity_id, found.subject_type, found.subject_key[:300])


def close(case_ids: Sequence[int], *, reason: str) -> list[int]:
    """Close cases without entries whose cause is gone; the ids that closed."""
    if not case_ids:
        return []
    closed = sql.resolve(case_ids, reason=reason)
    triage_sql.end_of(closed, "The cause is gone.")
    return closed


@dataclass(slots=True, kw_only=True)
class Refusal:
    """One entry that its target refused: our word for why, the vendor's code and its text."""

    entry_id: int
    code: str  # one of integrations.errors.REJECTION_CODES
    sentence: str  # what REJECTION_CODES says of it
    vendor_code: str = ""
    detail: str = ""


# Which of our records explains a refusal; 400 refusals of one inactive project are one case.
NO_OPPOSITE = "no-opposite"  # the code of a target that takes no negative postings
_REFUSED_SUBJECT = {
    "period-closed": ("period", 6),
    "project-inactive": ("project", 3),
    "resource-inactive": ("resource", 4),
    "unit-unknown": ("resource", 4),
    "task-invalid": ("task", 5),
    "dimension-missing": ("project", 3),
    "unbillable": ("project", 3),
}
_REACTIVATE = {
    "project-inactive": "re-activate it there for posting, then re-post",
    "resource-inactive": "re-activate the person there for posting, then re-post; the hours are not given to somebody else",
    "company-wrong": "route the entity's work to the connection of its own company, or mend the entity's key in the crosswalk",
    "unit-unknown": "give the person the unit of hours there, or name the right one in the connection's settings, then re-post",
    "period-closed": "open it there, or post in the next open period",
    "alike": "delete the one that was typed there or join the two at their source, then re-post",
    NO_OPPOSITE: "take it back there, then say so here",
    "unbillable": (
        "correct whether they are billable at their source; the rest of a cap or a retainer, which is cost alone, goes only "
        "this way: have the connection accept hours that are not billable (a setting of all its work) once nothing there "
        "invoices them, then re-post"
    ),
}


def raise_rejections(refusals: Sequence[Refusal], *, connection_id: int, connection_name: str) -> set[int]:
    """Open the cases of refused entries, each under the record that explains it; the ids of the cases touched.

    A refusal because of a closed period is the same cause as our own rule's.
    """
    known = {row[0]: row for row in sql.entities_of([refusal.entry_id for refusal in refusals])}
    holds = []
    for refusal in refusals:
        entry = known[refusal.entry_id]
        subject, column = _REFUSED_SUBJECT.get(refusal.code, ("refusal", 0))
        record_id = entry[column] if column else None
        key = str(record_id) if record_id else f"{connection_id}:{refusal.code}:{refusal.vendor_code}"
        said = f" ({refusal.vendor_code or refusal.code}: {refusal.detail})" if refusal.detail else ""
        way_out = _REACTIVATE.get(refusal.code, "correct it, then re-post")
        holds.append(
            NewHold(
                entry_id=refusal.entry_id,
                rule=_rule_of(refusal, record_id),
                entity_id=entry[1],
                subject_type=subject,
                subject_key=key if subject in ("period", "refusal") else f"{refusal.code}:{key}",
                sentence=f"{connection_name}: {refusal.sentence.rstrip('.')}{said}; {way_out}.",
                cause=f"{connection_name}: {refusal.sentence}",
                detail={
                    "code": refusal.code,
                    "vendor_code": refusal.vendor_code,
                    "vendor_text": refusal.detail,
                    "record_id": record_id,
                    "refused": True,
                },
                connection_id=connection_id,
            )
        )
    return open_holds(holds, reason="refused by the target")


def _rule_of(refusal: Refusal, record_id: int | None) -> str:
    if refusal.code == NO_OPPOSITE:
        return "not-taken-back"
    return "period-closed" if refusal.code == "period-closed" and record_id else "rejected-by-target"


def waive(hold_ids: Sequence[int], *, by: User, reason: str, told: bool = False) -> list[int]:
    """Accept entries as they are in the face of a rule; the entries, to be validated again.

    Raises NotWaivable, and waives nothing, when one of the rules does not let itself be waived; ValueError without a reason.
    `validation.waive` does this and validates again. `told`: a bulk operation has this decision in the audit trail already.
    """
    if not reason.strip():
        raise ValueError("A waiver needs a reason.")
    with transaction.atomic():
        found = sql.holds(hold_ids)
        for _, entry_id, code, _, _ in found:
            if not BY_CODE[code].waivable:
                raise NotWaivable(
                    f"“{BY_CODE[code].title}” cannot be waived (entry {entry_id}): correct its cause instead."
                )
        closed = sql.close_hold_rows([row[0] for row in found], WAIVED, user_id=by.pk, reason=reason)
        entries_by_case: dict[int, list[int]] = {}
        for entry_id, case_id, _ in closed:
            entries_by_case.setdefault(case_id, []).append(entry_id)
        for case in ExceptionCase.objects.filter(pk__in=() if told else entries_by_case).order_by("pk"):
            audit.record(
                by,
                "waive",
                case,
                entity=case.entity_id,
                reason=reason,
                after={"rule": case.rule, "entries": sorted(entries_by_case[case.pk])},
            )
        recount(entries_by_case)
    return sorted({entry_id for entry_id, _, _ in closed})
