"""Questions of people to a target about single entries, and the one way by which something accepted is booked once more.

The rule here: nobody's word takes an entry out of the books. What a person decides for the case that the target holds nothing
is kept, the target is looked at again, and only when it then shows nothing is the entry cancelled, and booked again under a
new key if they said so. Nothing is sent again under a key that was used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from django.db import transaction
from django.db.models import F, Q

from portal import access, audit, ledger
from portal import sql as portal_sql
from portal.models import BillingBalance, LedgerEntry, Published, State, User
from reconciliation import corrections
from reconciliation.facts import Standing, standing_entry
from reconciliation.facts.load import drafts_of
from reconciliation.models import TargetQuestion
from reconciliation.sql import documents
from reconciliation.sql import questions as sql
from reconciliation.validation.admission import admit, cancel, standing_of
from reconciliation.validation.judging import figures_again
from reconciliation.validation.rechecking import recheck

KEY_REUSED = "key-reused"
NOT_TAKEN_BACK = "not-taken-back"  # what refused a reversal because the target takes none
SHOWN_ABSENT = ("not-persisted", "gone-in-target", KEY_REUSED)  # what a first look-up, or the key itself, gave rise to
IN_BOOKS = (State.ACCEPTED, State.POSTED, State.RECONCILED)
READ_NO_SOONER = timedelta(minutes=1)  # than this after the last reading of the same record, or question about it
NOT_SENT = (State.HELD, State.READY, State.REJECTED)
IfAbsent = TargetQuestion.IfAbsent
Answer = TargetQuestion.Answer


class NotAskable(ValueError):
    """An entry about which the target cannot be asked, or about whose absence nothing can be decided; the text says why."""


def ask(
    entry_ids: Sequence[int], *, by: User, reason: str = "", if_absent: str = IfAbsent.NOTHING, told: bool = False
) -> list[int]:
    """Have the target asked about entries, and keep what is to be done if it holds nothing; the entries asked about.

    Asked about a held new version, the question is about what stands for its document. Raises NotAskable naming the entry,
    ValueError where a decision has no reason. `told` says that the decision stands in the audit trail already.
    """
    if if_absent != IfAbsent.NOTHING and not reason.strip():
        raise ValueError("Say why: booking again or leaving out is your decision.")
    with transaction.atomic():
        documents.lock({row[1] for row in documents.entries(entry_ids)})
        given = [standing_entry(row) for row in documents.entries(entry_ids, lock=True)]
        used = {entry.id for entry in given if entry.state == State.HELD and entry.body_hash}
        if if_absent == IfAbsent.NOTHING:
            entries = _what_may_be_there(given, used)
        else:
            _must_be_decidable(given, if_absent)
            entries = given
        sql.ask([entry.id for entry in entries], by.pk, reason, if_absent)
        asked = [(entry.id, entry.fence) for entry in entries if entry.id in used]
        ledger.ask(asked, actor=by.get_username(), reason=f"asked what the target holds under its key: {reason}")
        ledger.look_up_now([entry.id for entry in entries])
        if not told:
            for record in LedgerEntry.objects.filter(pk__in=[entry.id for entry in entries]).order_by("pk"):
                audit.record(
                    by, "target-asked", record, entity=record.entity_id, reason=reason, after={"if_absent": if_absent}
                )
    return [entry.id for entry in entries]


@dataclass(frozen=True, slots=True)
class ReadAgain:
    """Records that systems are asked about now, and those that need no question or allow none, by why."""

    asked: list[int] = field(default_factory=list)  # published records
    connections: set[int] = field(default_factory=set)
    fresh: int = 0  # read, or asked about, within the minute
    untaken: int = 0  # nothing of them stands there yet


def read_again(records: Iterable[Published], *, by: User) -> ReadAgain:
    """Have systems asked now what they hold of records that they were told; audited. The outbox reads and finds drift as ever.

    A record that was read or asked about within the minute is left alone, whoever asks, and so is one that the system never took.
    """
    found = ReadAgain()
    fresh = untaken = 0
    since = portal_sql.now() - READ_NO_SOONER
    with transaction.atomic():
        rows = Published.objects.filter(pk__in=[record.pk for record in records]).order_by("pk")
        for row in rows.select_for_update(of=("self",)).select_related("document", "connection"):
            access.require(by, access.OPERATORS, row.entity_id)
            mine = LedgerEntry.objects.filter(document=row.document_id, state_row__state__in=IN_BOOKS)
            entry = mine.order_by("-version", "-generation", "-pk").first()
            asked = TargetQuestion.objects.filter(entry__document=row.document_id)
            if entry is None:
                untaken += 1
            elif (row.read_at or since) > since or asked.filter(Q(answered_at=None) | Q(asked_at__gt=since)).exists():
                fresh += 1
            else:
                ask([entry.pk], by=by, reason="read now", told=True)
                audit.record(
                    by, "target-asked", row.document, entity=row.entity_id, reason="read now",
                    after={"record": row.title, "system": row.connection.code},
                )  # fmt: skip
                found.asked.append(row.pk)
                found.connections.add(row.connection_id)
    return replace(found, fresh=fresh, untaken=untaken)


def _what_may_be_there(given: Sequence[Standing], used: set[int]) -> list[Standing]:
    """The entries a plain question is about: themselves, or what stands in the books for their documents."""
    standing = standing_of(sorted({entry.document_id for entry in given if entry.state == State.HELD}))
    entries: dict[int, Standing] = {}
    for entry in given:
        if entry.state in (State.IN_DOUBT, *IN_BOOKS) or entry.id in used:
            entries[entry.id] = entry
            continue
        there = standing.get(entry.document_id)
        booked = [other for other in there.booked if other.state != State.SENDING] if there is not None else []
        if not booked:
            state = entry.state.replace("_", " ")
            raise NotAskable(
                f"Entry {entry.id} is {state}, and nothing of its document was sent; there is nothing to ask."
            )
        entries.update((other.id, other) for other in booked)
    return list(entries.values())


def _must_be_decidable(given: Sequence[Standing], if_absent: str) -> None:
    """Every entry was missed once already, is not being taken back, and is not in doubt."""
    missed = sql.missed([entry.id for entry in given], SHOWN_ABSENT)
    reversed_ids = {
        reversal.reverses_id
        for there in standing_of(sorted({entry.document_id for entry in given})).values()
        for reversal in there.reversals
    }
    for entry in given:
        if entry.id not in missed or entry.state not in (State.HELD, *IN_BOOKS):
            raise NotAskable(
                f"Entry {entry.id} is {entry.state.replace('_', ' ')} and was not missed in the target; check there first."
            )
        if entry.id in reversed_ids:
            raise NotAskable(f"Entry {entry.id} is being taken back; call its reversal back first.")
        if entry.reverses_id is not None and if_absent == IfAbsent.LEAVE_OUT:
            raise NotAskable(f"Entry {entry.id} takes another one back, so it is not left out; book it again instead.")
    if if_absent == IfAbsent.LEAVE_OUT and (billed := _billed([entry.id for entry in given])):
        raise NotAskable(f"Entry {min(billed)} stands on an invoice; credit that first, or book it again.")


def _billed(entry_ids: Sequence[int]) -> set[int]:
    """Which of these entries a customer was billed for, and not credited."""
    balances = BillingBalance.objects.filter(entry__in=entry_ids, invoiced__gt=F("credited"))
    return set(balances.values_list("entry_id", flat=True))


def taken_back_there(reversal_ids: Sequence[int], *, by: User, reason: str) -> list[int]:
    """A target that takes no opposites was told by its own people: have it asked about what refused reversals were to take back.

    What it then does not hold leaves the ledger together with its reversal, and what waited for that goes. The entries asked
    about. Raises NotAskable naming the entry, ValueError without a reason.
    """
    if not reason.strip():
        raise ValueError("Say who took it back there, and how.")
    with transaction.atomic():
        documents.lock({row[1] for row in documents.entries(reversal_ids)})
        reversals = [standing_entry(row) for row in documents.entries(reversal_ids, lock=True)]
        opposites = sql.refused_as([reversal.id for reversal in reversals], NOT_TAKEN_BACK)
        for reversal in reversals:
            if reversal.reverses_id is None or reversal.state != State.REJECTED:
                raise NotAskable(f"Entry {reversal.id} is no reversal that its target refused.")
            if reversal.id not in opposites:
                raise NotAskable(
                    f"Entry {reversal.id} was refused for another reason; this target takes reversals. Mend that."
                )
        originals = sorted({reversal.reverses_id for reversal in reversals if reversal.reverses_id is not None})
        if billed := _billed(originals):
            raise NotAskable(f"Entry {min(billed)} stands on an invoice; credit that first, or call its reversal back.")
        sql.ask(originals, by.pk, reason, IfAbsent.TAKEN_BACK)
        ledger.look_up_now(originals)
    return originals


def expected_gone(entry_ids: Sequence[int]) -> set[int]:
    """Which of these entries a person said were taken back in the target, so that their absence surprises nobody."""
    return sql.asked_with(entry_ids, IfAbsent.TAKEN_BACK) if entry_ids else set()


def holds(entry_ids: Sequence[int]) -> None:
    """The target shows these entries: whatever was decided for their absence is void."""
    sql.answer(entry_ids, Answer.HOLDS)


def absent(looked: Sequence[tuple[int, int]]) -> list[int]:
    """The target does not show these entries: (entry, attempt that looked). What was decided is done; the new entries.

    Only an attempt made after the question was asked answers it. Entries that are still being looked for are left alone.
    """
    questions = sql.asked_before(looked)
    if not questions:
        return []
    made: list[int] = []
    with transaction.atomic():
        rows = documents.entries(sorted(questions))
        documents.lock({row[1] for row in rows})
        entries = [standing_entry(row) for row in documents.entries(sorted(questions), lock=True)]
        by_question: dict[tuple[str, str, str], list[Standing]] = defaultdict(list)
        for entry in entries:
            if entry.state in (State.HELD, State.READY, *IN_BOOKS):
                asked = questions[entry.id]
                by_question[asked.if_absent, asked.actor, asked.reason].append(entry)
        for (if_absent, actor, reason), found in by_question.items():
            if if_absent == IfAbsent.NOTHING:
                sql.answer([entry.id for entry in found], Answer.ABSENT)
            elif if_absent == IfAbsent.LEAVE_OUT:
                _leave_out(found, actor, reason)
            elif if_absent == IfAbsent.TAKEN_BACK:
                _take_off_with_reversal(found, actor, reason)
            else:
                made += _book_again(found, actor, reason)
    return made


def _leave_out(entries: Sequence[Standing], actor: str, reason: str) -> None:
    """The target does not hold them and a person leaves them out, unless a customer was billed for them meanwhile."""
    billed = _billed([entry.id for entry in entries])
    sql.withdraw(sorted(billed), IfAbsent.LEAVE_OUT)
    free = [entry for entry in entries if entry.id not in billed]
    gone = cancel(free, actor=actor, reason=f"{documents.LEFT_OUT}the target does not hold it; {reason}")
    sql.answer(gone, Answer.ABSENT)
    _follow(entries, actor)


def _take_off_with_reversal(entries: Sequence[Standing], actor: str, reason: str) -> None:
    """The target's people took entries back: they and the reversals that it refused are owed no more.

    Only what is still being taken back and stands on no invoice; of what is not, the question is withdrawn. What is on its way
    again is asked about again.
    """
    standing = standing_of([entry.document_id for entry in entries], lock=True)
    reversals = {reversal.reverses_id: reversal for there in standing.values() for reversal in there.reversals}
    billed = _billed([entry.id for entry in entries])
    void = [entry.id for entry in entries if entry.id in billed or entry.id not in reversals]
    sql.withdraw(void, IfAbsent.TAKEN_BACK)
    ids = {entry.id for entry in entries}.difference(void)
    refused = [one for original, one in reversals.items() if original in ids and one.state in NOT_SENT]
    went = set(cancel(refused, actor=actor, reason=f"the target's people took it back: {reason}"))
    taken = [entry for entry in entries if entry.id in ids and reversals[entry.id].id in went]
    gone = cancel(taken, actor=actor, reason=f"{documents.LEFT_OUT}taken back in the target; {reason}")
    sql.answer(gone, Answer.ABSENT)
    _follow(entries, actor)


def _book_again(entries: Sequence[Standing], actor: str, reason: str) -> list[int]:
    """Cancel what the target does not hold and enter it under the next generation; validation then has its word."""
    gone = set(
        cancel(entries, actor=actor, reason=f"the target does not hold it; booked again under a new key: {reason}")
    )
    current = {draft.document_id: draft for draft in drafts_of([entry.document_id for entry in entries], lock=False)}
    standing = standing_of([entry.document_id for entry in entries])
    rows: list[tuple[ledger.Figures, State, str]] = []
    owed: list[Standing] = []
    for entry in entries:
        draft = current[entry.document_id]
        is_owed = entry.reverses_id is not None or (draft.version == entry.version and draft.status == "approved")
        if entry.id not in gone or not is_owed:
            continue
        figures = figures_again(entry)
        figures.generation = _next_generation(entry, standing[entry.document_id].every)
        rows.append((figures, State.READY, ""))
        owed.append(entry)
    for (figures, _, _), (entry, period) in zip(rows, corrections.places(owed), strict=True):
        figures.post_on, figures.period_id = max(entry.post_on, period.starts_on), period.id
    ids = ledger.enter(rows, actor=actor, reason=f"booked again under a new key: {reason}")
    sql.answer(sorted(gone), Answer.ABSENT, dict(zip((entry.id for entry in owed), ids, strict=True)))
    _follow(entries, actor)
    return ids


def _next_generation(entry: Standing, every: Sequence[Standing]) -> int:
    identity = (entry.version, entry.target_id, entry.part, entry.reverses_id)
    return 1 + max(
        other.generation
        for other in every
        if (other.version, other.target_id, other.part, other.reverses_id) == identity
    )


def _follow(entries: Sequence[Standing], actor: str) -> None:
    """Validate what is open for these documents now that nothing of theirs stands where they were looked for."""
    ids = sorted({entry.document_id for entry in entries})
    admit(ids, actor=actor)
    waiting = [entry.id for there in standing_of(ids).values() for entry in there.open if entry.reverses_id is None]
    recheck(waiting, actor=actor, reason="what stood for its document is not in the target")


def moved_on() -> int:
    """Close questions about entries that were settled otherwise before the answer came; how many."""
    return sql.withdraw_moved([str(State.REVERSED), str(State.CANCELLED), str(State.REJECTED)])
