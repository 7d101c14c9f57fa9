"""`manage.py deliver [CONNECTION]`: post what is due now, look up what is in doubt, read back what was accepted."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from integrations import outbox
from integrations.outbox import door
from portal.models import Connection


class Command(BaseCommand):
    """One shift at one target, or at each."""

    help = "Delivers what is ready. Prints per target what came of it, and what waits on what."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which target, and how much."""
        parser.add_argument("connection", nargs="?", help="the target's code; every active target when none is given")
        parser.add_argument("--limit", type=int, default=5000, help="entries pushed at most, per target")
        parser.add_argument(
            "--seconds", type=float, default=60.0, help="after which nothing new is claimed, per target"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Deliver and print."""
        targets = Connection.objects.filter(is_target=True)
        if code := options["connection"]:
            targets = targets.filter(code=code)
            if not targets.exists():
                known = ", ".join(Connection.objects.filter(is_target=True).values_list("code", flat=True)) or "none"
                raise CommandError(f"There is no target {code!r}; the targets are {known}.")
        for connection in targets:
            lost = outbox.recover(connection.pk)
            told = outbox.deliver(connection.pk, options["limit"], seconds=options["seconds"])
            connection.refresh_from_db()
            queue = outbox.queue(connection)
            self.stdout.write(
                f"{connection.code}: {told.accepted} accepted, {told.proved} posted, {told.rejected} rejected, "
                f"{told.doubted} in doubt, {told.retried} again later, {lost} recovered; "
                f"{queue.due} due, {queue.waiting} waiting, {queue.in_doubt} in doubt, {queue.accepted} not yet read back."
            )
            if queue.door.waits_on:
                until = f" until {queue.door.until:%Y-%m-%d %H:%M:%S %Z}" if queue.door.until else ""
                waits = "slows down" if queue.door.waits_on == door.THROTTLED else "is closed"
                self.stdout.write(f"  The door {waits}{until}: {queue.door.sentence}")
