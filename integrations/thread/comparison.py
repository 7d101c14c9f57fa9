"""One entry seen four times: as its source says it, as the ledger holds it, as it was sent, and as the target holds it.

The rule here: what nobody states is a dash and not compared, what differs is said in one sentence with both figures, and what
was sent is exactly what the ledger says, because figures are frozen once they were sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from difflib import SequenceMatcher
from typing import Any

from integrations import postings
from integrations.postings import plain
from integrations.sql import outbound as sql
from integrations.thread.finding import EntryThread, Thread
from integrations.thread.versions import Version
from portal import figures
from portal.models import Expense, LedgerEntry, TimeEntry
from portal.records import Posting
from reconciliation.validation.judging import SPLIT_AT_CAP

_WORDS = re.compile(r"\s+|[^\s\w]|\w+")
_BY_CHARACTER = 600  # a text this long is compared character by character, a longer one word by word
_LONGEST_TEXT = 1200  # pieces that are compared one by one; a text of more is shown whole, as it was and as it is


@dataclass(frozen=True, slots=True)
class Cell:
    """What one of the four says of a field; `note` is a key or a unit in small type. Empty when it says nothing."""

    value: str = ""
    note: str = ""
    raw: Any = None  # what is compared


@dataclass(frozen=True, slots=True)
class Line:
    """One field, four times; `sentence` is the difference in words, `is_wrong` when the target's books are not as sent."""

    name: str
    unit: str
    source: Cell
    ledger: Cell
    sent: Cell
    found: Cell
    sentence: str = ""
    is_wrong: bool = False

    @property
    def cells(self) -> tuple[tuple[str, Cell], ...]:
        """The four in their order, each with the word above its column."""
        return (("Source", self.source), ("Ledger", self.ledger), ("Last sent", self.sent), ("Read back", self.found))


@dataclass(slots=True)
class SideBySide:
    """The four-way comparison of one entry, and the words above its columns."""

    source: str
    ledger: str
    sent: str
    found: str
    lines: list[Line] = field(default_factory=list)
    is_read: bool = False  # whether the target was ever seen to hold it
    text: list[tuple[str, str]] = field(default_factory=list)  # what the text lost and got: ("", "del" or "ins", piece)

    @property
    def sentences(self) -> list[str]:
        """Every difference in words."""
        return [line.sentence for line in self.lines if line.sentence]

    @property
    def has_wrong(self) -> bool:
        """Whether the target holds something else than was sent."""
        return any(line.is_wrong for line in self.lines)


def side_by_side(thread: Thread, told: EntryThread, tolerance: Decimal | None = None) -> SideBySide:
    """The entry as the source says it now, as the ledger holds it, as it was last sent and last read back.

    `tolerance` is what the target's own unit of time cannot tell apart. One query.
    """
    entry = told.entry
    version = _said_by_source(thread, entry)
    sent = postings.build(sql.booked_by([entry.pk]))[entry.pk] if _was_sent(told) else None
    latest = told.read_backs[-1] if told.read_backs else None
    found: Mapping[str, str] = latest.found if latest is not None else {}
    differing: Mapping[str, Any] = latest.differences if latest is not None else {}
    shown = SideBySide(
        source=f"{entry.source}, version {version.version}" if version is not None else f"{entry.source}",
        ledger=f"entry {entry.pk}, version {entry.version}",
        sent=f"to {entry.target}" if sent is not None else "nothing was sent yet",
        found=f"{entry.target}, {figures.age(latest.at)} ago" if latest is not None else "not read back yet",
        is_read=latest is not None and (latest.is_equal or bool(found)),
    )
    if latest is not None and not latest.found and not latest.is_equal:
        shown.found = f"{entry.target} does not hold it, {figures.age(latest.at)} ago"
    rows = _Rows(entry, version, sent, found)
    shown.lines = [_judged(line, entry, differing, tolerance or Decimal(0), rows) for line in rows.lines()]
    if version is not None and (rows.has_text or version.description):
        shown.text = changed_text(version.description, entry.memo)
    return shown


def _said_by_source(thread: Thread, entry: LedgerEntry) -> Version | None:
    """The latest version that came from the source itself; finance's own corrections stand on the ledger."""
    theirs = [version for version in thread.versions if version.author_id is None]
    return theirs[-1] if theirs else next((v for v in thread.versions if v.version == entry.version), None)


def _was_sent(told: EntryThread) -> bool:
    return bool(told.entry.state_row.body_hash) or any(line.attempt.purpose == "push" for line in told.attempts)


class _Rows:
    """Builds the lines, field by field."""

    def __init__(
        self, entry: LedgerEntry, version: Version | None, sent: Posting | None, found: Mapping[str, str]
    ) -> None:
        self.entry, self.version, self.sent, self.held = entry, version, sent, found
        self.is_time = entry.kind == "time"

    @property
    def has_text(self) -> bool:
        """Whether anybody says a text."""
        return bool(self.entry.memo or (self.version and self.version.description) or self.held.get("memo"))

    def lines(self) -> Iterator[Line]:
        """The fields in the order in which finance reads them, those of which anybody says anything."""
        for line in (
            self._dates(), self._booked(), self._entity(), self._named("resource", "Person"), self._named("project", "Project"),
            self._named("task", "Task"), self._hours(), self._rate(), self._amount(), self._currency(), self._billable(),
            self._category(), self._text("Tax code", "tax_code"), self._text("Receipt", "receipt_reference"), self._memo(),
        ):  # fmt: skip
            if any(cell.value for _, cell in line.cells):
                yield line

    def _line(self, name: str, unit: str, *cells: Cell) -> Line:
        source, ledger, sent, found = cells
        return Line(name, unit, source, ledger, sent, found)

    def _dates(self) -> Line:
        return self._line(
            "Work date", "", _day(self.version.work_date if self.version else None), _day(self.entry.work_date), Cell(), Cell()
        )  # fmt: skip

    def _booked(self) -> Line:
        sent = self.sent.work_date if self.sent else None
        wished = self.version.post_on if self.version else None
        return self._line("Booked on", "", _day(wished), _day(self.entry.post_on), _day(sent), _day(_iso(self.held)))

    def _entity(self) -> Line:
        entity = self.entry.entity
        ledger = Cell(entity.code, entity.name, entity.code)
        return self._line("Entity", "", Cell(), ledger, self._key("entity", entity), self._back("entity", entity))

    def _named(self, name: str, label: str) -> Line:
        record = getattr(self.entry, name)
        ledger = Cell()
        if record is not None:
            ledger = Cell(record.code, record.name if record.name != record.code else "", record.code)
        return self._line(label, "", self._theirs(name), ledger, self._key(name, record), self._back(name, record))

    def _theirs(self, name: str) -> Cell:
        if self.version is None:
            return Cell()
        key, code, words = (str(getattr(self.version, f"{name}_{part}")) for part in ("key", "code", "name"))
        value = code or words or key
        note = words if words and words != value else f"key {key}" if key and key != value else ""
        return Cell(value, note, code or None)

    def _key(self, name: str, record: Any) -> Cell:
        key = str(getattr(self.sent, name)) if self.sent else ""
        return Cell(key, record.code if record is not None and key else "", key) if key else Cell()

    def _back(self, name: str, record: Any) -> Cell:
        key = self.held.get(name, "")
        same = bool(key) and self.sent is not None and key == str(getattr(self.sent, name))
        return Cell(key, record.code if same and record is not None else "", key) if key else Cell()

    def _hours(self) -> Line:
        theirs = self.version.hours if isinstance(self.version, TimeEntry) else None
        ours = self.entry.hours if self.is_time else None
        sent = self.sent.hours if self.sent else None
        return self._figures("Hours", "h", theirs, ours, sent, self.held.get("hours"))

    def _rate(self) -> Line:
        theirs = self.version.rate if isinstance(self.version, TimeEntry) else None
        unit = f"{self.entry.currency} per h" if self.entry.currency else "per h"
        sent = self.sent.rate if self.sent else None
        return self._figures("Rate", unit, theirs, self.entry.rate, sent, self.held.get("rate"))

    def _amount(self) -> Line:
        theirs = self.version.amount if isinstance(self.version, Expense) else None
        sent = self.sent.amount if self.sent else None
        return self._figures("Amount", self.entry.currency, theirs, self.entry.amount, sent, self.held.get("amount"))

    def _figures(self, name: str, unit: str, *values: Any) -> Line:
        theirs, ours, sent, found = values
        return self._line(name, unit, _figure(theirs), _figure(ours), _figure(sent), _figure(_number(found)))

    def _currency(self) -> Line:
        theirs = self.version.currency if self.version else ""
        sent = self.sent.currency if self.sent else ""
        return self._plain("Currency", theirs, self.entry.currency, sent, self.held.get("currency", ""))

    def _billable(self) -> Line:
        theirs = plain(self.version.is_billable) if self.version else ""
        ours = (
            Cell("no", "cost only", "no") if self.entry.is_cost_only else Cell(plain(self.entry.is_billable), "", None)
        )
        ours = Cell(ours.value, ours.note, ours.value)
        sent = plain(self.sent.billable) if self.sent else ""
        found = self.held.get("billable", "")
        return self._line("Billable", "", _word(theirs), ours, _word(sent), _word(found))

    def _category(self) -> Line:
        if self.is_time:
            return self._line("Category", "", Cell(), Cell(), Cell(), Cell())
        return self._text("Category", "category", is_sent=False)

    def _text(self, label: str, name: str, *, is_sent: bool = True) -> Line:
        theirs = str(getattr(self.version, name, "") or "")
        sent = str(getattr(self.sent, name, "") or "") if self.sent and is_sent else ""
        return self._plain(label, theirs, str(getattr(self.entry, name)), sent, self.held.get(name, ""))

    def _memo(self) -> Line:
        theirs = self.version.description if self.version else ""
        sent = self.sent.memo if self.sent else ""
        return self._plain("Text", theirs, self.entry.memo, sent, self.held.get("memo", ""))

    def _plain(self, name: str, *values: str) -> Line:
        return self._line(name, "", *(_word(value) for value in values))


def _word(value: str) -> Cell:
    return Cell(value, "", value) if value else Cell()


def _day(value: date | None) -> Cell:
    return Cell(figures.day(value), "", value) if value is not None else Cell()


def _figure(value: Decimal | None) -> Cell:
    return Cell(figures.exact(value), "", value) if value is not None else Cell()


def _number(value: str | None) -> Decimal | None:
    try:
        return Decimal(value) if value else None
    except InvalidOperation:
        return None


def _iso(found: Mapping[str, str]) -> date | None:
    try:
        return date.fromisoformat(found.get("work_date", ""))
    except ValueError:
        return None


_READ_BACK = {
    "Booked on": "work_date", "Entity": "entity", "Person": "resource", "Project": "project", "Task": "task", "Hours": "hours",
    "Rate": "rate", "Amount": "amount", "Currency": "currency", "Billable": "billable",
}  # fmt: skip
_BY_KEY = ("Entity", "Person", "Project", "Task")


def _judged(
    line: Line, entry: LedgerEntry, differing: Mapping[str, Any], tolerance: Decimal, rows: _Rows
) -> Line:  # fmt: skip
    """The line with its difference in words, where there is one."""
    name = _READ_BACK.get(line.name, "")
    pair = differing.get(name)
    if isinstance(pair, list) and len(pair) == 2:
        sent, found = (_with_unit(line, cell, raw) for cell, raw in zip((line.sent, line.found), pair, strict=True))
        return _saying(line, f"{sent} was sent, {entry.target} holds {found}.", is_wrong=True)
    if line.name == "Text":
        return _saying(line, _text_differs(line, entry))
    if entry.reverses_id:
        return line  # figures of a reversal are the negative of what it takes back, whatever the source says now
    said, ours = line.source.raw, line.ledger.raw
    if line.name in ("Person", "Project") and line.source.value and not line.ledger.value:
        return _saying(line, f"{entry.source} says {line.source.value}, which is not known in the master data.")
    if said is None or ours is None or _same(said, ours):
        return line
    return _saying(line, _source_differs(line, entry, tolerance, rows))


def _saying(line: Line, sentence: str, *, is_wrong: bool = False) -> Line:
    return Line(line.name, line.unit, line.source, line.ledger, line.sent, line.found, sentence, is_wrong)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return one.strip().casefold() == other.strip().casefold()
    return bool(one == other)


def _with_unit(line: Line, cell: Cell, raw: str) -> str:
    value = cell.value or raw
    return f"{line.name.lower()} {value}" if not line.unit else f"{value} {line.unit}"


def _source_differs(line: Line, entry: LedgerEntry, tolerance: Decimal, rows: _Rows) -> str:
    """The source says one thing and the ledger another: why, where the rows say why."""
    unit = f" {line.unit}" if line.unit else ""
    said = f"{entry.source} says {line.source.value}{unit}"
    if line.name in _BY_KEY:
        return f"{said}; in the master data that is {line.ledger.value}."
    holds = line.found.raw if line.found.raw is not None else line.sent.raw
    if line.found.raw is not None and not _near(
        line.source.raw, holds, tolerance if line.name == "Hours" else Decimal(0)
    ):
        return f"{said}, {entry.target} holds {line.found.value}{unit}{_why(line, entry, rows)}."
    return (
        f"{said}, the ledger {'booked' if rows.sent else 'books'} {line.ledger.value}{unit}{_why(line, entry, rows)}."
    )


def _near(one: Any, other: Any, tolerance: Decimal) -> bool:
    if isinstance(one, Decimal) and isinstance(other, Decimal):
        return abs(one - other) <= tolerance
    return _same(one, other)


def _why(line: Line, entry: LedgerEntry, rows: _Rows) -> str:
    version = rows.version
    if line.name == "Hours" and (SPLIT_AT_CAP in entry.tags or entry.part):
        return ": it was split at a limit"
    if line.name == "Rate":
        if entry.rate_used_id:
            return f", as agreed in rate card {entry.rate_version}"
        return ""
    if line.name == "Billable" and entry.is_cost_only:
        return ": it is posted as cost only"
    if version is not None and version.version > entry.version:
        return f": version {version.version} came after this entry's version {entry.version}"
    if version is not None and version.version < entry.version:
        return f": finance corrected it in version {entry.version}"
    return ""


def _text_differs(line: Line, entry: LedgerEntry) -> str:
    if line.sent.raw and line.found.raw and line.sent.raw != line.found.raw and line.sent.raw not in line.found.raw:
        return f"{entry.target} holds the text otherwise than it was sent; texts do not count as a difference in the books."
    said, ours = line.source.raw or "", line.ledger.raw or ""
    if not said or said == ours:
        return ""
    if not ours:
        return f"Nothing of the text is in {entry.target}'s words yet."
    return f"The text was made acceptable to {entry.target}; what went and what came is marked."


def changed_text(before: str, after: str) -> list[tuple[str, str]]:
    """What became of a text, piece by piece: ("", kept), ("del", what went), ("ins", what came). Empty when nothing changed."""
    if before == after or not after:
        return []
    if max(len(before), len(after)) <= _BY_CHARACTER:
        old, new = list(before), list(after)
    else:
        old, new = _WORDS.findall(before), _WORDS.findall(after)
    if max(len(old), len(new)) > _LONGEST_TEXT:
        return [("del", _visible(before)), ("ins", _visible(after))]
    pieces: list[tuple[str, str]] = []
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            pieces.append(("", "".join(old[a:b])))
            continue
        if b > a:
            pieces.append(("del", _visible("".join(old[a:b]))))
        if d > c:
            pieces.append(("ins", _visible("".join(new[c:d]))))
    return pieces


def _visible(text: str) -> str:
    """Characters that nobody can see, made visible: a blank, a line's end, a tab, a control character by its number."""
    shown = {" ": "␣", "\n": "↵", "\t": "⇥", "\r": "↵"}
    if text.strip(" ") and text.isprintable():
        return text
    return "".join(shown.get(mark, mark if mark.isprintable() else f"U+{ord(mark):04X}") for mark in text)
