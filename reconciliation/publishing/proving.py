"""Whether a system still holds what it was told: what differs is drift, and people choose what becomes of it.

The rule here: drift is a case until it is sent again, adopted here by an approved change, or accepted with a reason; what was
accepted is drift again when the system holds something else than was accepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.db import transaction

from portal import access, audit
from portal import sql as portal_sql
from portal.models import Connection, Published, User
from reconciliation import cases
from reconciliation.publishing.standing import records_of
from reconciliation.publishing.stopping import DRIFT

Differences = Mapping[str, Sequence[str]]


def compared(connection: Connection, equal: Sequence[int], different: Sequence[tuple[int, Differences]]) -> None:
    """Take in what the system held of records when they were read back. Joins the transaction."""
    if not equal and not different:
        return
    moment = portal_sql.now()
    rows = records_of([*equal, *(entry_id for entry_id, _ in different)])
    for entry_id in equal:
        row = rows[entry_id]
        row.read_at, row.drift, row.drifted_at, row.accepted = moment, {}, None, {}
    cases.close_holds(list(equal), [DRIFT], reason="the system holds what it was told")
    opened, settled = [], []
    for entry_id, differing in different:
        row = rows[entry_id]
        row.read_at, row.drift = moment, {name: list(pair) for name, pair in differing.items()}
        row.drifted_at = row.drifted_at or moment
        drifts = drifting(row)
        row.accepted = {
            name: theirs for name, theirs in row.accepted.items() if name in row.drift and name not in drifts
        }
        if not drifts:
            settled.append(entry_id)
            continue
        told = "; ".join(f"{_said(name)} “{theirs}” there, “{ours}” here" for name, (ours, theirs) in differing.items())
        opened.append(
            cases.NewHold(
                entry_id=entry_id, rule=DRIFT, entity_id=row.entity_id, subject_type="publication",
                subject_key=f"{connection.pk}:{row.record}",
                sentence=(
                    f"{connection} holds {row.title} with other figures: {told}. Send it again, adopt it here by a change set, or"
                    " accept it as it is."
                ),
                detail={"published": row.pk, "differences": row.drift, "target_id": connection.pk},
                connection_id=connection.pk,
            )
        )  # fmt: skip
    cases.close_holds(settled, [DRIFT], reason="people accepted it as it is")
    cases.open_holds(opened)
    Published.objects.bulk_update(set(rows.values()), ["read_at", "drift", "drifted_at", "accepted"])


def gone(entry_ids: Sequence[int]) -> None:
    """The system does not hold these records any more; the outbox tells of the case."""
    moment = portal_sql.now()
    for row in set(records_of(entry_ids).values()):
        row.read_at, row.drift, row.drifted_at = moment, {"record": ["there", "gone"]}, row.drifted_at or moment
        row.save(update_fields=["read_at", "drift", "drifted_at"])


def drifting(row: Published) -> list[str]:
    """The figures in which the system differs and which nobody accepted as they are there."""
    return [name for name, (_, theirs) in row.drift.items() if row.accepted.get(name) != theirs]


def accept(published: Published, names: Sequence[str], *, by: User, reason: str) -> list[str]:
    """A person leaves figures of a record in the system as they are; what differs still. Audited.

    A later difference is drift again.
    """
    access.require(by, access.OPERATORS, published.entity_id)
    if not reason.strip():
        raise ValueError("Accepting what a system holds needs a reason.")
    with transaction.atomic():
        row = Published.objects.select_for_update().get(pk=published.pk)
        chosen = [name for name in names if name in drifting(row)]
        if not chosen:
            raise ValueError(f"{row.title} does not differ in that any more.")
        if any(row.drift[name] != published.drift.get(name) for name in chosen):
            raise ValueError(
                f"{row.title} was read again since you looked at it, and differs otherwise; look at it again."
            )
        accepted = {name: row.drift[name][1] for name in chosen}
        row.accepted = {**row.accepted, **accepted}
        row.save(update_fields=["accepted"])
        if not drifting(row):
            entries = list(row.document.entries.values_list("pk", flat=True))
            cases.close_holds(entries, [DRIFT], cases.WITHDRAWN, by=by, reason=reason)
        audit.record(
            by, "drift-accepted", row.document, entity=row.entity_id, reason=reason,
            before={name: row.drift[name][0] for name in chosen}, after=accepted,
        )  # fmt: skip
    return drifting(row)


def _said(name: str) -> str:
    return name.replace("_", " ")
