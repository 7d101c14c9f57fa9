"""manage.py sync: read sources now and take in what came, in the foreground, with a table of what it was."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from integrations import hints, inbox, streams
from integrations.calls import NoLeave, leave_to_read
from integrations.errors import ConnectorError
from integrations.models import Run, Stream
from portal.models import Connection
from portal.sql import now
from reconciliation import validation

HEADINGS = ("connection", "stream", "outcome", "read", "new", "documents", "failed")


class Command(BaseCommand):
    """Read every stream of one source, or of all, from its cursor."""

    help = "Read sources now and take in what came. Exits with 1 and a sentence for what failed."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Which connection, and whether only what is due."""
        parser.add_argument("connection", nargs="?", default="", help="the code of a connection; empty: every source")
        parser.add_argument("--due", action="store_true", help="only the streams that are due by their schedule")

    def handle(self, *args: Any, **options: Any) -> None:
        """Read, answer, take in, tell."""
        rows: list[tuple[str, ...]] = []
        troubles: list[str] = []
        for connection, chosen in self._chosen(options["connection"], due_only=options["due"]):
            leave = leave_to_read(connection)
            if isinstance(leave, NoLeave):
                troubles.append(f"{connection.code} was not read: {leave.reason}.")
                continue
            rows.extend(self._read(connection, stream, troubles) for stream in chosen)
        while validation.follow_changes():
            pass
        self._table(rows)
        if troubles:
            raise CommandError(" ".join(troubles))

    def _chosen(self, code: str, *, due_only: bool) -> list[tuple[Connection, list[Stream]]]:
        connections = Connection.objects.filter(is_source=True, is_active=True).order_by("code")
        if code:
            connections = connections.filter(code=code)
            if not connections:
                known = ", ".join(Connection.objects.filter(is_source=True).values_list("code", flat=True)) or "none"
                raise CommandError(f"There is no active source {code!r}; the sources are {known}.")
        wanted = Stream.objects.filter(next_due_at__lte=now()) if due_only else Stream.objects.all()
        return [(each, list(wanted.filter(connection=each).order_by("id"))) for each in connections]

    def _read(self, connection: Connection, stream: Stream, troubles: list[str]) -> tuple[str, ...]:
        """One stream, and everything of its connection that waits in the inbox."""
        run = streams.pull(stream.pk, Run.Trigger.MANUAL, budget=None)
        taken = inbox.TakenIn()
        try:
            while hints.answer(connection.pk).hints:
                pass
            taken = inbox.take_in_everything(connection.pk)
        except ConnectorError as error:
            troubles.append(f"{connection.code}: {error}")
        if run is None:
            troubles.append(f"{connection.code} {stream.name} is being read by another worker.")
            return (connection.code, stream.name, "busy", "", "", str(taken.documents), str(taken.failed))
        if run.state != Run.State.DONE:
            troubles.append(f"{connection.code} {stream.name}: {run.failure}")
        return (
            connection.code, stream.name, run.get_state_display().lower(), str(run.read), str(run.filed),
            str(taken.documents), str(taken.failed),
        )  # fmt: skip

    def _table(self, rows: list[tuple[str, ...]]) -> None:
        if not rows:
            self.stdout.write("Nothing was due.")
            return
        widths = [max(len(row[column]) for row in (HEADINGS, *rows)) for column in range(len(HEADINGS))]
        for row in (HEADINGS, *rows):
            cells = [
                cell.ljust(width) if column < 3 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            self.stdout.write("  ".join(cells).rstrip())
