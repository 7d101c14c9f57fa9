"""How publications are stopped: taken off the ledger, or held for want of a record that the system does not know.

The rule here: whoever waits says for what, so that its coming lets go exactly those that waited for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from portal import ledger
from portal.models import Connection, Customer, Project, Published, Resource, State, Task
from reconciliation import cases
from reconciliation.sql import publishing as sql

PARENT, SETTLED = "parent:", "settled:"  # what a publication waits on: a record there, or its own earlier version
OPEN = (State.HELD, State.READY, State.REJECTED)
MISSING, TWIN, REFUSED, DRIFT = "crosswalk-missing", "twin-in-target", "publication-refused", "drifted-in-target"
_WORDS = {
    "customer": "customer", "project": "project", "task": "task", "assignment": "assignment", "resource": "person",
    "contract": "contract", "rate": "rate", "invoice": "bill", "payment": "payment",
}  # fmt: skip


def cancel_open(rows: Iterable[sql.Row], *, actor: str, reason: str) -> tuple[list[int], list[int]]:
    """Take entries that have not gone, or were refused, off the ledger: (document, entry, version, generation, state, fence).

    The entries that went, and those of which an earlier sending may have left something there: they are asked about first.
    """
    by_state: dict[State, list[ledger.Ref]] = defaultdict(list)
    for _, entry_id, _, _, state, fence in rows:
        if state in OPEN:
            by_state[State(state)].append((entry_id, fence))
    moved: list[int] = []
    asked: list[int] = []
    for state, refs in by_state.items():
        gone = set(ledger.cancel(refs, state, actor=actor, reason=reason))
        moved += sorted(gone)
        asked += ledger.ask(
            [ref for ref in refs if ref[0] not in gone], from_state=state, actor=actor,
            reason=f"an earlier sending may have left it there, so the system is asked: {reason}",
        )  # fmt: skip
    cases.close_holds([*moved, *asked], outcome=cases.WITHDRAWN, reason=reason)
    return moved, asked


def hold_for_want_of(
    connection: Connection, stopped: Sequence[tuple[int, Published, str]], *, fresh: bool = False
) -> None:
    """Open the cases of records that name one which the system does not know and is not told: (entry, record, missing)."""
    names = _named([record for _, _, record in stopped])
    several = sql.several_keys(connection.connector, connection.realm, [record for _, _, record in stopped])
    cases.open_holds(
        [
            cases.NewHold(
                entry_id=entry_id, rule=MISSING, entity_id=published.entity_id, subject_type="record",
                subject_key=f"{connection.pk}:{record}",
                sentence=(
                    f"{published.title} cannot be told to {connection}: {names[record]} is several records there"
                    f" ({', '.join(several[record])}), so it is told to none of them; make one of them its own key."
                    if record in several
                    else f"{published.title} cannot be told to {connection}: it has no key for {names[record]}; create it there"
                    " and add its key to the crosswalk, or let it be provisioned."
                ),
                cause=(
                    f"{connection} has several records of {names[record]}."
                    if record in several
                    else f"{connection} does not know {names[record]}."
                ),
                detail={
                    "kind": record.partition(":")[0], "internal_id": int(record.split(":")[1]), "target_id": connection.pk,
                    "system": connection.connector, "realm": connection.realm, "also_missing": [],
                },
                connection_id=connection.pk,
            )
            for entry_id, published, record in stopped
        ],
        fresh=fresh,
    )  # fmt: skip


def _named(records: Sequence[str]) -> dict[str, str]:
    """Records in words: the kind, the code and the name."""
    models: dict[str, Any] = {"customer": Customer, "project": Project, "task": Task, "resource": Resource}
    told: dict[str, str] = {}
    for kind, model in models.items():
        ids = [int(record.split(":")[1]) for record in records if record.startswith(f"{kind}:")]
        for pk, code, name in model.objects.filter(pk__in=ids).values_list("pk", "code", "name"):
            told[f"{kind}:{pk}"] = f"{_WORDS[kind]} {code} {name}"
    return {record: told.get(record, f"{_WORDS[record.partition(':')[0]]} of this record") for record in records}
