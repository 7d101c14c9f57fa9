"""What must hold between us and the vendors at any moment. The judge of duplicates is the target's own statement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from integrations import registry, windows
from integrations.errors import ConnectorError
from integrations.models import MaintenanceWindow
from portal import sql
from portal.invariants import INVARIANTS as OF_THE_LEDGER
from portal.invariants import Invariant, breaches
from portal.models import Attempt, Connection
from reconciliation.invariants import INVARIANTS as OF_CASES


def _booked_once_as_last_read() -> list[str]:
    return breaches(
        "SELECT connection_id, key, array_agg(number ORDER BY number) FROM portal_statementline"
        " WHERE key <> '' AND gone_at IS NULL GROUP BY connection_id, key HAVING count(*) > 1",
        "Key {1} is booked more than once at target {0}: {2}.",
    )


def booked_once(connection: Connection) -> list[str]:
    """Ask the target itself, over all days that entries were sent for: a sentence for each key that it holds twice."""
    start, end = sql.rows(
        "SELECT min(e.post_on), max(e.post_on) FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id"
        " WHERE e.target_id = %s AND s.body_hash <> ''",
        [connection.pk],
    )[0]
    if start is None:
        return []
    numbers: dict[str, list[str]] = defaultdict(list)
    try:
        target = registry.target(connection)
        if not target.capabilities.statement:
            return []
        for line in target.statement(start, end):
            if line.key:
                numbers[line.key].append(line.number)
    except ConnectorError as error:
        return [f"{connection} could not be asked what it has booked: {error}"]
    return [
        f"{connection} holds key {key} {len(found)} times, as {', '.join(found)}."
        for key, found in numbers.items()
        if len(found) > 1
    ]


def _ask_every_target() -> list[str]:
    targets = Connection.objects.filter(is_target=True, is_active=True)
    return [sentence for connection in targets for sentence in booked_once(connection)]


def _no_message_acts_twice() -> list[str]:
    return breaches(
        """
        SELECT message_id, count(*) FROM (
            SELECT message_id, document_id, version FROM portal_timeentry WHERE message_id IS NOT NULL
            UNION ALL SELECT message_id, document_id, version FROM portal_expense WHERE message_id IS NOT NULL) v
         GROUP BY message_id, document_id HAVING count(*) > 1""",
        "Message {0} made {1} versions of one document.",
    )


def _a_refusal_is_not_tried_again_by_itself() -> list[str]:
    return breaches(
        "SELECT entry_id, fence FROM portal_ledgertransition"
        " WHERE from_state = 'rejected' AND to_state = 'ready' AND actor = 'outbox'",
        "Entry {0} was sent again after a refusal by nobody's decision (move {1}).",
    )


def _windows_are_kept() -> list[str]:
    return list(_sent_in_windows())


def _sent_in_windows() -> Iterator[str]:
    for connection_id in MaintenanceWindow.objects.values_list("connection_id", flat=True).distinct():
        planned = list(MaintenanceWindow.objects.filter(connection_id=connection_id))
        sent = Attempt.objects.filter(connection_id=connection_id, purpose=Attempt.Purpose.PUSH).exclude(
            outcome="unsent"
        )
        for attempt_id, started_at in sent.order_by("-id").values_list("pk", "started_at")[:5000]:
            if windows.until(planned, started_at) is not None:
                yield f"Attempt {attempt_id} of {started_at} was made inside a maintenance window."


def _no_secret_is_kept() -> list[str]:
    return list(_secrets_in_attempts())


def _secrets_in_attempts() -> Iterator[str]:
    for connection in Connection.objects.exclude(credentials={}):
        try:
            secrets = registry.account(connection).secrets
        except ConnectorError:
            continue  # a credential that cannot be read cannot have been sent
        for name, value in secrets.items():
            if len(value) < 8:
                continue
            pattern = sql.rows("SELECT count(*) FROM portal_attempt WHERE strpos(exchanges::text, %s) > 0", [value])
            if pattern[0][0]:
                yield f"Secret {name!r} of {connection} stands in {pattern[0][0]} attempts."


def _nothing_waits_for_nothing() -> list[str]:
    return (
        breaches(
            """
        SELECT w.entry_id, w.waits_on, s.state FROM portal_ledgerstate w
          JOIN portal_ledgerstate s ON s.entry_id = substr(w.waits_on, 10)::bigint
         WHERE w.state = 'ready' AND w.waits_on ~ '^reversal:[0-9]+$'
           AND s.state IN ('accepted', 'posted', 'reconciled', 'cancelled')""",
            "Entry {0} waits on {1}, which is {2} already.",
        )
        + breaches(
            """
        SELECT s.entry_id, s.next_attempt_at FROM portal_ledgerstate s
          JOIN portal_connection c ON c.id = s.target_id AND c.is_active AND c.paused_at IS NULL
          LEFT JOIN integrations_breaker b ON b.connection_id = c.id
         WHERE s.state = 'ready' AND s.waits_on = '' AND s.next_attempt_at < now() - interval '1 hour'
           AND coalesce(b.state, 'closed') = 'closed' AND b.unauthorised_at IS NULL""",
            "Entry {0} has been due since {1}, its target is open, and nobody sends it.",
        )
        + breaches(
            """
        SELECT s.entry_id, s.moved_at FROM portal_ledgerstate s
         WHERE s.state = 'in_doubt' AND s.moved_at < now() - interval '1 hour'
           AND NOT EXISTS (SELECT 1 FROM reconciliation_hold h WHERE h.entry_id = s.entry_id AND h.closed_at IS NULL)""",
            "Entry {0} is in doubt since {1}, and no case says so.",
        )
    )


OF_THE_PIPELINE: tuple[Invariant, ...] = (
    Invariant("I1", "One record per key in the statements as last read", _booked_once_as_last_read),
    Invariant("I13", "A message has one effect", _no_message_acts_twice),
    Invariant("I18", "Nothing refused is tried again by itself", _a_refusal_is_not_tried_again_by_itself),
    Invariant("I20", "Nothing is sent inside a maintenance window", _windows_are_kept),
    Invariant("I23", "No secret is kept with an attempt", _no_secret_is_kept),
    Invariant("I25", "Nothing waits for nothing", _nothing_waits_for_nothing),
)
LIVE = Invariant("I1", "One record per key in the target's own books, asked now", _ask_every_target)
INVARIANTS: tuple[Invariant, ...] = (*OF_THE_LEDGER, *OF_CASES, *OF_THE_PIPELINE)


def verify(*, live: bool = True) -> list[tuple[Invariant, list[str]]]:
    """Check every invariant; with `live` the targets are asked too. The invariants in their order, each with its breaches."""
    asked = (*INVARIANTS, LIVE) if live else INVARIANTS
    return [(invariant, list(invariant.check())) for invariant in asked]
