"""Asking the target: what is in doubt is looked up by its key, what was accepted is read back and compared with what was sent.

The rule here: found means accepted, whoever created the record, since it bears our key; absent means due again only once the
call that was lost can no longer be booked. Accepted becomes posted only when every figure that the target states is the one
that was sent; a difference is a case and the entry stays accepted. What a target took and books later stays accepted as well,
and is read back until it is booked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from django.db import transaction

from integrations import failpoints, timing
from integrations.errors import Unavailable
from integrations.outbox import causes, claim, speaking
from integrations.outbox.claim import ACTOR
from integrations.outbox.crew import Answer, Call
from integrations.protocol import Capabilities, Found, Said
from integrations.sql import outbound as sql
from integrations.sql.outbound import Standing
from portal import ledger
from portal import sql as portal_sql
from portal.models import Attempt, Connection, State
from portal.records import BillDraft, HeldDraft, Publication, Receipt, StatementLine
from reconciliation import billing, questions, validation

if TYPE_CHECKING:
    from integrations.outbox.settle import Told

ASKED_AT_ONCE = 500  # keys in one call; a connector whose vendor takes fewer divides them
LOOKS_WHILE_BOOKED = 6
UNBOOKED = "unbooked"  # the word of an attempt that found a posting taken and not booked yet
_ENOUGH_LOOK_UPS = len(timing.LOOK_UPS)
Seen = tuple[Standing, Said, Found, int]  # entry, what was sent, what is held, attempt


def look_ups(
    connection: Connection, capabilities: Capabilities, deadline: float, entry_ids: Sequence[int] | None = None
) -> list[Call]:
    """Calls that look up what is in doubt and due, or the named entries at once."""
    with transaction.atomic():
        due = (
            sql.due_in(State.IN_DOUBT, connection.pk, ASKED_AT_ONCE)
            if entry_ids is None
            else sql.named(entry_ids, [State.IN_DOUBT], connection.pk, ASKED_AT_ONCE)
        )
        if due and not capabilities.find_by_key:
            _cannot_ask(connection, capabilities, due)
            return []
        _ask_again(due, timing.LOOK_UPS, timing.LOOK_UP_EVERY, deadline)
        taken = sql.numbers_alike([entry.entry_id for entry in due]) if capabilities.finds_alike else ()
        return claim.questions(connection, Attempt.Purpose.FIND, due, ASKED_AT_ONCE, deadline, taken=taken)


def read_backs(
    connection: Connection,
    capabilities: Capabilities,
    deadline: float,
    limit: int,
    entry_ids: Sequence[int] | None = None,
) -> list[Call]:
    """Calls that read back what was accepted and is due or what a person asked about, or the named entries at once."""
    with transaction.atomic():
        if entry_ids is None:
            due = sql.due_in(State.ACCEPTED, connection.pk, limit)
            asked = sql.asked_for(connection.pk, limit, timing.scaled(timing.LOOK_UP_EVERY))
        else:
            due = sql.named(entry_ids, [State.ACCEPTED], connection.pk, limit)
            asked = sql.named(entry_ids, [State.POSTED, State.RECONCILED], connection.pk, limit)
        _ask_again(due, (0.0, *timing.READ_BACKS), _read_back_every(capabilities), deadline)
        due += asked
        return claim.questions(connection, Attempt.Purpose.READ_BACK, due, ASKED_AT_ONCE, deadline)


def still_equal(connection: Connection, deadline: float, limit: int) -> list[Call]:
    """Calls that read again what was posted in open periods and was last proved more than a day ago."""
    with transaction.atomic():
        seconds = timing.scaled(timing.STILL_EQUAL_EVERY)
        due = sql.to_read_again(connection.pk, seconds, limit) if connection.is_target else []
        if connection.is_recipient:
            due += sql.published_to_read_again(connection.pk, seconds, limit)
        if connection.is_biller:
            due += sql.drafts_to_read_again(connection.pk, seconds, limit)
        return claim.questions(connection, Attempt.Purpose.READ_BACK, due, ASKED_AT_ONCE, deadline)


def _read_back_every(capabilities: Capabilities) -> float:
    """Seconds between two looks at what is not booked yet: some of them within the time that the target takes."""
    if not capabilities.books_within:
        return timing.READ_BACK_EVERY
    return min(timing.READ_BACK_EVERY, capabilities.books_within / LOOKS_WHILE_BOOKED)


def _ask_again(due: Sequence[Standing], moments: tuple[float, ...], then: float, deadline: float) -> None:
    """Set the next moment before the call is made, so that nobody else asks meanwhile and a lost answer is asked for again."""
    by_count: dict[int, list[int]] = defaultdict(list)
    for entry in due:
        by_count[entry.look_ups].append(entry.entry_id)
    for count, ids in by_count.items():
        wait = then if count + 1 >= len(moments) else moments[count + 1] - moments[count]
        ledger.look_up_again(ids, after_seconds=max(timing.scaled(wait), deadline if count else 0.0))


def _cannot_ask(connection: Connection, capabilities: Capabilities, due: Sequence[Standing]) -> None:
    """The target knows no look-up: a native upsert may simply go again, anything else needs a person's eye.

    So does what is only asked about, and is not to go again.
    """
    kept = sql.asked_only([entry.entry_id for entry in due]) if capabilities.upsert else {e.entry_id for e in due}
    ledger.retry(
        [(entry.entry_id, entry.fence) for entry in due if entry.entry_id not in kept], from_state=State.IN_DOUBT,
        after_seconds=0, actor=ACTOR, reason="The target overwrites under the same key, so it may go again.",
    )  # fmt: skip
    ledger.look_up_again(sorted(kept), after_seconds=timing.scaled(timing.LOOK_UP_EVERY))
    causes.cannot_look_up(connection, [entry for entry in due if entry.entry_id in kept])


def asked(connection: Connection, capabilities: Capabilities, answers: Sequence[Answer]) -> Told:
    """Take in what the target said about entries; joins the caller's transaction."""
    from integrations.outbox.settle import Told

    told = Told()
    lines: list[tuple[int, int, str, str, str]] = []
    found: list[Seen] = []
    absent: list[tuple[Standing, int]] = []
    unanswered: list[Standing] = []
    untold: list[tuple[Standing, str]] = []
    for answer in answers:
        call = answer.call
        for entry, posting in zip(call.entries, call.postings, strict=True):
            line = answer.found.get(entry.key)
            if answer.error is not None or not answer.sent:
                word = "unsent" if answer.error is None else "unavailable"
                lines.append((call.attempt_id, entry.entry_id, word, "", str(answer.error or "")))
                unanswered.append(entry)
            elif isinstance(line, Unavailable):
                lines.append((call.attempt_id, entry.entry_id, "unavailable", "", line.detail))
                unanswered.append(entry)
                if entry.state == State.ACCEPTED:
                    untold.append((entry, line.detail))
            elif line is not None:
                found.append((entry, posting, line, call.attempt_id))
            else:
                absent.append((entry, call.attempt_id))
                lines.append((call.attempt_id, entry.entry_id, "absent", "", ""))
    _escalate_old(connection, unanswered)
    causes.not_booked(connection, untold)
    _adopt(connection, [item for item in found if item[0].state == State.IN_DOUBT], lines, told)
    unbooked = [item for item in found if item[0].state == State.ACCEPTED and not _is_booked(item[2])]
    _not_booked_yet(connection, capabilities, unbooked, lines)
    waiting = {entry.entry_id for entry, *_ in unbooked}
    standing = [item for item in found if item[0].state != State.IN_DOUBT and item[0].entry_id not in waiting]
    _compare(connection, standing, lines, told, capabilities.hours_tolerance)
    _absent_in_doubt(connection, capabilities, [entry for entry, _ in absent if entry.state == State.IN_DOUBT], told)
    _absent_in_books(connection, [entry for entry, _ in absent if entry.state != State.IN_DOUBT])
    sql.close_lines(lines)
    return told


def act_on_absence(answers: Sequence[Answer]) -> None:
    """Do what people decided for entries that the target was just shown not to hold, and what replaced versions ask for.

    In a transaction of its own after the answers are kept, because documents are locked before entries; a worker that dies
    before it leaves the question open, and the target is asked again. What is owed no more would fall at the door as well.
    """
    looked = [
        (entry.entry_id, answer.call.attempt_id)
        for answer in answers
        if answer.call.purpose != Attempt.Purpose.PUSH and answer.sent and answer.error is None
        for entry in answer.call.entries
        if entry.key not in answer.found
    ]
    if looked:
        questions.absent(looked)
        doubted = [
            entry.entry_id
            for answer in answers
            if answer.call.purpose == Attempt.Purpose.FIND
            for entry in answer.call.entries
            if entry.state == State.IN_DOUBT
        ]
        outdated = sql.superseded(doubted) if doubted else []
        if outdated:
            with transaction.atomic():
                validation.recheck(outdated, actor=ACTOR, reason="the target holds nothing of it")


def _escalate_old(connection: Connection, entries: Sequence[Standing]) -> None:
    old = [
        entry
        for entry in entries
        if entry.state == State.IN_DOUBT and entry.age >= timing.scaled(timing.ESCALATE_DOUBT)
    ]
    if old:
        causes.in_doubt_too_long(connection, old)


def _adopt(
    connection: Connection,
    found: Sequence[Seen],
    lines: list[tuple[int, int, str, str, str]],
    told: Told,
) -> None:
    """IN_DOUBT → ACCEPTED for what the target holds; the figures are compared when it is read back."""
    if not found:
        return
    failpoints.pass_by("before-adopt")
    reversals = [entry.entry_id for entry, _, _, _ in found if entry.is_reversal]
    causes.lock_documents(reversals)
    taken = sql.taken_numbers(connection.pk, [line.number for _, _, line, _ in found])
    adopted = []
    proving_others: list[tuple[Standing, str, int]] = []
    for entry, posting, line, attempt_id in found:
        other = taken.get(line.number)
        if other is not None:
            said = f"The target shows number {line.number}, which already proves entry {other}."
            lines.append((attempt_id, entry.entry_id, "in_doubt", "", said))
            proving_others.append((entry, line.number, other))
            continue
        taken[line.number] = entry.entry_id
        lines.append((attempt_id, entry.entry_id, "found", "", f"number {line.number}"))
        receipt = Receipt(key=posting.key, number=line.number, raw=speaking.shown(line))
        adopted.append((entry.entry_id, entry.fence, receipt))
    causes.numbers_taken(connection, proving_others)
    moved = ledger.accept(
        adopted, State.IN_DOUBT, connection_id=connection.pk, actor=ACTOR, reason="found in the target by its key"
    )
    told.accepted += len(moved)
    causes.adopted(moved)
    questions.holds(moved)
    causes.settle_reversals([entry_id for entry_id in reversals if entry_id in set(moved)])
    accepted = [(entry.entry_id, sent, line) for entry, sent, line, _ in found if entry.entry_id in set(moved)]
    causes.taken(connection, [(entry_id, line) for entry_id, sent, line in accepted if isinstance(sent, Publication)])
    causes.draft_taken([(entry_id, line) for entry_id, sent, line in accepted if isinstance(sent, BillDraft)])
    failpoints.pass_by("after-adopt")


def _is_booked(line: Found) -> bool:
    return not isinstance(line, StatementLine) or line.is_booked


def _not_booked_yet(
    connection: Connection,
    capabilities: Capabilities,
    found: Sequence[Seen],
    lines: list[tuple[int, int, str, str, str]],
) -> None:
    """Taken and not booked: asked again, and a cause once the target says why not or its time is over."""
    late: list[tuple[Standing, str]] = []
    for entry, _, line, attempt_id in found:
        waits = line.waits if isinstance(line, StatementLine) else ""
        lines.append((attempt_id, entry.entry_id, UNBOOKED, "", waits))
        if waits or entry.age >= timing.scaled(capabilities.books_within):
            late.append((entry, waits))
    causes.not_booked(connection, late)


def _absent_in_doubt(
    connection: Connection, capabilities: Capabilities, absent: Sequence[Standing], told: Told
) -> None:
    """The target does not hold it: due again once the lost call can no longer be booked, else asked again later.

    Where the same key overwrites it goes again at once, and may stand there until then; what is only asked about does not.
    """
    over = [entry for entry in absent if is_shown_absent(entry, capabilities)]
    moved = ledger.retry(
        [(entry.entry_id, entry.fence) for entry in over], from_state=State.IN_DOUBT, after_seconds=0, actor=ACTOR,
        reason="not found in the target after its time-out was over; goes again with the same key", may_stand=False,
    )  # fmt: skip
    if capabilities.upsert and len(over) < len(absent):
        kept = {entry.entry_id for entry in over} | sql.asked_only([entry.entry_id for entry in absent])
        moved += ledger.retry(
            [(entry.entry_id, entry.fence) for entry in absent if entry.entry_id not in kept],
            from_state=State.IN_DOUBT, after_seconds=0, actor=ACTOR,
            reason="not found in the target, which overwrites under the same key; goes again",
        )  # fmt: skip
    told.released += len(moved)
    causes.settled(moved)
    causes.stop_for_their_key(moved)
    _escalate_old(connection, [entry for entry in absent if entry.entry_id not in set(moved)])


def is_shown_absent(entry: Standing, capabilities: Capabilities) -> bool:
    """Whether the target has shown that it holds nothing of an entry, nor will: by three look-ups, after its own time-out."""
    over = entry.age > timing.scaled(capabilities.upstream_timeout)
    return over and entry.look_ups + 1 >= _ENOUGH_LOOK_UPS


@dataclass(slots=True)
class _Compared:
    equal: list[Standing] = field(default_factory=list)
    different: list[tuple[Standing, dict[str, list[str]]]] = field(default_factory=list)
    rows: list[tuple[int, bool, str, str]] = field(default_factory=list)


def _compare(
    connection: Connection,
    found: Sequence[Seen],
    lines: list[tuple[int, int, str, str, str]],
    told: Told,
    tolerance: Decimal,
) -> None:
    """ACCEPTED → POSTED for what reads back equal; what was posted before is proved once more."""
    if not found:
        return
    compared = _Compared()
    for entry, posting, line, attempt_id in found:
        differing = speaking.differences(posting, line, tolerance)
        if line.number != entry.receipt:
            differing["number"] = [entry.receipt, line.number]
        if not _is_booked(line):  # it was booked before
            differing["booked"] = ["yes", "no"]
        lines.append((attempt_id, entry.entry_id, "different" if differing else "found", "", ""))
        compared.rows.append(
            (
                entry.entry_id,
                not differing,
                portal_sql.as_json(speaking.shown(line)),
                portal_sql.as_json(differing),
            )
        )
        if differing:
            compared.different.append((entry, differing))
        else:
            compared.equal.append(entry)
    sql.write_read_backs(compared.rows)
    fresh = [entry for entry in compared.equal if entry.state == State.ACCEPTED]
    told.proved += len(ledger.prove([(entry.entry_id, entry.fence) for entry in fresh], actor=ACTOR))
    if fresh:
        anew = partial(billing.booked_anew, [entry.entry_id for entry in fresh])
        transaction.on_commit(anew, robust=True)  # it locks bills first, and is no reason to read back again
    ledger.prove_again([entry.entry_id for entry in compared.equal if entry.state != State.ACCEPTED])
    causes.equal_again([e.entry_id for e in compared.equal if e.state != State.ACCEPTED or e.look_ups])
    questions.holds([entry_id for entry_id, *_ in compared.rows])
    publications = {entry.entry_id for entry, sent, _, _ in found if isinstance(sent, Publication)}
    causes.booked_at_last([entry.entry_id for entry, _ in compared.different if entry.state == State.ACCEPTED])
    drafts = {entry.entry_id: line for entry, _, line, _ in found if isinstance(line, HeldDraft)}
    causes.differs(connection, [x for x in compared.different if x[0].entry_id not in {*publications, *drafts}])
    causes.published(connection, compared.equal, compared.different, publications)
    causes.drafted(connection, compared.different, drafts)


def _absent_in_books(connection: Connection, absent: Sequence[Standing]) -> None:
    """What was accepted and is not there: at first the target may only be slow to show it, then it is a case."""
    gone = [entry for entry in absent if entry.state != State.ACCEPTED or entry.look_ups + 1 >= len(timing.READ_BACKS)]
    if gone:
        sql.write_read_backs([(entry.entry_id, False, "{}", "{}") for entry in gone])
        expected = questions.expected_gone([entry.entry_id for entry in gone])
        causes.not_persisted(connection, [entry for entry in gone if entry.entry_id not in expected])
        causes.not_held(connection, gone)
