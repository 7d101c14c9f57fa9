"""What an operator says about the files of one connection: names, columns, and how dates and numbers are written.

Columns are configuration, never code. What is configured is expected: a configured column that a file lacks stops that
file, because a rate column that vanished must not read as "no rate".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from integrations import sftp
from integrations.connectors.files.faults import FileUnreadable
from integrations.protocol import Account, Setting
from portal.records import SourceStatus

STREAMS = ("time", "expenses")

_COMMON = (
    "person",
    "person_name",
    "date",
    "project",
    "project_name",
    "task",
    "task_name",
    "customer",
    "customer_name",
    "currency",
    "billable",
    "description",
    "id",
    "revision",
    "status",
    "approved_by",
    "approved_at",
    "provenance",
    "zone",
    "link",
)
FIELDS: Mapping[str, tuple[str, ...]] = {
    "time": (*_COMMON, "hours", "rate"),
    "expenses": (*_COMMON, "amount", "category", "tax_code", "tax_amount", "receipt"),
}
# Each group needs at least one of its fields among the columns of a file.
REQUIRED: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "time": (("person", "person_name"), ("date",), ("project", "project_name"), ("hours",)),
    "expenses": (("person", "person_name"), ("date",), ("project", "project_name"), ("amount",), ("category",)),
}

READING: tuple[Setting, ...] = (
    Setting(
        name="time_pattern",
        label="Names of time files",
        help="Wildcards, several separated by commas.",
        default="time*",
    ),
    Setting(
        name="expense_pattern",
        label="Names of expense files",
        help="Wildcards, several separated by commas.",
        default="expense*",
    ),
    Setting(
        name="time_columns",
        long=True,
        label="Columns of time files",
        help="The heading of each in the file. Without any, the headings are our field names.",
        words=tuple(FIELDS["time"]),
    ),
    Setting(
        name="expense_columns",
        long=True,
        label="Columns of expense files",
        help="As for time files.",
        words=tuple(FIELDS["expenses"]),
    ),
    Setting(
        name="encoding",
        label="Encoding of CSV files",
        default="auto",
        choices=("auto", "utf-8", "utf-8-sig", "utf-16", "cp1252", "iso-8859-1", "iso-8859-15"),
    ),
    Setting(
        name="delimiter",
        label="Delimiter of CSV files",
        default="auto",
        choices=("auto", ",", ";", "tab", "|"),
    ),
    Setting(name="sheet", label="Sheet", help="Name of the sheet in XLSX files; empty for the first visible one."),
    Setting(name="header_row", label="Row of the headings", default=1, least=1, most=1000),
    Setting(
        name="decimal",
        label="Decimal sign",
        help="“auto” refuses what can be read in two ways, such as 1.234.",
        default=".",
        choices=(".", ",", "auto"),
    ),
    Setting(
        name="date_formats",
        label="Date formats",
        help="Such as DD.MM.YYYY, several separated by commas. “auto” reads ISO dates and day.month.year, and refuses "
        "03/04/2026.",
        default="auto",
    ),
    Setting(
        name="hours_unit",
        label="Unit of the hours column",
        default="hours",
        choices=("hours", "minutes", "clock"),
        help="“clock” reads 7:30 as seven and a half hours.",
    ),
    Setting(name="zone", label="Time zone", help="IANA name; empty for the zone of the connection.", shape="zone"),
    Setting(name="currency", label="Currency", help="ISO 4217, for files without a currency column.", shape="currency"),
    Setting(name="billable", label="Billable unless the file says otherwise", default=True),
    Setting(
        name="status",
        label="Status unless the file says otherwise",
        default="approved",
        choices=tuple(status.value for status in SourceStatus),
    ),
    Setting(
        name="status_words",
        long=True,
        label="Words of the status column",
        help="The file's word to ours, as a table or one “Word = approved” per line.",
    ),
    Setting(
        name="snapshot",
        label="Full snapshot",
        help="“month”: a file holds everything of its months, so a row that is gone from a later file is deleted.",
        default="",
        choices=("", "month"),
    ),
    Setting(name="settle_seconds", label="Seconds a file must rest before it is read", default=10, least=0, most=86400),
    Setting(
        name="require_checksum",
        label="Wait for a .sha256 file beside each file",
        default=False,
    ),
    Setting(name="archive", label="Move files that were taken into archive/", default=False),
)
SETTINGS = (*READING, *sftp.SETTINGS)
_DEFAULTS = {setting.name: setting.default for setting in READING}
_CHOICES = {setting.name: setting.choices for setting in READING if setting.choices}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The settings of one connection, checked and typed."""

    patterns: Mapping[str, tuple[str, ...]]
    columns: Mapping[str, Mapping[str, str]]  # stream → our field → the file's heading
    configured: Mapping[str, bool]  # stream → whether its columns were configured
    encoding: str
    delimiter: str
    sheet: str
    header_row: int
    decimal: str
    date_formats: tuple[str, ...]
    hours_unit: str
    zone: str
    currency: str
    billable: bool
    status: SourceStatus
    status_words: Mapping[str, SourceStatus]
    snapshot: str
    settle_seconds: float
    require_checksum: bool
    archive: bool
    fingerprint: str  # changes when a setting that decides how a file is read changes

    @classmethod
    def of(cls, account: Account) -> Options:
        """Check the settings of an account; raises FileUnreadable naming the setting that cannot be used."""
        given = dict(account.settings)
        values = {name: given.get(name, default) for name, default in _DEFAULTS.items()}
        for name, choices in _CHOICES.items():
            if str(values[name]) not in choices:
                raise FileUnreadable(
                    f"Setting “{name}” is “{values[name]}”; it must be one of {', '.join(map(repr, choices))}."
                )
        columns = {
            "time": _columns("time", "time_columns", values["time_columns"]),
            "expenses": _columns("expenses", "expense_columns", values["expense_columns"]),
        }
        return cls(
            patterns={
                "time": _words(values["time_pattern"]),
                "expenses": _words(values["expense_pattern"]),
            },
            columns=columns,
            configured={"time": bool(values["time_columns"]), "expenses": bool(values["expense_columns"])},
            encoding=str(values["encoding"]),
            delimiter="\t" if values["delimiter"] == "tab" else str(values["delimiter"]),
            sheet=str(values["sheet"] or ""),
            header_row=_whole("header_row", values["header_row"], least=1),
            decimal=str(values["decimal"]),
            date_formats=_words(values["date_formats"]),
            hours_unit=str(values["hours_unit"]),
            zone=str(values["zone"] or account.zone or ""),
            currency=str(values["currency"] or "").strip().upper(),
            billable=_flag("billable", values["billable"]),
            status=SourceStatus(str(values["status"])),
            status_words=_status_words(values["status_words"]),
            snapshot=str(values["snapshot"] or ""),
            settle_seconds=_whole("settle_seconds", values["settle_seconds"], least=0),
            require_checksum=_flag("require_checksum", values["require_checksum"]),
            archive=_flag("archive", values["archive"]),
            fingerprint=_fingerprint(values, account.zone),
        )


_READING = ("encoding", "delimiter", "sheet", "header_row", "time_columns", "expense_columns", "zone")


def _fingerprint(values: Mapping[str, Any], zone: str) -> str:
    return json.dumps([*(_plain(values[name]) for name in _READING), zone], sort_keys=True, default=str)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _columns(stream: str, setting: str, value: Any) -> Mapping[str, str]:
    columns = _pairs(setting, value)
    if not columns:
        return {name: name for name in FIELDS[stream]}
    unknown = sorted(set(columns) - set(FIELDS[stream]))
    if unknown:
        raise FileUnreadable(
            f"Setting “{setting}” names the unknown field “{unknown[0]}”; the fields are "
            f"{', '.join(sorted(FIELDS[stream]))}."
        )
    for group in REQUIRED[stream]:
        if not any(name in columns for name in group):
            raise FileUnreadable(f"Setting “{setting}” has no column for {' or '.join(group)}.")
    return columns


def _status_words(value: Any) -> Mapping[str, SourceStatus]:
    words = {status.value: status for status in SourceStatus}
    for word, status in _pairs("status_words", value).items():
        if status not in words:
            raise FileUnreadable(
                f"Setting “status_words” gives “{word}” the status “{status}”; it must be one of "
                f"{', '.join(status.value for status in SourceStatus)}."
            )
        words[word.casefold()] = SourceStatus(status)
    return words


def _pairs(setting: str, value: Any) -> dict[str, str]:
    """A table, or one “name = value” per line, as a dictionary."""
    if not value:
        return {}
    if isinstance(value, Mapping):
        return {str(name).strip(): str(text).strip() for name, text in value.items()}
    pairs: dict[str, str] = {}
    for line in str(value).splitlines():
        if not line.strip():
            continue
        name, sign, text = line.partition("=")
        if not sign or not name.strip() or not text.strip():
            raise FileUnreadable(f"Setting “{setting}” has the line “{line.strip()}”; it must read “name = value”.")
        pairs[name.strip()] = text.strip()
    return pairs


def _words(value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else list(value or ())
    return tuple(str(part).strip() for part in parts if str(part).strip())


def _whole(setting: str, value: Any, *, least: int) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = least - 1
    if number < least:
        raise FileUnreadable(f"Setting “{setting}” is “{value}”; it must be a whole number of at least {least}.")
    return number


def _flag(setting: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in ("true", "yes", "on", "1"):
        return True
    if text in ("false", "no", "off", "0", ""):
        return False
    raise FileUnreadable(f"Setting “{setting}” is “{value}”; it must be true or false.")
