"""`manage.py verify_invariants`: what must always hold, checked now; exit 1 and a sentence for each breach."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from integrations import invariants


class Command(BaseCommand):
    """Check the promises."""

    help = "Checks every invariant on the rows, and asks each target for keys that it holds twice."

    def add_arguments(self, parser: CommandParser) -> None:
        """Whether the targets are asked."""
        parser.add_argument(
            "--offline", action="store_true", help="do not ask the targets; use the statements as last read"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Check and print."""
        broken = 0
        if not options["offline"]:
            for sentence in invariants.not_asked():
                self.stdout.write(f"not asked   {sentence}")
        for invariant, breaches in invariants.verify(live=not options["offline"]):
            broken += len(breaches)
            self.stdout.write(f"{'ok    ' if not breaches else 'BROKEN'} {invariant.code:<4} {invariant.promise}")
            for sentence in breaches:
                self.stdout.write(f"       {sentence}")
        if broken:
            raise SystemExit(1)
