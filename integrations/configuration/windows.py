"""Maintenance windows of a connection. The document's list is the whole list: what is not in it any more is gone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from integrations.configuration.document import Document, TomlPlace, shown
from integrations.models import MaintenanceWindow
from portal.importing import cells
from portal.importing.problems import Unreadable
from portal.importing.tables import Counts
from portal.models import Connection

_WEEKLY = {"weekday", "start", "minutes"}
_ONCE = {"starts_at", "ends_at"}
_COMMON = {"zone", "reason"}
_FIELDS = ("starts_at", "ends_at", "weekday", "start_time", "minutes", "zone", "reason")

Window = tuple[Any, ...]  # the values of _FIELDS


def read(document: Document) -> dict[str, set[Window]]:
    """The windows of every connection that lists some, by its code; mistakes are noted in the document."""
    found: dict[str, set[Window]] = {}
    connections = document.content.get("connections", [])
    for row in connections if isinstance(connections, list) else []:
        if not isinstance(row, Mapping) or "maintenance" not in row or not isinstance(row.get("code"), str):
            continue
        windows: set[Window] = set()
        path = f"connections[{row['code']}].maintenance"
        zone = row.get("zone", "UTC")
        for place, table in document.tables(row["maintenance"], path, _WEEKLY | _ONCE | _COMMON, "name"):
            window = _read(document, place, {"zone": zone, **table})
            if window is not None:
                windows.add(window)
        found[row["code"]] = windows
    return found


def apply(windows: Mapping[str, set[Window]]) -> Counts:
    """Make the windows of each connection those of the document."""
    counts = Counts()
    for connection in Connection.objects.filter(code__in=windows):
        wanted = windows[connection.code]
        standing = {
            tuple(row[1:]): row[0]
            for row in MaintenanceWindow.objects.filter(connection=connection).values_list("pk", *_FIELDS)
        }
        gone = [pk for window, pk in standing.items() if window not in wanted]
        new = [window for window in wanted if window not in standing]
        MaintenanceWindow.objects.filter(pk__in=gone).delete()
        MaintenanceWindow.objects.bulk_create(
            MaintenanceWindow(connection=connection, **dict(zip(_FIELDS, window, strict=True))) for window in new
        )
        counts.created += len(new)
        counts.changed += len(gone)
        counts.unchanged += len(wanted) - len(new)
    return counts


def _read(document: Document, place: TomlPlace, table: Mapping[str, Any]) -> Window | None:
    problems_before = len(document.problems)
    zone = _value(document, place, table, "zone", cells.zone)
    reason = _value(document, place, {"reason": "", **table}, "reason", cells.text)
    if set(table) & _WEEKLY and not set(table) & _ONCE:
        weekday = _value(document, place, table, "weekday", cells.whole(least=1, most=7))
        start = _value(document, place, table, "start", _clock)
        minutes = _value(document, place, table, "minutes", cells.whole(least=1, most=7 * 24 * 60))
        window = (None, None, weekday, start, minutes, zone, reason)
    elif set(table) & _ONCE and not set(table) & _WEEKLY:
        starts_at = _value(document, place, table, "starts_at", _moment(zone))
        ends_at = _value(document, place, table, "ends_at", _moment(zone))
        if starts_at and ends_at and ends_at <= starts_at:
            document.problem(place.at("ends_at"), table["ends_at"], "is not after starts_at.")
        window = (starts_at, ends_at, None, None, None, zone, reason)
    else:
        message = "is neither once (starts_at, ends_at) nor every week (weekday, start, minutes)."
        document.problem(place.at(), "", message)
        return None
    return window if len(document.problems) == problems_before else None


def _value(document: Document, place: TomlPlace, table: Mapping[str, Any], key: str, parse: cells.Parse) -> Any:
    if key not in table:
        document.problem(place.at(key), "", "is missing; a maintenance window needs it.")
        return None
    try:
        return parse(table[key])
    except Unreadable as error:
        document.problem(place.at(key), shown(table[key]), str(error))
        return None


def _clock(value: Any) -> time:
    if isinstance(value, time):
        return value
    try:
        return time.fromisoformat(value)
    except (TypeError, ValueError):
        raise Unreadable("is not a time of day; write it as 02:30.") from None


def _moment(zone: str | None) -> cells.Parse:
    """A moment; without an offset it is a time of the window's zone."""

    def parse(value: Any) -> datetime:
        if not isinstance(value, datetime):
            raise Unreadable("is not a moment; write it as 2026-08-01T22:00:00Z.")
        return (value if value.tzinfo else value.replace(tzinfo=ZoneInfo(zone or "UTC"))).astimezone(UTC)

    return parse
