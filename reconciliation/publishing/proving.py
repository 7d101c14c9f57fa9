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
        if is_accepted(row):
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


def is_accepted(row: Published) -> bool:
    """Whether everything in which the system differs is what people accepted."""
    return bool(row.drift) and all(row.accepted.get(name) == theirs for name, (_, theirs) in row.drift.items())


def accept(published: Published, *, by: User, reason: str) -> None:
    """A person leaves the record in the system as it is. Audited; a later difference is drift again."""
    access.require(by, access.OPERATORS, published.entity_id)
    if not reason.strip():
        raise ValueError("Accepting what a system holds needs a reason.")
    with transaction.atomic():
        row = Published.objects.select_for_update().get(pk=published.pk)
        if not row.drift:
            raise ValueError(f"{row.title} does not differ any more.")
        row.accepted = {name: theirs for name, (_, theirs) in row.drift.items()}
        row.save(update_fields=["accepted"])
        entries = list(row.document.entries.values_list("pk", flat=True))
        cases.close_holds(entries, [DRIFT], cases.WITHDRAWN, by=by, reason=reason)
        audit.record(
            by, "drift-accepted", row.document, entity=row.entity_id, reason=reason,
            before={name: ours for name, (ours, _) in row.drift.items()}, after=row.accepted,
        )  # fmt: skip


def _said(name: str) -> str:
    return name.replace("_", " ")
