"""What came of calls, written down: one transaction for all answers that came in together.

The rule here: every write names the fence of its claim, so that an answer which comes after its lease changes nothing but
its own attempt. An outcome that is not proven is a doubt: only a receipt with a number that can be one, and that proves no
other entry, is taken for an acceptance.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
from django.db import transaction

from integrations import breaker, failpoints, timing
from integrations.errors import ConnectorError, InDoubt, Rejected, Unauthorised, Unavailable
from integrations.models import Breaker
from integrations.outbox import causes, proof
from integrations.outbox.claim import ACTOR
from integrations.outbox.crew import Answer, Call
from integrations.protocol import Capabilities, Said
from integrations.sql import outbound as sql
from integrations.sql.outbound import Standing
from portal import ledger
from portal.ledger import Ref
from portal.models import Attempt, Connection, State
from portal.records import BillDraft, Publication, Receipt

logger = logging.getLogger(__name__)

_EXCHANGES = msgspec.json.Encoder()
_NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/#-]{0,119}")
MAY_STAND = "may-stand"  # the code of a line: nothing is known to be booked, and something may have been left there
ATTEMPT_OUTCOME = {Unavailable: "unavailable", InDoubt: "in_doubt", Rejected: "rejected", Unauthorised: "unauthorised"}


@dataclass(slots=True)
class Told:
    """What one round of answers made of its entries, by outcome."""

    accepted: int = 0
    retried: int = 0
    doubted: int = 0
    rejected: int = 0
    proved: int = 0
    released: int = 0  # not found, and due again
    late: int = 0
    breaker: Breaker | None = None

    def add(self, other: Told) -> None:
        """Count another round in."""
        for name in ("accepted", "retried", "doubted", "rejected", "proved", "released", "late"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.breaker = other.breaker or self.breaker


@dataclass(slots=True)
class _Round:
    """The moves and lines of one round of pushes, gathered before they are written."""

    accepted: list[tuple[int, int, Receipt]] = field(default_factory=list)
    rejected: list[tuple[Ref, Rejected]] = field(default_factory=list)
    doubted: dict[float, list[tuple[Ref, str]]] = field(default_factory=lambda: defaultdict(list))
    retried: dict[tuple[float, str, bool, bool | None], list[tuple[Ref, str]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    lines: list[tuple[int, int, str, str, str]] = field(default_factory=list)


def record(connection: Connection, capabilities: Capabilities, answers: Sequence[Answer]) -> Told:
    """Write down what came of some calls, and what it says about the connection."""
    told = Told()
    if not answers:
        return told
    with transaction.atomic():
        pushed = [answer for answer in answers if answer.call.purpose == Attempt.Purpose.PUSH]
        if pushed:
            _pushed(connection, capabilities, pushed, told)
        asked = [answer for answer in answers if answer.call.purpose != Attempt.Purpose.PUSH]
        if asked:
            told.add(proof.asked(connection, capabilities, asked))
        sql.close_attempts([_attempt(answer) for answer in answers])
        heard = [breaker.hear(_said(answer)) for answer in answers if answer.sent]
        if heard:
            told.breaker = breaker.record(connection.pk, heard)
            refusals = [call.detail for call in heard if call.kind is breaker.Kind.UNAUTHORISED]
            if refusals:
                causes.unauthorised(connection, refusals[0])
    failpoints.pass_by("after-commit")
    proof.act_on_absence(asked)
    return told


def unsent(connection: Connection, calls: Sequence[Call], waits_on: str) -> None:
    """Give back calls that were never made: their entries are due again, or wait on a closed door, with no attempt burnt."""
    if not calls:
        return
    with transaction.atomic():
        reason = f"not sent: {waits_on or 'its turn came too late'}"
        refs = [
            (entry.entry_id, entry.fence)
            for call in calls
            if call.purpose == Attempt.Purpose.PUSH
            for entry in call.entries
        ]
        ledger.retry(
            refs, from_state=State.SENDING, after_seconds=0, waits_on=waits_on, burn=False, actor=ACTOR, reason=reason
        )
        sql.close_lines(
            [(call.attempt_id, entry.entry_id, "unsent", "", "") for call in calls for entry in call.entries]
        )
        sql.close_attempts([(call.attempt_id, "unsent", None, 0, "[]") for call in calls])


def _said(answer: Answer) -> ConnectorError | None:
    """The worst that one call says about the connection: its own error, or one that holds for every posting in it."""
    if answer.error is not None or not answer.outcomes:
        return answer.error
    errors = [outcome for outcome in answer.outcomes if isinstance(outcome, ConnectorError)]
    for error in errors:
        if isinstance(error, Unauthorised) or (isinstance(error, Unavailable) and error.status == 429):
            return error
    return errors[0] if len(errors) == len(answer.outcomes) else None


def _attempt(answer: Answer) -> tuple[int, str, int | None, int, str]:
    call = answer.call
    error = answer.error
    errors = [outcome for outcome in answer.outcomes if isinstance(outcome, ConnectorError)]
    status = error.status if error else None
    if error is None and answer.exchanges:
        status = answer.exchanges[-1].status
    if not answer.sent:
        outcome = "unsent"
    elif error is not None:
        outcome = outcome_of(error)
    elif call.purpose != Attempt.Purpose.PUSH:
        outcome = "found" if answer.found else "absent"
    elif errors:
        outcome = outcome_of(errors[0]) if len(errors) == len(answer.outcomes) else "partly"
    else:
        outcome = "accepted"
    return call.attempt_id, outcome, status, answer.duration_ms, _EXCHANGES.encode(answer.exchanges).decode()


def outcome_of(error: ConnectorError) -> str:
    """The word for an error in attempts. What cannot be read may have been booked."""
    return next((word for kind, word in ATTEMPT_OUTCOME.items() if isinstance(error, kind)), "in_doubt")


def _pushed(connection: Connection, capabilities: Capabilities, answers: Sequence[Answer], told: Told) -> None:
    gathered = _Round()
    for answer in answers:
        for entry, outcome in zip(answer.call.entries, _outcomes(answer), strict=True):
            _gather(gathered, capabilities, answer, entry, outcome)
    reversals = [entry.entry_id for answer in answers for entry in answer.call.entries if entry.is_reversal]
    causes.lock_documents(reversals)
    _without_taken_numbers(connection, capabilities, gathered)
    moved = set(
        ledger.accept(gathered.accepted, State.SENDING, connection_id=connection.pk, actor=ACTOR, reason="accepted")
    )
    told.accepted = len(moved)
    rejections = set(
        ledger.reject(
            [ref for ref, _ in gathered.rejected],
            from_state=State.SENDING,
            actor=ACTOR,
            reasons=[causes.said(error) for _, error in gathered.rejected],
        )
    )
    told.rejected = len(rejections)
    said = {
        entry.entry_id: sent
        for answer in answers
        for entry, sent in zip(answer.call.entries, answer.call.postings, strict=True)
    }
    published = {entry_id for entry_id, sent in said.items() if isinstance(sent, Publication)}
    drafted = {entry_id for entry_id, sent in said.items() if isinstance(sent, BillDraft)}
    causes.taken(connection, [(e, receipt) for e, _, receipt in gathered.accepted if e in moved & published])
    causes.draft_taken([(e, receipt) for e, _, receipt in gathered.accepted if e in moved & drafted])
    refused = [(ref[0], error) for ref, error in gathered.rejected if ref[0] in rejections]
    causes.rejected(connection, [item for item in refused if item[0] not in published | drafted])
    causes.not_taken(connection, [item for item in refused if item[0] in published])
    causes.draft_refused(connection, [item for item in refused if item[0] in drafted])
    for after, doubts in gathered.doubted.items():  # errors differ from call to call; moments do not
        refs, reasons = [ref for ref, _ in doubts], [reason for _, reason in doubts]
        told.doubted += _count(moved, ledger.doubt(refs, look_up_after_seconds=after, actor=ACTOR, reasons=reasons))
    for (after, waits_on, burn, may_stand), retries in gathered.retried.items():
        refs, reasons = [ref for ref, _ in retries], [reason for _, reason in retries]
        told.retried += _count(
            moved,
            ledger.retry(
                refs, from_state=State.SENDING, after_seconds=after, waits_on=waits_on, burn=burn, actor=ACTOR,
                reasons=reasons, may_stand=may_stand,
            ),
        )  # fmt: skip
    moved |= rejections
    told.late = len(gathered.lines) - len(moved)
    sql.close_lines(
        [
            line if line[1] in moved else (*line[:4], f"Came after the lease and changed nothing. {line[4]}".strip())
            for line in gathered.lines
        ]
    )
    accepted = {row[0] for row in gathered.accepted} & moved
    causes.settle_reversals([entry_id for entry_id in reversals if entry_id in accepted])


def _count(moved: set[int], ids: list[int]) -> int:
    moved.update(ids)
    return len(ids)


def _outcomes(answer: Answer) -> list[Receipt | ConnectorError | None]:
    """One outcome per posting; None for what was not sent. What does not answer for every posting answers for none."""
    count = len(answer.call.postings)
    if not answer.sent:
        return [None] * count
    if answer.error is not None:
        return [answer.error] * count
    if len(answer.outcomes) != count:
        said = f"The target gave {len(answer.outcomes)} outcomes for {count} postings; each is looked up."
        return [InDoubt(said)] * count
    return [_believed(posting, outcome) for posting, outcome in zip(answer.call.postings, answer.outcomes, strict=True)]


def _believed(posting: Said, outcome: Receipt | ConnectorError) -> Receipt | ConnectorError:
    if isinstance(outcome, Receipt):
        if outcome.key != posting.key:
            return InDoubt(f"The receipt is for key {outcome.key!r}, while {posting.key!r} was sent.")
        if not _NUMBER.fullmatch(outcome.number):
            return InDoubt(f"The target answered {outcome.number[:120]!r} where a record number was expected.")
    return outcome


def _gather(
    gathered: _Round,
    capabilities: Capabilities,
    answer: Answer,
    entry: Standing,
    outcome: Receipt | ConnectorError | None,
) -> None:
    call, ref = answer.call, (entry.entry_id, entry.fence)
    left = True if _may_have_left(answer) else None  # where nothing went out, earlier sendings keep their say
    line: Callable[[str, str, str], None] = lambda word, code, detail: gathered.lines.append(  # noqa: E731
        (call.attempt_id, entry.entry_id, word, code, detail)
    )
    match outcome:
        case None:
            gathered.retried[0.0, "", False, None].append((ref, "not sent: its turn came too late"))
            line("unsent", "", "")
        case Receipt():
            gathered.accepted.append((*ref, outcome))
            line("accepted", "", "")
        case Unauthorised():
            gathered.retried[0.0, "unauthorised", False, left].append((ref, f"credentials refused: {outcome}"))
            line("unauthorised", MAY_STAND if left else "", outcome.detail)
        case Unavailable():
            after, burn = _again(outcome, entry)
            gathered.retried[after, "", burn, left].append((ref, f"nothing booked: {outcome}"))
            line("unavailable", MAY_STAND if left else "", outcome.detail)
        case Rejected(code="duplicate") if capabilities.find_by_key:
            gathered.doubted[0.0].append((ref, f"the target holds the key already: {outcome}"))
            line("in_doubt", outcome.code, outcome.detail)
        case Rejected(code="record-changed") if entry.attempts <= 1:
            gathered.retried[0.0, "", True, None].append((ref, f"changed meanwhile, applied again once: {outcome}"))
            line("rejected", outcome.code, outcome.detail)
        case Rejected():
            gathered.rejected.append((ref, outcome))
            line("rejected", outcome.code, outcome.detail)
        case ConnectorError():
            gathered.doubted[timing.step(timing.LOOK_UPS, 0)].append((ref, str(outcome)))
            line("in_doubt", "", outcome.detail)


def _may_have_left(answer: Answer) -> bool:
    """Whether a call may have left something at the target although it says that nothing is booked: a journal not posted, say.

    Where it was not reached, refused our credentials or told us to slow down before anything was written, it left nothing.
    """
    return any(exchange.may_have_written for exchange in answer.exchanges)


def _again(error: Unavailable, entry: Standing) -> tuple[float, bool]:
    """After how many seconds to try again, and whether an attempt is burnt.

    None is when we were only told to wait, or never got through: that says nothing about the entry.
    """
    told_to_wait = error.status in (None, 429, 503)
    wait = timing.step(timing.RETRY, max(0, entry.attempts - 1))
    return max(error.retry_after or 0.0, 0.0 if error.retry_after is not None else wait), not told_to_wait


def _without_taken_numbers(connection: Connection, capabilities: Capabilities, gathered: _Round) -> None:
    """A number that proves another entry proves nothing: what came with it is in doubt."""
    taken = sql.taken_numbers(connection.pk, [receipt.number for _, _, receipt in gathered.accepted])
    seen: dict[str, int] = {}
    kept = []
    for entry_id, fence, receipt in gathered.accepted:
        other = taken.get(receipt.number) or seen.get(receipt.number)
        if other is not None and other != entry_id:
            reason = f"The target gave number {receipt.number}, which already proves entry {other}."
            gathered.doubted[timing.step(timing.LOOK_UPS, 0)].append(((entry_id, fence), reason))
            gathered.lines = [
                (*line[:2], "in_doubt", "", reason) if line[1] == entry_id else line for line in gathered.lines
            ]
        else:
            seen[receipt.number] = entry_id
            kept.append((entry_id, fence, receipt))
    gathered.accepted = kept
