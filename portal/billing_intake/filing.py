"""Filing versions of bills or payments: what is new goes in, what is older or the same is told so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from portal import sql
from portal.billing_intake.families import LINE, SHARED, Family, Taken, lines
from portal.billing_intake.ties import Known
from portal.canonical import fingerprint
from portal.models import Connection
from portal.records import BillingRecord

_HEAD = ("id", "version", "revision", "message_id", "recorded_at")
_GONE = "deleted"


@dataclass(frozen=True, slots=True)
class _Standing:
    """A document that is known, with what its current version says."""

    id: int
    version: int
    revision: str
    digest: str
    values: list[Any]


@dataclass(frozen=True, slots=True)
class _New:
    """A version about to be filed."""

    message_id: int
    record: BillingRecord
    entity_id: int
    known: _Standing | None
    values: list[Any]
    digest: str


def file(
    family: Family, connection: Connection, records: Sequence[tuple[int, Any]], known: Known, taken: Taken
) -> dict[int, BillingRecord]:
    """File the newest record of each document; the ids of documents with a new version, and what it says."""
    latest = _latest(records, taken)
    standing = _standing(family, connection, list(latest))
    fresh: list[_New] = []
    echoed: list[tuple[int, str]] = []
    for identity, (message_id, record) in latest.items():
        before = standing.get(identity)
        entity_id = known.entity(record)
        if before is None and record.status == _GONE:
            taken.ignored.append(message_id)
        elif before is None and entity_id is None:
            taken.waiting[message_id] = (
                f"{identity[0].replace('_', ' ')} {record.external_id} names entity {record.entity.key!r}, which is not "
                "known here yet."
            )
        elif before is not None and record.revision < before.revision:
            taken.superseded.append(message_id)
        else:
            values = _values(family, record, known, before)
            told = [value for value in values if value != []]  # a list that says nothing makes no other content
            content = fingerprint([*told, *(v for line in lines(record) for v in line), *_applied(record)])
            if before is not None and content == before.digest:
                taken.unchanged.append(message_id)
                echoed.append((before.id, record.revision))
            else:
                fresh.append(_New(message_id, record, entity_id or 0, before, values, content))
    filed = _store(family, connection, fresh)
    taken.done += [each.message_id for each in fresh]
    sql.execute(
        f"UPDATE {family.table} d SET seen_revision = w.revision FROM unnest(%s::bigint[], %s::text[]) AS w(id, revision)"  # noqa: S608
        " WHERE d.id = w.id",
        [[row[0] for row in echoed], [row[1] for row in echoed]],
    )
    return filed


def _latest(records: Sequence[tuple[int, Any]], taken: Taken) -> dict[tuple[str, str], tuple[int, Any]]:
    latest: dict[tuple[str, str], tuple[int, Any]] = {}
    for message_id, record in records:
        identity = (str(record.kind), record.external_id)
        before = latest.get(identity)
        if before is not None and record.revision < before[1].revision:
            taken.superseded.append(message_id)
            continue
        if before is not None:
            taken.superseded.append(before[0])
        latest[identity] = (message_id, record)
    return latest


def _standing(
    family: Family, connection: Connection, identities: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], _Standing]:
    said = ", ".join(f"v.{column}" for column in family.columns)
    found = sql.rows_bound(
        f"""
        SELECT d.kind, d.external_id, d.id, v.version, d.seen_revision, d.content_digest, {said}
          FROM {family.table} d
          JOIN unnest(%b::text[], %b::text[]) AS w(kind, external_id) ON d.kind = w.kind AND d.external_id = w.external_id
          JOIN {family.versions} v ON v.id = d.current_id
         WHERE d.connection_id = %s ORDER BY d.id FOR UPDATE OF d""",  # noqa: S608
        [[kind for kind, _ in identities], [external_id for _, external_id in identities], connection.pk],
    )
    return {(row[0], row[1]): _Standing(row[2], row[3], row[4], row[5], list(row[6:])) for row in found}


def _values(family: Family, record: Any, known: Known, before: _Standing | None) -> list[Any]:
    """What a version says; of a deleted document, what was last known of it."""
    if record.status == _GONE and before is not None:
        return [_GONE, *before.values[1:]]
    shared = [
        record.number, known.customer(record), record.customer.key, record.customer.name or record.customer.code,
        record.currency, record.booked_on, record.exchange_rate, record.memo, record.link,
    ]  # fmt: skip
    if len(shared) != len(SHARED):
        raise AssertionError("The values and the columns of a version differ.")
    return [str(record.status), *shared, *family.values(record)]


def _applied(record: BillingRecord) -> list[Any]:
    return [part for each in record.applications for part in (each.bill, each.amount, str(each.by))]


def _store(family: Family, connection: Connection, fresh: Sequence[_New]) -> dict[int, BillingRecord]:
    if not fresh:
        return {}
    moment = sql.now()
    born = [each for each in fresh if each.known is None]
    version_ids = sql.draw_ids(family.versions, len(fresh))
    numbers = iter(sql.draw_ids(family.table, len(born)))
    ids = [each.known.id if each.known else next(numbers) for each in fresh]
    ends = ("agreed_id",) if "invoice" in family.owner else ()
    sql.copy_in(
        family.table,
        ("id", "connection_id", "entity_id", "kind", "external_id", "seen_revision", "content_digest", "created_at",
         "current_id", *ends),
        (
            [i, connection.pk, each.entity_id, str(each.record.kind), each.record.external_id, each.record.revision,  # type: ignore[attr-defined]
             each.digest, moment, version_id, *(version_id for _ in ends)]
            for i, version_id, each in zip(ids, version_ids, fresh, strict=True)
            if each.known is None
        ),
    )  # fmt: skip
    sql.copy_in(
        family.versions,
        (*_HEAD, family.owner, *family.columns),
        (
            [version_id, each.known.version + 1 if each.known else 1, each.record.revision, each.message_id, moment, i,
             *each.values]
            for i, version_id, each in zip(ids, version_ids, fresh, strict=True)
        ),
    )  # fmt: skip
    stated = [
        [version_id, position, *line]
        for version_id, each in zip(version_ids, fresh, strict=True)
        for position, line in enumerate(lines(each.record), start=1)
    ]
    if stated:
        sql.copy_in("portal_invoiceline", ("version_id", "position", *LINE), stated)
    changed = [(i, v, each) for i, v, each in zip(ids, version_ids, fresh, strict=True) if each.known is not None]
    sql.execute(
        f"UPDATE {family.table} d SET current_id = w.version, seen_revision = w.revision, content_digest = w.digest"  # noqa: S608
        " FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[]) AS w(id, version, revision, digest) WHERE d.id = w.id",
        [[i for i, _, _ in changed], [v for _, v, _ in changed], [e.record.revision for *_, e in changed],
         [e.digest for *_, e in changed]],
    )  # fmt: skip
    return {i: each.record for i, each in zip(ids, fresh, strict=True)}
