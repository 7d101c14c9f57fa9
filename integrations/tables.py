"""The tables of operations: what arrived, what was read, how connections fare, which files came by hand."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from integrations import standing
from portal import figures
from portal.models import Connection
from portal.screens import MainColumn, NumberColumn, StateColumn, Table, TextColumn, WhenColumn
from portal.screens.tables import Column

MESSAGE_TONES = {"new": "info", "done": "good", "superseded": "", "ignored": "", "failed": "bad"}
UPLOAD_TONES = {"preview": "info", "filed": "good", "discarded": ""}
SHORT = 160  # characters of a failure in a list; the page has all of it


def _message_second(message: Any) -> str:
    return message.failure[:SHORT] if message.failure else f"revision {message.revision}"


class MessageTable(Table):
    """One message a row."""

    external_id = MainColumn(
        verbose_name="Message", url=lambda row: reverse("inbox_message", args=[row.pk]), second=_message_second
    )
    state = StateColumn(MESSAGE_TONES, accessor="state")
    connection = TextColumn(order_by="connection__code")
    stream = TextColumn()
    kind = TextColumn()
    attempts = NumberColumn()
    received_at = WhenColumn(verbose_name="Received")

    def render_external_id(self, value: Any, record: Any, bound_column: Any) -> SafeString:
        """The source's own id."""
        shown: SafeString = bound_column.column.render(value or f"message {record.pk}", record)
        return shown

    def render_state(self, record: Any) -> SafeString:
        """The state in words."""
        tone = MESSAGE_TONES[record.state]
        return format_html('<span class="state {}">{}</span>', tone, record.get_state_display())

    def value_state(self, record: Any) -> str:
        """The state in words, for an export."""
        return str(record.get_state_display())


class RunStateColumn(Column):
    """How a run went, in words; a silent reader is called stuck."""

    def render(self, value: Any, record: Any) -> SafeString:
        """The state with its tone."""
        words = standing.run_words(record)
        return format_html('<span class="state {}">{}</span>', words.tone, words.label)

    def value(self, value: Any, record: Any) -> str:
        """The words alone."""
        return standing.run_words(record).label


class RunTable(Table):
    """One run a row."""

    stream = MainColumn(
        verbose_name="Run",
        url=lambda row: reverse("run", args=[row.pk]),
        second=lambda row: (
            row.failure[:SHORT] or f"{row.get_trigger_display()}{f' by {row.requested_by}' if row.requested_by else ''}"
        ),
    )
    state = RunStateColumn()
    started_at = WhenColumn(verbose_name="Started")
    duration = NumberColumn(empty_values=(), orderable=False)
    read = NumberColumn()
    filed = NumberColumn(verbose_name="New", strong=True)
    repeated = NumberColumn(verbose_name="Known")
    gone = NumberColumn(verbose_name="Gone")

    def render_stream(self, value: Any, record: Any, bound_column: Any) -> SafeString:
        """Connection and stream, linked."""
        shown: SafeString = bound_column.column.render(f"{record.connection} · {value}", record)
        return shown

    def value_stream(self, value: Any, record: Any) -> str:
        """Connection and stream."""
        return f"{record.connection} · {value}"

    def render_duration(self, record: Any) -> str:
        """How long it took, or has taken."""
        return took(record)

    def value_duration(self, record: Any) -> Any:
        """Seconds, empty while it runs."""
        return int((record.finished_at - record.started_at).total_seconds()) if record.finished_at else None


def took(run: Any) -> str:
    """How long a run took; a dash while it runs."""
    return figures.span(run.finished_at - run.started_at) if run.finished_at else figures.UNKNOWN


class UploadTable(Table):
    """One uploaded file a row."""

    name = MainColumn(
        verbose_name="File",
        url=lambda row: reverse("upload", args=[row.pk]),
        second=lambda row: f"{row.connection} · {row.stream}",
        drawer=False,
    )
    state = StateColumn(UPLOAD_TONES, accessor="state")
    rows_read = NumberColumn(accessor="rows", verbose_name="Rows")
    problems = NumberColumn(verbose_name="Unreadable", orderable=False)
    uploaded_by = TextColumn(verbose_name="By")
    uploaded_at = WhenColumn(verbose_name="Uploaded")

    def render_state(self, record: Any) -> SafeString:
        """The state in words."""
        return format_html('<span class="state {}">{}</span>', UPLOAD_TONES[record.state], record.get_state_display())

    def value_state(self, record: Any) -> str:
        """The state in words, for an export."""
        return str(record.get_state_display())

    def render_problems(self, record: Any) -> str:
        """How many rows cannot be read."""
        return figures.number(len(record.problems))

    def value_problems(self, record: Any) -> int:
        """How many rows cannot be read."""
        return len(record.problems)


def roles_in_words(connection: Connection) -> str:
    """What the connection is used for."""
    words = [
        word
        for word, on in (
            ("source", connection.is_source), ("target", connection.is_target), ("recipient", connection.is_recipient),
            ("biller", connection.is_biller),
        )
        if on
    ]  # fmt: skip
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:]))) or "not used"


def _connection_second(connection: Connection) -> str:
    owner = connection.entity.code if connection.entity else "all entities"
    return f"{connection.connector} · {owner} · {roles_in_words(connection)}"


class HealthColumn(Column):
    """How the connection fares, with the reason under it."""

    css = "text"

    def render(self, value: Any, record: Any) -> SafeString:
        """The word, and the sentence behind it when there is one."""
        health = standing.health(record)
        word = format_html('<span class="state {}">{}</span>', health.tone, health.label)
        return word if not health.sentence else format_html("{}<small>{}</small>", word, health.sentence[:SHORT])

    def value(self, value: Any, record: Any) -> str:
        """The word alone."""
        return standing.health(record).label


class ConnectionTable(Table):
    """One connection a row. `waiting` is what its reader sees of its queue: `ConnectionsScreen.tell` puts it on the rows."""

    name = MainColumn(
        verbose_name="Connection",
        url=lambda row: reverse("connection", args=[row.code]),
        second=_connection_second,
        drawer=False,
    )
    health = HealthColumn(empty_values=(), orderable=False, accessor="pk")
    succeeded = WhenColumn(empty_values=(), orderable=False, verbose_name="Last success")
    due = WhenColumn(empty_values=(), orderable=False, verbose_name="Next read")
    queue = NumberColumn(empty_values=(), orderable=False, verbose_name="Queue")
    oldest = TextColumn(empty_values=(), orderable=False)

    def render_succeeded(self, record: Any) -> Any:
        """When it last answered well."""
        return figures.moment(standing.last_success(record))

    def value_succeeded(self, record: Any) -> datetime | None:
        """The moment itself."""
        return standing.last_success(record)

    def render_due(self, record: Any) -> Any:
        """When it is read next."""
        return figures.moment(standing.next_due(record)) if record.is_source else figures.UNKNOWN

    def value_due(self, record: Any) -> datetime | None:
        """The moment itself."""
        return standing.next_due(record)

    def render_queue(self, record: Any) -> str:
        """How many entries are under way to it."""
        return figures.number(record.waiting.total) if record.is_target else figures.UNKNOWN

    def value_queue(self, record: Any) -> int | None:
        """The number itself."""
        return record.waiting.total if record.is_target else None

    def render_oldest(self, record: Any) -> str:
        """How long the oldest of them has been where it is."""
        return figures.age(record.waiting.oldest)

    def value_oldest(self, record: Any) -> datetime | None:
        """Since when."""
        oldest: datetime | None = record.waiting.oldest
        return oldest
