"""The line of one entry from its source to the payment: stations that were reached, and the gap in words.

The rule here: a station that was not reached says why, in the words of the row that stops it.
"""

from __future__ import annotations

from integrations.thread import billing
from integrations.thread.finding import EntryThread, Thread
from integrations.thread.stations import Station
from portal.models import Expense, State, TimeEntry
from portal.tables import waiting
from reconciliation.tables import title_of

PROVED = (State.POSTED, State.RECONCILED)
NOT_BOOKED = "not-booked"
BROKEN = ("divergent-read-back", "gone-in-target", "not-persisted")


def lineage(thread: Thread, told: EntryThread) -> list[Station]:
    """Source entry, approval, ledger, ERP document, read-back, invoice, credit and payment; and what took it back."""
    version = next((one for one in thread.versions if one.version == told.entry.version), None)
    stations = [
        _source(thread, told, version),
        _approval(version),
        _ledger(told),
        _document(told),
        _read_back(told),
        *billing.stations(told.entry, told.billed, told.settled),
    ]
    back = _taken_back(thread, told)
    return [*stations, back] if back is not None else stations


def _source(thread: Thread, told: EntryThread, version: TimeEntry | Expense | None) -> Station:
    document = thread.document
    message = next((one for one in thread.messages if version is not None and one.pk == version.message_id), None)
    at = message.received_at if message is not None else version.recorded_at if version is not None else None
    words = f"{document.connection} {document.external_id}, version {told.entry.version}"
    if version is not None and version.author is not None:
        return Station("source", "Source entry", "lit", f"{words}, corrected by {version.author}", at)
    newest = document.current_version
    if newest > told.entry.version:
        words += f"; version {newest} came since"
    return Station("source", "Source entry", "lit", words, at)


def _approval(version: TimeEntry | Expense | None) -> Station:
    if version is None:
        return Station("approval", "Approval", "", "no version of the source is kept for this entry")
    if version.status != "approved":
        return Station("approval", "Approval", "broken", f"{version.status} at the source", version.recorded_at)
    who = version.approver_name or version.approver_code or version.approver_key
    return Station(
        "approval", "Approval", "lit", f"by {who}" if who else "approved; the source names nobody", version.approved_at
    )


def _ledger(told: EntryThread) -> Station:
    state = told.entry.state_row
    words = str(state.get_state_display())
    held = sorted({title_of(hold.rule) for hold in told.holds if hold.closed_at is None})
    if state.state in (State.HELD, State.REJECTED):
        why = "; ".join(held) or (told.transitions[-1].reason if told.transitions else "")
        return Station("ledger", "Ledger", "broken", f"{words}: {why}" if why else words, state.moved_at)
    if state.state == State.CANCELLED:
        why = told.transitions[-1].reason if told.transitions else ""
        return Station("ledger", "Ledger", "", f"Cancelled: {why}" if why else "Cancelled", state.moved_at)
    if state.state == State.IN_DOUBT:
        return Station("ledger", "Ledger", "doubt", words, state.moved_at)
    waits = waiting(state.waits_on)
    return Station("ledger", "Ledger", "lit", f"{words}, {waits}" if waits else words, state.moved_at)


def _document(told: EntryThread) -> Station:
    state = told.entry.state_row.state
    name = "ERP document"
    if told.receipt is not None:
        return Station("document", name, "lit", f"{told.entry.target} {told.receipt.number}", told.receipt.received_at)
    moved = told.entry.state_row.moved_at
    why = told.transitions[-1].reason if told.transitions else ""
    match state:
        case State.IN_DOUBT:
            return Station("document", name, "doubt", "not known: it was sent and no answer came", moved)
        case State.REJECTED:
            return Station("document", name, "broken", f"refused: {why}", moved)
        case State.SENDING:
            return Station("document", name, "", "being sent now", moved)
        case State.HELD:
            return Station("document", name, "", "none: it is held and is not sent")
        case State.CANCELLED:
            return Station("document", name, "", "none: it is not owed any more")
        case _:
            return Station("document", name, "", "none yet: it waits for its turn to be sent")


def _read_back(told: EntryThread) -> Station:
    latest = told.read_backs[-1] if told.read_backs else None
    name = "Read-back"
    if told.receipt is None:
        return Station("read-back", name, "", "nothing to read back yet")
    if (look := told.unbooked) is not None:
        is_late = any(hold.rule == NOT_BOOKED and hold.closed_at is None for hold in told.holds)
        words = f"{told.entry.target} took it and has not booked it{'' if is_late else ' yet'}"
        return Station("read-back", name, "broken" if is_late else "", words, look.attempt.started_at)
    if latest is None:
        return Station("read-back", name, "", "not read back yet, so not proved")
    if latest.is_equal:
        seen = told.entry.state_row.proved_at or latest.at
        return Station("read-back", name, "lit", "equal to what was sent", seen)
    if not latest.found:
        return Station("read-back", name, "broken", f"{told.entry.target} does not show the record", latest.at)
    fields = ", ".join(sorted(one.replace("_", " ") for one in latest.differences)) or "figures"
    return Station("read-back", name, "broken", f"{told.entry.target} holds other {fields}", latest.at)


def _taken_back(thread: Thread, told: EntryThread) -> Station | None:
    reversal = next((one.entry for one in thread.entries if one.entry.reverses_id == told.entry.pk), None)
    if reversal is None:
        return None
    state = reversal.state_row
    words = f"by entry {reversal.pk}, {state.get_state_display().lower()}"
    done = told.entry.state_row.state == State.REVERSED
    return Station("reversal", "Taken back", "lit" if done else "", words, state.moved_at)
