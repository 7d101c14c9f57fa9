"""A whole configuration applied in one transaction: checked, written, counted; a dry run is rolled back at its end."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db import transaction

from integrations.configuration import connections, group, people, policies, routes, teams, windows
from integrations.configuration.document import Document
from portal import audit
from portal.importing.constraints import in_words
from portal.importing.domains import PERIODS
from portal.importing.load import Load, only_one_at_a_time
from portal.importing.problems import Problem, Refused
from portal.importing.tables import Counts, Result
from portal.models import User
from reconciliation.changes import tables


def configure(document: Document, *, reason: str, actor: User | None = None, dry_run: bool = False) -> Result:
    """Apply the document. Raises Refused with every mistake found in it, and then nothing was written."""
    with transaction.atomic(), in_words():
        only_one_at_a_time()
        load, users = _read(document)
        maintenance = windows.read(document)
        grouped = teams.read(document, load)
        _check(document, load)
        result = load.write(reason, actor)
        _account_for(load, reason, actor)
        if maintenance:
            result.counts["maintenance"] = windows.apply(maintenance)
        if users:
            people.apply(users, load, result, reason=reason, actor=actor)
        try:
            teams.apply(grouped, result, reason=reason, actor=actor)
        except ValueError as problem:
            raise Refused([Problem("ownership", "", str(problem))]) from problem
        result.counts = {name: counts for name, counts in result.counts.items() if counts != Counts()}
        transaction.get_connection().check_constraints()
        if dry_run:
            transaction.set_rollback(True)
            result.notices = []
    return result


def _read(document: Document) -> tuple[Load, list[people.Person]]:
    known = policies.named(document)
    policy = partial(policies.of, known=known)
    entities = tables.entities(policy)
    load = Load((entities, PERIODS, connections.TABLE, connections.STREAMS, tables.routes(policy)))
    load.add("entities", document.rows("entities", {column.name for column in entities.columns}))
    group.add_periods(document, load)
    connections.add(document, load)
    routes.add(document, load)
    return load, people.read(document, load)


def _check(document: Document, load: Load) -> None:
    """Raise every mistake at once: those of the document's shape, then those of what it says."""
    try:
        load.check()
    except Refused as refusal:
        document.problems.extend(refusal.problems)
    if document.problems:
        raise Refused(document.problems)


def _account_for(load: Load, reason: str, actor: User | None) -> None:
    """One event in the audit trail for each entity, connection and route that was made or changed."""
    for name in ("entities", "connections", "routes"):
        table = load.tables[name]
        touched = [row for row in load.rows.get(name, []) if row.standing is None or row.changed]
        found = table.model._base_manager.in_bulk([row.pk for row in touched])
        for row in touched:
            entity_id = row.pk if name == "entities" else row.will_be("entity_id", table.model)
            after: dict[str, Any] = {key: value for key, (_, value) in row.changed.items()} or row.sets
            before = {key: value for key, (value, _) in row.changed.items()} or None
            audit.record(
                actor,
                f"{table.model._meta.model_name}.configured",
                found[row.pk],
                entity=entity_id,
                reason=reason,
                before=before,
                after=after,
            )
