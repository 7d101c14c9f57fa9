"""Files: bytes to rows, whatever the encoding, the separators and the spreadsheet's own types."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
import xlsxwriter

from integrations.connectors.files.connector import FilesConnector, Preview
from integrations.errors import Malformed
from integrations.protocol import Account
from portal.records import ExpenseRecord, Reference, SourceStatus, TimeEntryRecord

MOMENT = datetime(2026, 3, 31, 20, 0, tzinfo=UTC)
GERMAN: dict[str, Any] = {
    "time_columns": {
        "person": "Mitarbeiter",
        "date": "Datum",
        "project": "Projekt",
        "task": "Vorgang",
        "hours": "Stunden",
        "rate": "Satz",
        "description": "Text",
    },
    "decimal": ",",
    "date_formats": "DD.MM.YYYY",
    "currency": "EUR",
    "zone": "Europe/Berlin",
}
GERMAN_FILE = (
    'Mitarbeiter;Datum;Projekt;Vorgang;Stunden;Satz;Text\nM-7;03.03.2026;P1;Bau;7,5;1.120,50;"Größe; geprüft"\n'
)
PLAIN_HEAD = "person,date,project,task,hours,rate,currency,billable,description\n"


def preview(content: bytes | str, name: str = "time.csv", stream: str = "time", **settings: Any) -> Preview:
    account = Account(code="files-de", base_url="", settings=settings)
    raw = content.encode() if isinstance(content, str) else content
    return FilesConnector(account).preview(stream, name, raw, MOMENT)


def only(shown: Preview) -> TimeEntryRecord:
    assert shown.problems == ()
    [row] = shown.rows
    assert isinstance(row.document, TimeEntryRecord)
    return row.document


def problem(line: str, **settings: Any) -> str:
    [row] = preview(PLAIN_HEAD + line + "\n", **settings).rows
    assert row.document is None
    assert row.problem is not None
    return row.problem.sentence


def workbook(rows: list[list[Any]], sheet: str = "Time", *, extra_sheets: tuple[str, ...] = ()) -> bytes:
    buffer = io.BytesIO()
    book = xlsxwriter.Workbook(buffer, {"in_memory": True, "strings_to_formulas": False})
    for name in extra_sheets:
        book.add_worksheet(name)
    page = book.add_worksheet(sheet)
    for number, row in enumerate(rows):
        for column, value in enumerate(row):
            if isinstance(value, tuple):
                page.write(number, column, value[0], book.add_format({"num_format": value[1]}))
            elif value is not None:
                page.write(number, column, value)
    book.close()
    return buffer.getvalue()


def repacked(content: bytes, changes: dict[str, bytes | None]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            if item.filename not in changes:
                new.writestr(item.filename, old.read(item.filename))
        for name, data in changes.items():
            if data is not None:
                new.writestr(name, data)
    return buffer.getvalue()


def test_a_file_whose_headings_are_our_field_names_needs_no_configuration() -> None:
    entry = only(preview(PLAIN_HEAD + "M-7,2026-03-03,P1,Build,7.50,120.00,EUR,yes,Design review\n"))
    assert entry.resource == Reference(code="M-7")
    assert entry.project == Reference(code="P1")
    assert entry.task == Reference(code="Build")
    assert (entry.work_date, entry.hours, entry.rate) == (date(2026, 3, 3), Decimal("7.50"), Decimal("120.00"))
    assert (entry.currency, entry.billable, entry.description) == ("EUR", True, "Design review")
    assert entry.status is SourceStatus.APPROVED


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_every_usual_encoding_gives_the_same_entry(encoding: str) -> None:
    entry = only(preview(GERMAN_FILE.encode(encoding), **GERMAN))
    assert entry.description == "Größe; geprüft"
    assert (entry.hours, entry.rate, entry.currency) == (Decimal("7.5"), Decimal("1120.50"), "EUR")
    assert (entry.work_date, entry.zone) == (date(2026, 3, 3), "Europe/Berlin")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_under_which_the_headings_stand(delimiter: str) -> None:
    content = GERMAN_FILE.replace(";", delimiter).replace(f"Größe{delimiter}", "Größe;").replace("7,5", '"7,5"')
    content = content.replace("1.120,50", '"1.120,50"')
    assert only(preview(content, **GERMAN)).hours == Decimal("7.5")


def test_utf8_declared_as_cp1252_is_refused_by_row_and_says_what_was_meant() -> None:
    shown = preview(GERMAN_FILE, **GERMAN, encoding="cp1252")
    assert [row.document for row in shown.rows] == [None]
    assert "probably means “Größe; geprüft”" in shown.problems[0].sentence


def test_bytes_that_are_not_the_declared_encoding_stop_the_file() -> None:
    with pytest.raises(Malformed, match="not text in utf-8: byte"):
        preview(GERMAN_FILE.encode("cp1252"), **GERMAN, encoding="utf-8")


def test_a_decimal_comma_that_was_not_announced_is_refused_with_the_way_out() -> None:
    sentence = problem('M-7,2026-03-03,P1,,"7,5",,EUR,yes,')
    assert sentence == (
        "Row 2, column “hours”: “7,5” is not a number with a decimal point, such as 7.5; if the file writes a decimal "
        "comma, set “decimal” to “,”."
    )


@pytest.mark.parametrize(
    ("written", "decimal", "value"),
    [
        ("1,234.50", ".", "1234.50"),
        ("1.234,50", ",", "1234.50"),
        ("1 234,50", ",", "1234.50"),
        ("1'234.50", ".", "1234.50"),
        ("-3.25", ".", "-3.25"),
        ("0.125", "auto", "0.125"),
        ("7,5", "auto", "7.5"),
        ("1.234,50", "auto", "1234.50"),
        ("1,234,567", "auto", "1234567"),
    ],
)
def test_numbers_are_exact_whatever_their_separators(written: str, decimal: str, value: str) -> None:
    entry = only(preview(PLAIN_HEAD + f'M-7,2026-03-03,P1,,1,"{written}",EUR,yes,\n', decimal=decimal))
    assert str(entry.rate) == value


@pytest.mark.parametrize("written", ["1.234", "12,500"])
def test_a_number_that_can_be_read_in_two_ways_is_refused(written: str) -> None:
    assert "it may mean" in problem(f'M-7,2026-03-03,P1,,"{written}",,EUR,yes,', decimal="auto")


@pytest.mark.parametrize("written", ["NaN", "1e3", "Infinity", "seven", "1.2.3", "7.5h", "1,23.4", "٣", "9" * 40])
def test_what_is_no_number_is_refused(written: str) -> None:
    assert f"“{written[:79]}" in problem(f'M-7,2026-03-03,P1,,"{written}",,EUR,yes,')


@pytest.mark.parametrize(
    ("written", "formats", "day"),
    [
        ("2026-03-04", "auto", date(2026, 3, 4)),
        ("04.03.2026", "auto", date(2026, 3, 4)),
        ("31/03/2026", "auto", date(2026, 3, 31)),
        ("03/31/2026", "auto", date(2026, 3, 31)),
        ("05/05/2026", "auto", date(2026, 5, 5)),
        ("03/04/2026", "DD/MM/YYYY", date(2026, 4, 3)),
        ("03/04/2026", "MM/DD/YYYY", date(2026, 3, 4)),
        ("20260304", "YYYYMMDD", date(2026, 3, 4)),
        ("4-Mar-2026", "DD-MMM-YYYY", date(2026, 3, 4)),
        ("2026-03-04 23:30:00", "auto", date(2026, 3, 4)),
    ],
)
def test_dates_are_read_as_configured(written: str, formats: str, day: date) -> None:
    assert only(preview(PLAIN_HEAD + f"M-7,{written},P1,,1,,EUR,yes,\n", date_formats=formats)).work_date == day


@pytest.mark.parametrize("written", ["03/04/2026", "04-03-2026"])
def test_an_ambiguous_date_is_refused_and_names_both_readings(written: str) -> None:
    sentence = problem(f"M-7,{written},P1,,1,,EUR,yes,")
    assert "2026-03-04 or 2026-04-03" in sentence or "2026-04-03 or 2026-03-04" in sentence


def test_two_configured_formats_that_disagree_about_a_date_refuse_it() -> None:
    assert "leave one of the date formats out" in problem(
        "M-7,03/04/2026,P1,,1,,EUR,yes,", date_formats=["DD/MM/YYYY", "MM/DD/YYYY"]
    )


def test_mixed_date_formats_in_one_file_read_row_by_row() -> None:
    shown = preview(
        PLAIN_HEAD + "M-7,2026-03-03,P1,,1,,EUR,yes,\nM-7,04.03.2026,P1,,1,,EUR,yes,\nM-7,03/04/2026,P1,,1,,EUR,yes,\n"
    )
    assert [row.document.work_date if row.document else None for row in shown.rows] == [
        date(2026, 3, 3),
        date(2026, 3, 4),
        None,
    ]


@pytest.mark.parametrize(
    ("written", "unit", "value"),
    [("90", "minutes", "1.5"), ("50", "minutes", "0.8333"), ("7:30", "clock", "7.5"), ("-0:15", "clock", "-0.25")],
)
def test_hours_come_in_the_configured_unit(written: str, unit: str, value: str) -> None:
    entry = only(preview(PLAIN_HEAD + f"M-7,2026-03-03,P1,,{written},,EUR,yes,\n", hours_unit=unit))
    assert entry.hours == Decimal(value)


def test_a_clock_time_in_an_hours_column_names_the_setting() -> None:
    assert "set “hours_unit” to “clock”" in problem("M-7,2026-03-03,P1,,7:30,,EUR,yes,")


def test_a_bad_row_is_named_and_never_stops_the_others() -> None:
    shown = preview(
        PLAIN_HEAD
        + "M-7,2026-03-03,P1,,1,,EUR,yes,\n"
        + "M-7,2026-02-30,P1,,1,,EUR,yes,\n"
        + "\n"
        + "M-7,2026-03-04,P1,,1,,EURO,yes,\n"
        + "M-7,2026-03-05,P1,,1,,EUR,perhaps,\n"
        + "M-7,2026-03-06,P1,,,,EUR,yes,\n"
        + "M-7,2026-03-07,P1,,1,,EUR,yes,one,two\n"
        + "M-7,2026-03-08,P1,,2,,EUR,no,\n"
    )
    assert [row.number for row in shown.rows] == [2, 3, 5, 6, 7, 8, 9]
    assert [(p.row, p.column) for p in shown.problems] == [
        (3, "date"),
        (5, "currency"),
        (6, "billable"),
        (7, "hours"),
        (8, ""),
    ]
    assert [row.number for row in shown.rows if row.document] == [2, 9]
    assert shown.problems[-1].sentence.startswith("Row 8: it has 10 fields under 9 headings")


def test_broken_quoting_is_a_problem_of_its_row() -> None:
    shown = preview(PLAIN_HEAD + 'M-7,2026-03-03,P1,,1,,EUR,yes,"a"b\nM-7,2026-03-04,P1,,1,,EUR,yes,ok\n')
    assert [(row.number, row.document is None) for row in shown.rows] == [(2, True), (3, False)]
    assert "double the quotation marks" in shown.problems[0].sentence


@pytest.mark.case(12)
def test_a_quoted_text_that_is_never_closed_says_that_the_file_ends_too_early() -> None:
    shown = preview(PLAIN_HEAD + 'M-7,2026-03-03,P1,,1,,EUR,yes,fine\nM-7,2026-03-04,P1,,1,,EUR,yes,"cut of')
    assert [row.document is None for row in shown.rows] == [False, True]
    assert "the file ends too early" in shown.problems[0].sentence


def test_a_rate_that_is_absent_is_none_and_a_written_zero_is_zero() -> None:
    shown = preview(PLAIN_HEAD + "M-7,2026-03-03,P1,,1,,EUR,yes,\nM-7,2026-03-04,P1,,1,0,EUR,yes,\n")
    assert [row.document.rate for row in shown.rows if isinstance(row.document, TimeEntryRecord)] == [None, Decimal(0)]


def test_text_that_looks_like_a_formula_stays_text() -> None:
    assert only(preview(PLAIN_HEAD + "M-7,2026-03-03,P1,,1,,EUR,yes,=1+1\n")).description == "=1+1"
    book = workbook(
        [["person", "date", "project", "hours", "description"], ["M-7", "2026-03-03", "P1", 1, "=HYPERLINK(1)"]]
    )
    assert only(preview(book, "time.xlsx")).description == "=HYPERLINK(1)"


def test_a_configured_column_that_vanished_stops_the_file_and_lists_what_is_there() -> None:
    with pytest.raises(Malformed, match="“Satz” \\(rate\\) is missing; the file has “Mitarbeiter”"):
        preview(GERMAN_FILE.replace("Satz", "Preis"), **GERMAN)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoding": "ebcdic"}, "Setting “encoding” is “ebcdic”"),
        ({"time_columns": {"persona": "x"}}, "unknown field “persona”"),
        ({"time_columns": {"person": "x"}}, "has no column for date"),
        ({"time_columns": "person Mitarbeiter"}, "must read “name = value”"),
        ({"status_words": {"ok": "fine"}}, "gives “ok” the status “fine”"),
        ({"header_row": 0}, "whole number of at least 1"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(Malformed, match=message):
        preview(PLAIN_HEAD, **settings)


def test_columns_may_be_written_as_lines_and_headings_may_stand_lower() -> None:
    columns = "person = Wer\ndate = Wann\nproject_name = Was\nhours = Wie lange"
    content = "Export vom 31.03.2026\n\nWer;Wann;Was;Wie  lange\nM-7;2026-03-03;Umbau;1\n"
    entry = only(preview(content, time_columns=columns, header_row=3))
    assert entry.project == Reference(name="Umbau")


def test_status_words_decide_what_is_approved_and_an_unknown_word_is_refused() -> None:
    head = "person,date,project,hours,status\n"
    rows = "M-7,2026-03-03,P1,1,Genehmigt\nM-7,2026-03-04,P1,1,zurückgezogen\nM-7,2026-03-05,P1,1,draft\n"
    shown = preview(
        head + rows + "M-7,2026-03-06,P1,1,vielleicht\n",
        status_words={"Genehmigt": "approved", "Zurückgezogen": "withdrawn"},
    )
    assert [row.document.status if row.document else None for row in shown.rows] == [
        SourceStatus.APPROVED,
        SourceStatus.WITHDRAWN,
        SourceStatus.DRAFT,
        None,
    ]
    assert "add it to “status_words”" in shown.problems[0].sentence


def test_an_expense_carries_its_gross_amount_category_and_receipt() -> None:
    head = "person,date,project,amount,category,currency,tax_code,tax_amount,receipt\n"
    content = head + "M-7,2026-03-03,P1,119.00,Hotel,eur,V19,19.00,R-1\n"
    [row] = preview(content, "expenses.csv", "expenses").rows
    assert isinstance(row.document, ExpenseRecord)
    assert (row.document.amount, row.document.category, row.document.currency) == (Decimal("119.00"), "Hotel", "EUR")
    assert (row.document.tax_code, row.document.tax_amount, row.document.receipt_reference) == (
        "V19",
        Decimal("19.00"),
        "R-1",
    )


def test_a_spreadsheet_gives_exact_numbers_dates_and_durations() -> None:
    day, span = "dd.mm.yyyy", "[h]:mm"
    shown = preview(
        workbook(
            [
                ["person", "date", "project", "hours", "rate", "billable"],
                [1001, (datetime(2026, 3, 3), day), "007", 7.1, 0.1 + 0.2, True],
                [1001, (datetime(2026, 3, 4), day), "007", (31.5 / 24, span), None, False],
                [1001, (datetime(2026, 3, 5), day), "007", (0.3125, "hh:mm"), 110, True],
            ],
            extra_sheets=(),
        ),
        "time.xlsx",
        decimal=",",
    )
    entries = [row.document for row in shown.rows if isinstance(row.document, TimeEntryRecord)]
    assert [str(entry.hours) for entry in entries] == ["7.1", "31.5", "7.5"]
    assert [entry.rate and str(entry.rate) for entry in entries] == ["0.3", None, "110"]
    assert [entry.work_date.day for entry in entries] == [3, 4, 5]
    assert entries[0].resource.code == "1001"
    assert entries[0].project.code == "007"
    assert [entry.billable for entry in entries] == [True, False, True]


def test_the_configured_sheet_is_read_and_a_missing_one_is_named() -> None:
    book = workbook([["person", "date", "project", "hours"], ["M-7", "2026-03-03", "P1", 1]], extra_sheets=("Cover",))
    assert only(preview(book, "time.xlsx", sheet="time")).hours == 1
    with pytest.raises(Malformed, match="no sheet “Zeiten”; it has Cover, Time"):
        preview(book, "time.xlsx", sheet="Zeiten")


@pytest.mark.parametrize(
    ("row", "column", "message"),
    [
        (["M-7", 46082, "P1", 1], "date", "format the column as a date"),
        (["M-7", "2026-03-03", (datetime(2026, 3, 1), "mm/yy"), 1], "project", "format the column as text"),
        ([1234567890123456, "2026-03-03", "P1", 1], "person", "spreadsheets keep 15 digits"),
        (["M-7", "2026-03-03", "P1", True], "hours", "is not a number"),
    ],
)
def test_what_a_spreadsheet_altered_is_refused(row: list[Any], column: str, message: str) -> None:
    [shown] = preview(workbook([["person", "date", "project", "hours"], row]), "time.xlsx").rows
    assert shown.problem is not None
    assert shown.problem.column == column
    assert message in shown.problem.sentence


def test_a_failing_formula_is_not_an_empty_cell() -> None:
    buffer = io.BytesIO()
    book = xlsxwriter.Workbook(buffer, {"in_memory": True})
    page = book.add_worksheet("Time")
    page.write_row(0, 0, ["person", "date", "project", "hours", "rate"])
    page.write_row(1, 0, ["M-7", "2026-03-03", "P1", 1])
    page.write_formula(1, 4, "=1/0", None, "#DIV/0!")
    book.close()
    [row] = preview(buffer.getvalue(), "time.xlsx").rows
    assert row.problem is not None
    assert row.problem.column == "rate"
    assert "the formula in the spreadsheet fails" in row.problem.sentence


SOUND = workbook([["person", "date", "project", "hours"], ["M-7", "2026-03-03", "P1", 1]])
FAR = b'<worksheet><sheetData><row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData></worksheet>'
WIDE = b'<worksheet><sheetData><row r="1"><c r="XFD1"><v>1</v></c></row></sheetData></worksheet>'
SHEET = "xl/worksheets/sheet1.xml"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (repacked(SOUND, {"xl/media/x.xml": b"\0" * 30_000_000}), "packed more than 100 times"),
        (repacked(SOUND, {f"xl/media/{n}.png": b"x" for n in range(300)}), "at most 200 are read"),
        (repacked(SOUND, {"xl/vbaProject.bin": b"x"}), "holds macros"),
        (repacked(SOUND, {"../evil.xml": b"x"}), "path in its name"),
        (repacked(SOUND, {"xl/inner.bin": b"PK\x03\x04more"}), "another archive"),
        (repacked(SOUND, {"xl/embeddings/a.xlsx": b"x"}), "embedded file"),
        (repacked(SOUND, {SHEET: FAR}), "reaches to row 1048576"),
        (repacked(SOUND, {SHEET: WIDE}), "reaches to column 16384"),
        (repacked(SOUND, {SHEET: b'<!DOCTYPE a [<!ENTITY b "c">]><worksheet/>'}), "declares entities"),
        (repacked(SOUND, {"[Content_Types].xml": None}), "not a workbook"),
        (SOUND[: len(SOUND) // 2], "damaged or was not sent whole"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1rest", "old or password-protected"),
        (b"person,date\n", "name says XLSX"),
        (b"x" * (10 * 1024 * 1024 + 1), "at most 10485760"),
        (b"  \n", "file is empty"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_hostile_or_damaged_workbook_is_refused_before_it_is_opened(content: bytes, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        preview(content, "time.xlsx")


def test_a_bomb_that_lies_about_its_size_is_measured_by_unpacking() -> None:
    import random

    noise = random.Random(1).randbytes(4_000)
    honest = repacked(SOUND, {"xl/media/x.png": noise * 30_000})
    with pytest.raises(Malformed, match=r"unpacks to more than 100 MB|packed more than"):
        preview(honest, "time.xlsx")
    lying = honest.replace((120_000_000).to_bytes(4, "little"), (1_000).to_bytes(4, "little"))
    assert lying != honest
    with pytest.raises(Malformed, match=r"unpacks to more than 100 MB|packed more than"):
        preview(lying, "time.xlsx")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("time.csv", SOUND, "name says CSV"),
        ("time.csv", b"%PDF-1.7", "name says CSV"),
        ("time.xls", b"person,date\n", "ends in “.xls”"),
        ("time.csv", b"person,date,project,hours\nM\0,1,2,3\n" * 300, "zero bytes|not text"),
    ],
)
def test_what_is_neither_csv_nor_xlsx_is_refused(name: str, content: bytes, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        preview(content, name)
