"""What a system calls the records that a publication names, and what is still missing there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from portal import sql as portal_sql
from portal.ledger import LIVE
from portal.models import Connection, LedgerState, Published
from portal.models.documents import MASTER
from reconciliation.sql import publishing as sql

KEYED = ("customer", "project", "task", "resource")  # kinds of which crosswalks keep the keys
NUMBER = "number"  # among an entry's keys: the record's own


@dataclass(slots=True)
class Book:
    """One system's keys of our records, by record as `project:17`; `coming` are those that it is being told."""

    keys: dict[str, str] = field(default_factory=dict)
    coming: set[str] = field(default_factory=set)

    def of(self, record: str) -> str:
        """The system's key of a record; empty while it has none."""
        return self.keys.get(record, "")

    def address(self, record: str, names: Mapping[str, str]) -> dict[str, str]:
        """The keys under which a record is told: its own, where it has one, and those of what it names."""
        keys = {kind: self.of(named) for kind, named in names.items()}
        return {NUMBER: self.of(record), **keys} if self.of(record) else keys

    def missing(self, names: Mapping[str, str]) -> list[str]:
        """The named records that the system has no key for."""
        return [named for named in names.values() if not self.of(named)]


def book_of(connection: Connection, records: Iterable[str]) -> Book:
    """The keys of some records there: those of the crosswalk, then those that the system gave when it took the record."""
    wanted = set(records)
    book = Book()
    pairs = [(kind, int(rest)) for kind, _, rest in (r.partition(":") for r in wanted) if kind in KEYED]
    today = portal_sql.now().date()
    book.keys = sql.keys_there(connection.connector, connection.realm, today, pairs) if pairs else {}
    ids = {int(record.split(":")[1]) for record in wanted}
    told = Published.objects.filter(connection=connection, internal_id__in=ids)
    owed = set(
        LedgerState.objects.filter(
            target=connection, entry__kind=MASTER, state__in=LIVE, entry__document__in=told.values("pk")
        ).values_list("entry__document_id", flat=True)
    )
    for row in told:
        if row.record not in wanted:
            continue
        if row.number:
            book.keys.setdefault(row.record, row.number)
        elif row.pk in owed:
            book.coming.add(row.record)
    return book
