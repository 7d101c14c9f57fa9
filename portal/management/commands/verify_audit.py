"""`manage.py verify_audit`: the chain of decisions walked now; exit 1 and a sentence for each place where it does not hold."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal import audit
from portal.models import AuditEvent


class Command(BaseCommand):
    """Prove the audit trail."""

    help = "Walks the hash-chained audit events and prints range, result and head digest; exits 1 when the chain is broken."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which part is walked, and a head that was noted before."""
        parser.add_argument(
            "--since", help="first day of the range (UTC), as 2026-10-01; without it from the beginning"
        )
        parser.add_argument("--until", help="last day of the range (UTC); without it to the end")
        parser.add_argument("--head", default="", help="a head digest noted earlier, which must still be in the chain")

    def handle(self, *args: Any, **options: Any) -> None:
        """Walk and print."""
        found = audit.walk(_day(options["since"]), _day(options["until"]), noted=options["head"])
        self.stdout.write(f"range   {_said(found.first)} to {_said(found.last)}")
        self.stdout.write(f"events  {found.events:,}")
        self.stdout.write(f"head    {found.head}")
        self.stdout.write(
            f"result  {'the chain holds' if found.holds else f'BROKEN at {len(found.problems)} place(s)'}"
        )
        for sentence in found.problems:
            self.stdout.write(f"        {sentence}")
        if not found.holds:
            raise SystemExit(1)


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise CommandError(f"“{text}” is no day; write it as 2026-10-01.") from error


def _said(event: AuditEvent | None) -> str:
    return f"event {event.pk} ({event.at:%Y-%m-%d %H:%M:%S} UTC)" if event is not None else "no event"
