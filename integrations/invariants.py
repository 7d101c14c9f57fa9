"""What must hold between us and the vendors at any moment. The judge of duplicates is the target's own statement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta

from integrations import registry, statements, windows
from integrations.errors import ConnectorError
from integrations.models import MaintenanceWindow
from integrations.outbox import door
from integrations.outbox.settle import MAY_STAND
from portal import sql
from portal.invariants import INVARIANTS as OF_THE_LEDGER
from portal.invariants import Invariant, breaches
from portal.models import Connection
from reconciliation.invariants import INVARIANTS as OF_CASES


def _booked_once_as_last_read() -> list[str]:
    return breaches(
        "SELECT connection_id, key, array_agg(number ORDER BY number) FROM portal_statementline"
        " WHERE key <> '' AND gone_at IS NULL GROUP BY connection_id, key HAVING count(*) > 1",
        "Key {1} is booked more than once at target {0}: {2}.",
    )


def booked_once(connection: Connection) -> list[str]:
    """Ask the target itself, over all days that entries were sent for: a sentence for each key that it holds twice.

    A target whose door is closed is not asked, as by nobody else.
    """
    start, end = sql.rows(
        "SELECT min(e.post_on), max(e.post_on) FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id"
        " WHERE e.target_id = %s AND s.body_hash <> ''",
        [connection.pk],
    )[0]
    if start is None:
        return []
    numbers: dict[str, list[str]] = defaultdict(list)
    try:
        for line in statements.whole(connection, start, end):
            if line.key:
                numbers[line.key].append(line.number)
    except (door.NotNow, statements.NoStatement):
        return []  # `not_asked` says so
    except ConnectorError as error:
        return [f"{connection} could not be asked what it has booked: {error}"]
    return [
        f"{connection} holds key {key} {len(found)} times, as {', '.join(found)}."
        for key, found in numbers.items()
        if len(found) > 1
    ]


def _targets() -> list[Connection]:
    return list(Connection.objects.filter(is_target=True, is_active=True).order_by("code"))


def not_asked() -> list[str]:
    """The targets that are not to be asked now, and why: what is said of them is only as of their last statement."""
    found = []
    for connection in _targets():
        try:
            door.stay(connection)
        except door.NotNow as closed:
            found.append(str(closed))
    return found


def _ask_every_target() -> list[str]:
    return [sentence for connection in _targets() for sentence in booked_once(connection)]


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


_CALLED = """
    SELECT a.id, a.connection_id, coalesce(min((x->>'started_at')::timestamptz), a.started_at) AS at
      FROM portal_attempt a LEFT JOIN LATERAL jsonb_array_elements(a.exchanges) x ON true
     WHERE a.purpose = 'push' AND a.outcome NOT IN ('unsent', 'lost') GROUP BY a.id"""  # when each call began
_GRACE = 5  # seconds in which a worker that is calling learns that a door has closed


def _the_breaker_is_kept() -> list[str]:
    return breaches(
        f"""
        WITH moves AS (
            SELECT connection_id, to_state, at AS began, lead(at, 1, 'infinity') OVER w AS ended
              FROM integrations_breakermove WINDOW w AS (PARTITION BY connection_id ORDER BY id)),
        calls AS ({_CALLED})
        SELECT calls.id, calls.at, moves.began FROM moves JOIN calls ON calls.connection_id = moves.connection_id
         WHERE moves.to_state = 'open' AND calls.at > moves.began + make_interval(secs => %s) AND calls.at < moves.ended""",  # noqa: S608
        "Attempt {0} of {1} was made while the breaker was open since {2}.",
        [_GRACE],
    )


def _windows_are_kept() -> list[str]:
    return list(_sent_in_windows())


def _sent_in_windows() -> Iterator[str]:
    for connection_id in MaintenanceWindow.objects.values_list("connection_id", flat=True).distinct():
        planned = list(MaintenanceWindow.objects.filter(connection_id=connection_id))
        calls = sql.rows(
            f"SELECT id, at FROM ({_CALLED}) c WHERE connection_id = %s ORDER BY id DESC LIMIT 5000",  # noqa: S608
            [connection_id],
        )
        for attempt_id, at in calls:
            before = at - timedelta(seconds=_GRACE)
            if windows.until(planned, at) is not None and windows.until(planned, before) is not None:
                yield f"Attempt {attempt_id} of {at} was made inside a maintenance window."


def _slots_are_kept() -> list[str]:
    """Calls under way at once, as their exchanges were timed by the workers, against the most that was ever allowed."""
    return breaches(
        """
        WITH calls AS (
            SELECT a.connection_id, (x->>'started_at')::timestamptz AS began,
                   (x->>'started_at')::timestamptz
                   + make_interval(secs => greatest((x->>'duration_ms')::float8 - 2, 0) / 1000) AS ended
              FROM portal_attempt a CROSS JOIN LATERAL jsonb_array_elements(a.exchanges) x),
        edges AS (
            SELECT connection_id, began AS at, 1 AS step FROM calls UNION ALL SELECT connection_id, ended, -1 FROM calls),
        under_way AS (
            SELECT connection_id, at, sum(step) OVER (PARTITION BY connection_id ORDER BY at, step ROWS UNBOUNDED PRECEDING)
                   AS calls FROM edges),
        allowed AS (
            SELECT c.id, greatest(c.concurrency, max(h.concurrency)) AS calls FROM portal_connection c
              LEFT JOIN portal_historicalconnection h ON h.id = c.id GROUP BY c.id)
        SELECT u.connection_id, u.calls, allowed.calls, u.at FROM under_way u JOIN allowed ON allowed.id = u.connection_id
         WHERE u.calls > allowed.calls ORDER BY u.at""",
        "{1} calls to connection {0} were under way at {3}, and {2} are allowed.",
    )


def _every_intent_is_an_attempt() -> list[str]:
    """A move to SENDING has its attempt, an attempt that ended says what came of each entry, and no evidence is unguarded."""
    return (
        breaches(
            """
            SELECT t.entry_id, t.fence FROM portal_ledgertransition t
             WHERE t.to_state = 'sending' AND NOT EXISTS (
                   SELECT 1 FROM portal_attemptline l JOIN portal_attempt a ON a.id = l.attempt_id AND a.purpose = 'push'
                    WHERE l.entry_id = t.entry_id AND l.fence = t.fence)""",
            "Entry {0} was sent at fence {1}, and no attempt says so.",
        )
        + breaches(
            "SELECT l.attempt_id, l.entry_id FROM portal_attemptline l JOIN portal_attempt a ON a.id = l.attempt_id"
            " WHERE a.ended_at IS NOT NULL AND l.outcome = ''",
            "Attempt {0} has ended and does not say what came of entry {1}.",
        )
        + breaches(
            "SELECT c.relname, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
            " WHERE NOT t.tgisinternal AND t.tgenabled = 'D'",
            "Trigger {1} of {0} is switched off, so its evidence can be changed.",
        )
    )


def _changes_are_followed() -> list[str]:
    """There is no table of events to relay: the row that changed is the event. What was left for others to see, they saw."""
    return breaches(
        "SELECT id, kind, internal_id, changed_at FROM portal_masterchange"
        " WHERE handled_at IS NULL AND changed_at < now() - interval '1 hour'",
        "Change {0} ({1} {2}) of {3} was never followed by the entries it touches.",
    ) + breaches(
        """
        SELECT s.entry_id, s.fence, count(t.entry_id), max(t.fence) FROM portal_ledgerstate s
          LEFT JOIN portal_ledgertransition t ON t.entry_id = s.entry_id
         GROUP BY s.entry_id, s.fence HAVING count(t.entry_id) <> s.fence OR max(t.fence) <> s.fence""",
        "Entry {0} is at fence {1} and has {2} moves up to {3}: one is missing.",
    )


def _cursors_pass_nothing() -> list[str]:
    """What a reading counted as filed is in the inbox, and its cursor is where a reading that filed left it."""
    return (
        breaches(
            """
            SELECT r.id, r.filed, count(m.id) FROM integrations_run r
              LEFT JOIN integrations_inboxmessage m ON m.run_id = r.id AND m.kind = 'record'
             WHERE r.state <> 'running' AND r.trigger IN ('schedule', 'manual') AND r.filed > 0
             GROUP BY r.id HAVING count(m.id) <> r.filed""",
            "Run {0} counted {1} records as filed, and {2} are in the inbox.",
        )
        + breaches(
            """
            SELECT s.id, s.cursor FROM integrations_stream s
             WHERE s.cursor <> ''
               AND EXISTS (SELECT 1 FROM integrations_run r WHERE r.connection_id = s.connection_id AND r.stream = s.name)
               AND NOT EXISTS (SELECT 1 FROM integrations_run r WHERE r.connection_id = s.connection_id AND r.stream = s.name
                                  AND s.cursor IN (r.cursor_to, r.cursor_from))""",
            "Stream {0} stands at cursor {1!r}, to which no reading moved it.",
        )
        + breaches(
            """
            SELECT m.id, m.received_at FROM integrations_inboxmessage m
              JOIN portal_connection c ON c.id = m.connection_id AND c.is_active AND c.paused_at IS NULL
             WHERE m.state = 'new' AND coalesce(m.next_attempt_at, m.received_at) < now() - interval '1 hour'""",
            "Message {0} of {1} was passed by the cursor and never taken in.",
        )
    )


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


def _books_are_of_their_entity() -> list[str]:
    """What was sent went to a target of its own entity, or to a shared one; to one company's books with a word of whose it is."""
    return breaches(
        """
        SELECT DISTINCT l.entry_id, x.code, c.name, o.code FROM portal_attempt a
          JOIN portal_attemptline l ON l.attempt_id = a.id
          JOIN portal_ledgerentry e ON e.id = l.entry_id AND e.kind <> 'master'
          JOIN portal_legalentity x ON x.id = e.entity_id
          JOIN portal_connection c ON c.id = a.connection_id
          JOIN LATERAL (
               SELECT h.entity_id FROM portal_historicalconnection h
                WHERE h.id = c.id AND h.history_date <= a.started_at ORDER BY h.history_date DESC, h.history_id DESC LIMIT 1
          ) owner ON owner.entity_id <> e.entity_id
          JOIN portal_legalentity o ON o.id = owner.entity_id
         WHERE a.purpose = 'push'""",
        "Entry {0} of {1} was sent to {2}, which kept the books of {3}.",
    ) + [sentence for connection in _targets() for sentence in _told_apart(connection)]


def _told_apart(connection: Connection) -> list[str]:
    """Of one company's books that entities share: the work of several without a word of whose it is."""
    try:
        if connection.entity_id is not None or not registry.target(connection).capabilities.one_company:
            return []
    except (ConnectorError, registry.UnknownConnector):
        return []  # it cannot be built, so nothing is sent there
    return breaches(
        """
        SELECT string_agg(DISTINCT x.code, ', ' ORDER BY x.code) FROM portal_ledgerentry e
          JOIN portal_ledgerstate s ON s.entry_id = e.id AND s.body_hash <> ''
          JOIN portal_legalentity x ON x.id = e.entity_id
         WHERE e.target_id = %s AND e.kind <> 'master' AND coalesce(e.target_keys->>'entity', '') = ''
        HAVING count(DISTINCT e.entity_id) > 1""",
        f"{connection} is the books of one company and took work of {{0}}, of which none says whose it is.",
        [connection.pk],
    )


def _what_may_stand_was_looked_for() -> list[str]:
    """What left the ledger before it was accepted, and may have been left at its target, was shown to be absent since."""
    return breaches(
        """
        SELECT t.entry_id, l.attempt_id FROM portal_ledgertransition t
          JOIN portal_attemptline l ON l.entry_id = t.entry_id
          JOIN portal_attempt a ON a.id = l.attempt_id AND a.purpose = 'push'
         WHERE t.to_state = 'cancelled' AND t.from_state IN ('held', 'ready', 'rejected')
           AND (l.code = %s OR l.outcome IN ('', 'lost', 'in_doubt'))
           AND NOT EXISTS (SELECT 1 FROM portal_attemptline f WHERE f.entry_id = t.entry_id AND f.outcome = 'absent'
                              AND f.attempt_id > l.attempt_id)
           AND NOT EXISTS (SELECT 1 FROM integrations_settlement w WHERE w.entry_id = t.entry_id AND w.verdict = 'absent'
                              AND w.confirmed_at > a.started_at)""",
        "Entry {0} is cancelled, attempt {1} may have left it at its target, and nobody looked for it since.",
        [MAY_STAND],
    )


OF_THE_PIPELINE: tuple[Invariant, ...] = (
    Invariant("I1", "One record per key in the statements as last read", _booked_once_as_last_read),
    Invariant("I11", "Every intent is an attempt, and attempts are kept", _every_intent_is_an_attempt),
    Invariant("I12", "Every change is followed, and no move is missing", _changes_are_followed),
    Invariant("I13", "A message has one effect", _no_message_acts_twice),
    Invariant("I14", "No cursor passes a record that was not taken in", _cursors_pass_nothing),
    Invariant("I18", "Nothing refused is tried again by itself", _a_refusal_is_not_tried_again_by_itself),
    Invariant("I19", "Nothing is sent while the breaker is open", _the_breaker_is_kept),
    Invariant("I20", "Nothing is sent inside a maintenance window", _windows_are_kept),
    Invariant("I21", "No more calls are under way than allowed", _slots_are_kept),
    Invariant("I23", "No secret is kept with an attempt", _no_secret_is_kept),
    Invariant("I25", "Nothing waits for nothing", _nothing_waits_for_nothing),
    Invariant("I28", "Nothing goes into the books of another entity", _books_are_of_their_entity),
    Invariant("I29", "What may stand at a target is looked for before it is cancelled", _what_may_stand_was_looked_for),
)
LIVE = Invariant("I1", "One record per key in the target's own books, asked now", _ask_every_target)
INVARIANTS: tuple[Invariant, ...] = (*OF_THE_LEDGER, *OF_CASES, *OF_THE_PIPELINE)


def verify(*, live: bool = True) -> list[tuple[Invariant, list[str]]]:
    """Check every invariant; with `live` the targets are asked too. The invariants in their order, each with its breaches."""
    asked = (*INVARIANTS, LIVE) if live else INVARIANTS
    return [(invariant, list(invariant.check())) for invariant in asked]
