"""Invoice drafts on their way: whether one may go, and what follows when the system that bills took, refused or changed it.

The rule here: a draft goes only while everything on it may still be billed. What the system made is never changed from here;
where it holds other figures, that is a case, and the draft is not proved.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from portal import ledger
from portal import sql as portal_sql
from portal.models import Connection, InvoiceDraft, ProposalLine, ProposalState, State
from portal.records import HeldDraft
from reconciliation import cases
from reconciliation.facts import Standing
from reconciliation.invoicing import unbillable
from reconciliation.sql import documents

STOPPED, REFUSED, DIFFERS = "draft-outdated", "draft-refused", "draft-differs"
OPEN = (State.HELD, State.READY, State.REJECTED)
Differences = Mapping[str, Sequence[str]]


def stands(entries: Sequence[Standing]) -> set[int]:
    """Which of these may still go, asked at the door; writes nothing."""
    if not entries:
        return set()
    spoilt = unbillable.spoilt({entry.document_id for entry in entries})
    going = _handed_over(entries)
    return {entry.id for entry in entries if entry.document_id in going and entry.document_id not in spoilt}


def recheck(entries: Sequence[Standing], *, actor: str, reason: str) -> list[int]:
    """Look again at drafts that have not gone; those that may go now. Documents and states are locked by the caller."""
    due = [entry for entry in entries if entry.state in OPEN]
    spoilt = unbillable.spoilt({entry.document_id for entry in due})
    going = _handed_over(due)
    rows = drafts_of([entry.id for entry in due])
    released: list[int] = []
    for entry in due:
        ref = (entry.id, entry.fence)
        if entry.document_id not in going:
            why = "its proposal was withdrawn"
            if not ledger.cancel([ref], State(entry.state), actor=actor, reason=why):
                ledger.ask([ref], from_state=State(entry.state), actor=actor, reason=f"it may be there: {why}")
            cases.close_holds([entry.id], outcome=cases.WITHDRAWN, reason=why)
        elif entry.document_id in spoilt:
            if entry.state == State.READY:
                ledger.hold([ref], actor=actor, reason=reason)
            if entry.state != State.REJECTED:
                cases.open_holds([_stopped(entry.id, rows[entry.id], spoilt[entry.document_id])])
        elif entry.state == State.HELD:
            cases.close_holds([entry.id], [STOPPED], reason=reason)
            released += ledger.release([ref], actor=actor, reason=reason)
    return released


def _handed_over(entries: Sequence[Standing]) -> set[int]:
    """The documents on which there are lines, and all of them of proposals that still want them to go."""
    lines = ProposalLine.objects.filter(draft__in={entry.document_id for entry in entries})
    going: dict[int, bool] = {}
    for draft, state in lines.order_by("draft").values_list("draft", "proposal__state").distinct():
        going[draft] = going.get(draft, True) and state == ProposalState.HANDED_OVER
    return {draft for draft, may_go in going.items() if may_go}


def _stopped(entry_id: int, draft: InvoiceDraft, what: str) -> cases.NewHold:
    return _hold(
        entry_id, draft, STOPPED,
        f"{draft} is not sent to {draft.connection}: {what}. Withdraw the proposal and prepare it anew.",
    )  # fmt: skip


def _hold(entry_id: int, draft: InvoiceDraft, rule: str, sentence: str, **detail: object) -> cases.NewHold:
    return cases.NewHold(
        entry_id=entry_id, rule=rule, entity_id=draft.entity_id, subject_type="proposal", subject_key=str(draft.proposal_id),
        sentence=sentence, detail={"proposal": draft.proposal_id, "target_id": draft.connection_id, **detail},
        connection_id=draft.connection_id,
    )  # fmt: skip


def drafts_of(entry_ids: Sequence[int]) -> dict[int, InvoiceDraft]:
    """The drafts that entries owe, by entry."""
    pairs = [(row[0], row[1]) for row in documents.entries(entry_ids)]
    rows = InvoiceDraft.objects.select_related("proposal", "connection").in_bulk({document for _, document in pairs})
    return {entry_id: rows[document] for entry_id, document in pairs}


def taken(accepted: Sequence[tuple[int, str]]) -> None:
    """Learn the system's own keys of the invoices that it made: (entry, key). Joins the transaction."""
    if not accepted:
        return
    rows = drafts_of([entry_id for entry_id, _ in accepted])
    for entry_id, number in accepted:
        rows[entry_id].number = number
        rows[entry_id].save(update_fields=["number"])
    cases.close_holds(list(rows), [STOPPED, REFUSED], reason="the system took it")


def refused(connection: Connection, refusals: Sequence[tuple[int, str, str]]) -> None:
    """Open the cases of refused drafts: (entry, our code, what the system said). Joins the transaction."""
    if not refusals:
        return
    rows = drafts_of([entry_id for entry_id, _, _ in refusals])
    cases.open_holds(
        [
            _hold(
                entry_id, rows[entry_id], REFUSED,
                f"{connection} refused {rows[entry_id]} for {rows[entry_id].proposal.project.code}: {said} Put it right there "
                "and send it again, or withdraw the proposal.",
                code=code,
            )
            for entry_id, code, said in refusals
        ]
    )  # fmt: skip


def compared(connection: Connection, found: Sequence[tuple[int, HeldDraft, Differences]]) -> None:
    """Take in what the system held of drafts when they were read back: (entry, what it holds, where it differs)."""
    if not found:
        return
    moment = portal_sql.now()
    rows = drafts_of([entry_id for entry_id, _, _ in found])
    holds: list[cases.NewHold] = []
    equal: list[int] = []
    for entry_id, held, differing in found:
        row = rows[entry_id]
        row.read_at, row.bill_number = moment, held.bill_number[:120]
        row.tax, row.total = held.tax, held.total
        row.drift = {name: list(pair) for name, pair in differing.items()}
        if not differing:
            equal.append(entry_id)
            continue
        told = "; ".join(
            f"{name.replace('_', ' ')} {ours} was approved, {theirs} is there"
            for name, (ours, theirs) in differing.items()
        )
        holds.append(
            _hold(
                entry_id, row, DIFFERS,
                f"{connection} holds {row} with other figures than were approved: {told}. Put it right there; it is read again.",
                differences=row.drift,
            )
        )  # fmt: skip
    InvoiceDraft.objects.bulk_update(rows.values(), ["read_at", "bill_number", "tax", "total", "drift"])
    cases.close_holds(equal, [DIFFERS], reason="the system holds what was approved")
    cases.open_holds(holds)


def by_state(rows: Sequence[tuple[int, str, int]]) -> dict[State, list[ledger.Ref]]:
    """Entries by where they stand: (entry, state, fence)."""
    found: dict[State, list[ledger.Ref]] = defaultdict(list)
    for entry_id, state, fence in rows:
        found[State(state)].append((entry_id, fence))
    return found
