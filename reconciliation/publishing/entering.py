"""The one way of a publication onto the ledger: its current version, under the keys that hold now.

The rule here: what it names goes before it. It waits for what the system is being told, and is held for what nobody tells it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date

from portal import ledger
from portal.models import Connection, Published, State
from portal.models.documents import MASTER
from reconciliation.publishing.resolving import book_of
from reconciliation.publishing.stopping import PARENT, SETTLED, cancel_open, hold_for_want_of
from reconciliation.sql import publishing as sql

ACTOR = "publishing"


def enter(
    connection: Connection,
    due: Sequence[tuple[Published, Mapping[str, object], Mapping[str, str]]],
    today: date,
    reason: str,
    *,
    actor: str = ACTOR,
) -> list[int]:
    """Put the current versions of records onto the ledger, in the given order; earlier ones that have not gone are cancelled."""
    if not due:
        return []
    earlier: dict[int, list[sql.Row]] = defaultdict(list)
    for row in sql.standing_of([published.pk for published, _, _ in due]):
        earlier[row[0]].append(row)
    _, asked = cancel_open(
        [row for rows in earlier.values() for row in rows], actor=actor, reason="a later version took its place"
    )
    records = {published.record for published, _, _ in due}
    book = book_of(connection, records | {name for _, _, names in due for name in names.values()})
    entries: list[tuple[ledger.Figures, State, str]] = []
    missing: list[list[str]] = []
    for published, _, names in due:
        version = published.document.current_version
        lacking = book.missing(names)
        nowhere = [record for record in lacking if record not in book.coming and record not in records]
        on_its_way = any(row[4] in ledger.ON_ITS_WAY or row[1] in asked for row in earlier[published.pk])
        waits_on = f"{SETTLED}{published.pk}" if on_its_way else f"{PARENT}{lacking[0]}" if lacking else ""
        generations = [row[3] for row in earlier[published.pk] if row[2] == version]
        entries.append(
            (
                ledger.Figures(
                    document_id=published.pk, version=version, generation=max(generations) + 1 if generations else 0,
                    kind=MASTER, entity_id=published.entity_id, source_id=connection.pk, target_id=connection.pk,
                    work_date=today, post_on=today, is_billable=False, memo=published.title,
                    target_keys=book.address(published.record, names),
                ),
                State.HELD if nowhere else State.READY,
                "" if nowhere else waits_on,
            )
        )  # fmt: skip
        missing.append(nowhere)
    ids = ledger.enter(entries, actor=actor, reason=reason)
    hold_for_want_of(
        connection,
        [(entry_id, due[at][0], missing[at][0]) for at, entry_id in enumerate(ids) if missing[at]],
        fresh=True,
    )
    return ids
