"""`admit`: from the inbox to the ledger with every rule, against COPY of as many rows into the indexed ledger table."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.db import connection, transaction

from integrations import inbox
from integrations.bench import firm as firms
from integrations.bench import ledger as entries
from integrations.bench import work
from integrations.bench.firm import Firm
from integrations.bench.measure import Result, Scale, paired
from integrations.protocol import SourceRecord
from integrations.sql import inbound
from portal import sql

ENTRIES = 100_000
PROJECTS, PEOPLE, RATES = 5000, 2000, 20_000
FAULTY = 0.02
PAGE = 5000


def build(scale: Scale) -> Firm:
    """The firm of the goals, at a scale."""
    return firms.build(scale.of(PROJECTS, 40), scale.of(PEOPLE, 40), scale.of(RATES, 40))


def file(firm: Firm, count: int, *, faulty: float = FAULTY, offset: int = 0) -> None:
    """Put a month's records of every source into the inbox."""
    waiting: list[list[SourceRecord]] = [[] for _ in firm.sources]

    def put(index: int) -> None:
        with transaction.atomic():
            inbound.file_records(firm.sources[index].pk, waiting[index])
        waiting[index] = []

    for index, payload in work.worked(len(firm.people), len(firm.projects), count, faulty=faulty, offset=offset):
        record = SourceRecord(
            stream="time_entries", external_id=str(payload["id"]), revision=payload["updated_at"], payload=payload
        )
        waiting[index].append(record)
        if len(waiting[index]) >= PAGE:
            put(index)
    for index in range(len(firm.sources)):
        put(index)


def take_in(firm: Firm) -> None:
    """Everything that the inbox holds, source by source."""
    for source in firm.sources:
        inbox.take_in_everything(source.pk)


def forget() -> None:
    """Empty the inbox, the documents and the ledger, so that every round begins alike."""
    entries.empty(
        "integrations_inboxmessage, integrations_run, portal_document, portal_ledgertransition, portal_receipt,"
        " reconciliation_exceptioncase RESTART IDENTITY"
    )


def check(count: int, faulty: float = FAULTY) -> None:
    """Every entry is on the ledger, and the faulty ones are held under one case each cause. Raises RuntimeError."""
    held = count // round(1 / faulty) if faulty else 0
    found = dict(sql.rows("SELECT state, count(*) FROM portal_ledgerstate GROUP BY state"))
    wanted = {state: number for state, number in (("ready", count - held), ("held", held)) if number}
    if found != wanted:
        raise RuntimeError(f"The ledger holds {found}, and {wanted} was expected.")


class CopyFloor:
    """COPY of a round's ledger entries into the ledger table with all its indexes and references, taken back afterwards."""

    def __init__(self) -> None:
        columns = sql.rows(
            "SELECT string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position) FROM information_schema.columns"
            " WHERE table_schema = current_schema() AND table_name = 'portal_ledgerentry'"
        )[0][0]
        self._copy = f"COPY portal_ledgerentry ({columns}) FROM STDIN"
        self._count = int(sql.rows("SELECT count(*) FROM portal_ledgerentry")[0][0])
        with connection.cursor() as cursor, cursor.copy(f"COPY portal_ledgerentry ({columns}) TO STDOUT") as copy:
            self._rows = b"".join(bytes(part) for part in copy)

    def __call__(self, _: int) -> float:
        """Rows a second, the references checked as at a commit. The documents must stand."""
        entries.empty("portal_ledgerentry, portal_ledgertransition, portal_receipt")
        with transaction.atomic():
            begun = time.perf_counter()
            with connection.cursor() as cursor, cursor.copy(self._copy) as copy:
                copy.write(self._rows)
            sql.execute("SET CONSTRAINTS ALL IMMEDIATE")
            seconds = time.perf_counter() - begun
            transaction.set_rollback(True)
        return self._count / seconds


def measure(scale: Scale, say: Callable[[str], None]) -> list[Result]:
    """Each round takes in the same messages, fresh, into an empty ledger."""
    firm = build(scale)
    count = scale.of(ENTRIES, 200)
    say(f"  {count} entries, {len(firm.projects)} projects, {len(firm.people)} people, {FAULTY:.0%} faulty")

    def value(_: int) -> float:
        forget()
        file(firm, count)
        begun = time.perf_counter()
        take_in(firm)
        seconds = time.perf_counter() - begun
        check(count)
        return count / seconds

    value(0)  # what the floor copies
    floor = CopyFloor()
    floor(0)
    values, floors = paired(scale.rounds, value, floor, is_warm=True)
    return [Result("admit", "entries/s", values, floors, 0.35, note="all rules; references checked on both sides")]
