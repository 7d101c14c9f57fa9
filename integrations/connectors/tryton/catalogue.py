"""Which model each stream reads, which rows of it, and what of a row may leave the firm: nothing private of a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WRITTEN = ("write_date", "create_date")


@dataclass(frozen=True, slots=True)
class Watched:
    """Rows with one of some values in a field, as Tryton is asked for them and as a row that was read is told by."""

    field: str
    values: tuple[Any, ...]

    @property
    def domain(self) -> list[Any]:
        """What Tryton is asked for."""
        return [self.field, "in", list(self.values)] if None not in self.values else [self.field, "=", None]

    def __call__(self, row: Mapping[str, Any]) -> bool:
        """Whether a row is one of them."""
        return row.get(self.field) in self.values


@dataclass(frozen=True, slots=True)
class Stream:
    """What a stream reads. `stamps` are where a change shows, `company` the field that says whose a row is."""

    name: str
    model: str
    names: tuple[str, ...]
    domain: tuple[Any, ...] = ()
    company: str = "company"
    stamps: tuple[str, ...] = WRITTEN
    watched: Watched | None = None  # rows that may come to look otherwise without a stamp

    @property
    def fields(self) -> tuple[str, ...]:
        """What is asked for of a row."""
        return (*self.names, *self.stamps)


_WORK = ("number", "name", "party", "type", "status.name", "status.progress", "project_invoice_method", "path")
_OF_SHEETS = ("timesheet_works.write_date", "timesheet_works.create_date", "timesheet_works.timesheet_end_date")
_INVOICE = (
    "number", "state", "party.rec_name", "company", "currency.code", "company.currency.code", "invoice_date",
    "accounting_date", "reference", "description", "untaxed_amount", "tax_amount", "total_amount", "amount_to_pay",
    "lines_to_pay.maturity_date", "origin_invoices.move", "reconciliation_lines.move",
    *(f"lines.{name}" for name in (
        "type", "description", "quantity", "unit.symbol", "unit_price", "amount", "origin", "taxes.name", "taxes.type",
        "taxes.rate",
    )),
)  # fmt: skip
_PAYMENT = (
    "debit", "credit", "amount_second_currency", "second_currency.code", "date", "party.rec_name", "move.number",
    "move.company", "move.company.currency.code", "move.journal.type", "move_description_used", "reconciliation",
    "reconciliation.lines.move.origin", "invoice_payments.move", "invoice_payments.currency.code",
)  # fmt: skip

STREAMS: Mapping[str, Stream] = {
    stream.name: stream
    for stream in (
        Stream(
            "customers", "party.party", ("code", "name", "active", "replaced_by", "tax_identifier.code"), company=""
        ),
        Stream(
            "companies",
            "company.company",
            ("party.rec_name", "party.code", "currency.code", "timezone"),
            company="id",
            stamps=(*WRITTEN, "party.write_date"),
        ),
        Stream(
            "periods",
            "account.period",
            ("name", "start_date", "end_date", "state", "company"),
            (["type", "=", "standard"],),
        ),
        Stream(
            "projects",
            "project.work",
            (*_WORK, "company", _OF_SHEETS[2]),
            (["type", "=", "project"],),
            stamps=(*WRITTEN, *_OF_SHEETS[:2]),
        ),
        Stream("tasks", "project.work", _WORK, (["type", "=", "task"],)),
        Stream(
            "employees",
            "company.employee",
            ("party.rec_name", "party.code", "party.email", "start_date", "end_date", "company"),
            stamps=(*WRITTEN, "party.write_date"),
        ),
        Stream(
            "invoices",
            "account.invoice",
            _INVOICE,
            (["type", "=", "out"],),
            watched=Watched("state", ("draft", "validated", "posted")),
        ),
        Stream(
            "payments",
            "account.move.line",
            _PAYMENT,
            (
                ["account.type.receivable", "=", True],
                ["credit", ">", {"__class__": "Decimal", "decimal": "0"}],
                ["move.state", "=", "posted"],
                ["move.journal.type", "in", ["cash", "write-off"]],
            ),
            company="move.company",
            watched=Watched("reconciliation", (None,)),
        ),
    )
}
