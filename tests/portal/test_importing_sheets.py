"""Files as people save them: a header wherever it stands, cells as texts, and nothing taken on trust."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from datetime import date
from typing import Any

import pytest
import xlsxwriter

from portal.importing.cells import day, with_point
from portal.importing.domains import TABLES
from portal.importing.headings import known_headings, match
from portal.importing.problems import Unreadable
from portal.importing.sheets import MOST_ROWS, read

CUSTOMERS = next(table for table in TABLES if table.name == "customers")
KNOWN = known_headings(CUSTOMERS)


def book(*rows: Sequence[Any]) -> bytes:
    held = io.BytesIO()
    written = xlsxwriter.Workbook(held, {"default_date_format": "yyyy-mm-dd"})
    sheet = written.add_worksheet()
    for number, row in enumerate(rows):
        sheet.write_row(number, 0, row)
    written.close()
    return held.getvalue()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_is_read_with_any_usual_delimiter(delimiter: str) -> None:
    text = '\ufeffcode,name\nC-1,"Acme, Inc."\n'.replace(",", delimiter, 1).replace("C-1,", f"C-1{delimiter}")
    assert read("c.csv", text.encode(), KNOWN).rows == ((2, ("C-1", "Acme, Inc.")),)


def test_what_stands_above_the_header_is_passed_over_and_lines_count_from_the_file() -> None:
    text = "Tieout · Customers\nRows,1\n\ncode,name,currency\nC-1,Acme,USD\n\nC-2,Beta,EUR\n"
    sheet = read("c.csv", text.encode(), KNOWN)
    assert sheet.header == ("code", "name", "currency")
    assert [line for line, _ in sheet.rows] == [5, 7]


def test_a_workbooks_cells_become_the_texts_that_a_csv_would_hold() -> None:
    content = book(("code", "name", "active_to"), (4711, "Acme", date(2026, 12, 31)), ("C-2", 1.5, True))
    assert [cells for _, cells in read("c.xlsx", content, KNOWN).rows] == [
        ("4711", "Acme", "2026-12-31"),
        ("C-2", "1.5", "true"),
    ]


def test_the_apostrophe_that_keeps_a_text_from_running_is_taken_off() -> None:
    rows = read("c.csv", b"code,name\nC-1,'=SUM(A1)\nC-2,'s-Gravenhage\n", KNOWN).rows
    assert [cells[1] for _, cells in rows] == ["=SUM(A1)", "'s-Gravenhage"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"code,name\nC-1,\"Acme\n", "unclosed quotation mark"),
        (b"code,name\nC-1,Gr\xfcn\n", "Line 2 is not UTF-8"),
        (b"code,code\n1,2\n", "stands twice"),
        (b"code,name\n1,2,3\n", "more cells than the header"),
        (b"code,name\n" + b"1,2\n" * (MOST_ROWS + 1), "at most 20,000 are taken"),
        (b"PK\x03\x04 no workbook", "damaged, protected or not whole"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_why(content: bytes, sentence: str) -> None:
    with pytest.raises(Unreadable, match=sentence):
        read("c", content, KNOWN)


def test_a_small_workbook_that_claims_a_huge_sheet_is_refused_before_it_is_read() -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book(("code",), ("1",)))) as whole, zipfile.ZipFile(held, "w") as false:
        for member in whole.infolist():
            data = whole.read(member)
            if member.filename == "xl/worksheets/sheet1.xml":
                data = data.replace(b'r="A2"', b'r="XFD1048576"')
            false.writestr(member, data)
    with pytest.raises(Unreadable, match="reaches to XFD1048576"):
        read("c.xlsx", held.getvalue(), KNOWN)


def sheets(**named: Sequence[Sequence[Any]]) -> bytes:
    held = io.BytesIO()
    written = xlsxwriter.Workbook(held, {"default_date_format": "yyyy-mm-dd"})
    for name, rows in named.items():
        sheet = written.add_worksheet(name.replace("_", " "))
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row)
    written.close()
    return held.getvalue()


def changed(content: bytes, old: bytes, new: bytes) -> bytes:
    """The workbook with other words in the parts that hold its sheets."""
    held = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as whole, zipfile.ZipFile(held, "w") as other:
        for member in whole.infolist():
            data = whole.read(member)
            other.writestr(member, data.replace(old, new) if "worksheets" in member.filename else data)
    return held.getvalue()


def test_of_a_workbook_the_sheet_is_read_whose_columns_are_known_wherever_it_stands() -> None:
    content = sheets(
        Cover=[("Prepared by", "Fay")], Last_year=[("Code", "Colour")], Customers=[("Code", "Name"), ("C-1", "Acme")]
    )
    sheet = read("c.xlsx", content, KNOWN)
    assert (sheet.name, sheet.others, sheet.rows) == ("Customers", ("Cover", "Last year"), ((2, ("C-1", "Acme")),))


def test_a_formula_is_read_by_its_result_and_never_taken_for_an_empty_cell() -> None:
    content = book(("code", "name"), ("C-1", '=UPPER("acme")'))
    assert b"</f><v>0</v>" in zipfile.ZipFile(io.BytesIO(content)).read("xl/worksheets/sheet1.xml")
    said = changed(content, b"</f><v>0</v>", b"</f><v>7</v>")
    assert read("c.xlsx", said, KNOWN).rows == ((2, ("C-1", "7")),)
    without = changed(content, b"</f><v>0</v>", b"</f>")
    error = changed(changed(content, b"</f><v>0</v>", b"</f><v>#N/A</v>"), b'r="B2"', b'r="B2" t="e"')
    for hollow in (without, error):
        with pytest.raises(Unreadable, match=r"B2 of the sheet “Sheet1” holds a formula without a result"):
            read("c.xlsx", hollow, KNOWN)


def test_what_is_broken_in_a_sheet_that_is_not_read_stands_in_nobodys_way() -> None:
    content = changed(
        sheets(Sums=[("a", "b"), ("=1/0", "")], Data=[("code", "name"), ("C-1", "Acme")]), b"</f><v>0</v>", b"</f>"
    )
    assert read("c.xlsx", content, KNOWN).rows == ((2, ("C-1", "Acme")),)


def test_a_header_cell_over_several_columns_leaves_the_others_without_a_heading_and_they_are_told() -> None:
    content = book(("Customers", "", ""), ("code", "name", ""), ("C-1", "Acme", "Paris"), ("", "", ""))
    sheet = read("c.xlsx", content, KNOWN)
    assert (sheet.header, sheet.nameless) == (("code", "name", ""), [2])
    assert sheet.rows == ((3, ("C-1", "Acme", "Paris")),)


def test_rows_that_are_formatted_and_empty_are_no_rows() -> None:
    held = io.BytesIO()
    written = xlsxwriter.Workbook(held)
    sheet = written.add_worksheet()
    sheet.write_row(0, 0, ("code", "name"))
    sheet.write_row(1, 0, ("C-1", "Acme"))
    bold = written.add_format({"bold": True})
    for row in (2, 500_000, 1_048_575):
        sheet.write_blank(row, 1, None, bold)
    written.close()
    assert read("c.xlsx", held.getvalue(), KNOWN).rows == ((2, ("C-1", "Acme")),)


@pytest.mark.parametrize(
    ("text", "read_as"),
    [("120,50", "120.50"), ("1.250,00", "1250.00"), ("1,250.00", "1250.00"), ("-3,5", "-3.5"), ("12,3456", "12.3456"),
     ("1,250", "1,250"), ("1.250", "1.250"), ("1,2,3", "1,2,3"), ("", "")],
)  # fmt: skip
def test_an_amount_with_a_comma_is_read_where_it_means_one_amount_only(text: str, read_as: str) -> None:
    assert with_point(text) == read_as


def test_a_day_that_a_spreadsheet_left_as_a_number_is_told_as_the_day_that_it_means() -> None:
    with pytest.raises(Unreadable, match="a spreadsheet means 2026-10-01 by it"):
        day(read("c.xlsx", book(("code", "active_to"), ("C-1", 46296)), KNOWN).rows[0][1][1])


def test_headings_are_matched_by_name_by_memory_and_by_likeness_and_each_column_once() -> None:
    header = ("Code", "Customer name", "Curency", "VAT", "tax number", "Colour")
    assert match(CUSTOMERS, header, {"customer_name": "name"}) == {0: "code", 1: "name", 2: "currency", 4: "tax_number"}


def test_a_text_that_is_named_as_a_workbook_is_not_read_as_a_text() -> None:
    with pytest.raises(Unreadable, match="named as a workbook and is none"):
        read("Customers.XLSX", b"code,name\nC-1,Acme\n", KNOWN)
