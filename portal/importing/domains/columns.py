"""Columns that many tables have: references by code, ranges of days, currencies, amounts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from django.db import models

from portal.importing import cells
from portal.importing.tables import Column, Row, to
from portal.models import InvoiceSchedule

if TYPE_CHECKING:
    from portal.importing.load import Load

ALWAYS = date(2000, 1, 1)  # where a range of days may begin without being told


def pointer(name: str, table: str, help: str, *, required: bool = False, key: tuple[str, ...] = ()) -> Column:  # noqa: A002
    """A code that names a row of another table; `key` are the columns of its whole key where the code is not enough."""
    return Column(
        name=name,
        sets=f"{name}_id",
        parse=cells.code,
        required=required,
        refers=to(table, *(key or (name,))),
        help=help,
    )


def code(help: str, name: str = "code") -> Column:  # noqa: A002
    """The code by which a row is known."""
    return Column(name=name, sets=name, parse=cells.code, required=True, help=help)


def name(help: str = "name", *, required: bool = True) -> Column:  # noqa: A002
    """What people call it."""
    return Column(name="name", sets="name", parse=cells.text, required=required, empty="", help=help)


def currency(help: str = "ISO 4217, as EUR") -> Column:  # noqa: A002
    """A currency in use."""
    return Column(name="currency", sets="currency", parse=cells.currency, required=True, help=help)


def amount(name: str, help: str, *, required: bool = False, empty: Decimal | None = None) -> Column:  # noqa: A002
    """Money that is not negative. Zero is an amount; an empty cell never becomes zero unless `empty` says so."""
    return Column(
        name=name,
        sets=name,
        parse=cells.decimal(places=4, digits=18, least=Decimal(0)),
        required=required,
        empty=empty,
        help=help,
    )


def flag(name: str, help: str, *, empty: bool) -> Column:  # noqa: A002
    """True or false."""
    return Column(name=name, sets=name, parse=cells.flag, empty=empty, help=help)


def first_day(name: str = "valid_from", *, required: bool = True, empty: date | None = None) -> Column:
    """The first day of a range."""
    return Column(
        name=name,
        sets=name,
        parse=cells.day,
        required=required,
        empty=empty,
        help="first day" if required else "first day; always where empty",
    )


def last_day(name: str = "valid_to") -> Column:
    """The last day of a range."""
    return Column(name=name, sets=name, parse=cells.day, help="last day; no end where empty")


def invoicing(instead: str) -> tuple[Column, Column, Column]:
    """When invoices go out, and how long they may take to be paid; `instead` says what holds where nothing is said."""
    return (
        Column(
            name="invoice_schedule",
            sets="invoice_schedule",
            parse=cells.choice(InvoiceSchedule.values),
            empty="",
            help=f"monthly, weekly, milestone or none; {instead} where empty",
        ),
        Column(
            name="invoice_day",
            sets="invoice_day",
            parse=cells.whole(least=1, most=31),
            help="day of the month (31 is its last), or of the week (1 is Monday)",
        ),
        Column(
            name="payment_terms_days",
            sets="payment_terms_days",
            parse=cells.whole(least=0, most=365),
            help=f"days from the invoice until it is due; {instead} where empty",
        ),
    )


def fits_its_schedule(load: Load, rows: Sequence[Row], model: type[models.Model]) -> None:
    """A monthly or weekly schedule needs its day, and no other has one."""
    most = {InvoiceSchedule.MONTHLY: 31, InvoiceSchedule.WEEKLY: 7}
    for row in rows:
        schedule, on = (row.will_be(name, model) for name in ("invoice_schedule", "invoice_day"))
        if schedule in most and not 1 <= (on or 0) <= most[schedule]:
            load.problem(row, "invoice_day", on, f"does not fit a {schedule} schedule; expected 1 to {most[schedule]}.")
        elif schedule not in most and on is not None:
            load.problem(row, "invoice_day", on, "has no meaning without a monthly or weekly invoice_schedule.")
