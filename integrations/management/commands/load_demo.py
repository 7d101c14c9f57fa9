"""`manage.py load_demo`: bring the demo firm into this database and its sandbox. `serve` calls it once."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import date
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from integrations.demo.firm import Month
from integrations.demo.load import load


class Command(BaseCommand):
    """Load the demo firm."""

    help = (
        "Bring in the demo firm: last month of four entities, with what usually goes wrong. Needs the vendor sandbox."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which month."""
        parser.add_argument("--month", help="YYYY-MM; the month before today's when not told")

    def handle(self, *args: Any, **options: Any) -> None:
        """Load it."""
        if not settings.DEMO:
            raise CommandError("The demo firm is for a trial; start it with `make run`, which sets TIEOUT_DEMO=1.")
        if not settings.SANDBOX_URL:
            raise CommandError(
                "The demo firm needs the vendor sandbox; `make run` starts it and sets TIEOUT_SANDBOX_URL."
            )
        if options["month"]:
            try:
                month = Month(date.fromisoformat(f"{options['month']}-01"))
            except ValueError as error:
                raise CommandError(f"“{options['month']}” is no month; expected YYYY-MM, as 2026-10.") from error
        else:
            month = Month.before(timezone.localdate())
        load(month, settings.SANDBOX_URL, settings.VAR_DIR / "demo", self.stdout.write)
