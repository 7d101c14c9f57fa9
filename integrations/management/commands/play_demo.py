"""`manage.py play_demo --site URL`: what happens in the demo firm after its month was taken in. `serve` plays it once."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from integrations.demo.firm import Month
from integrations.demo.story import play


class Command(BaseCommand):
    """Play the demo firm's story."""

    help = (
        "Let people of the demo firm approve, edit, withdraw and delete in their own tools, as happens after month end."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where the webhooks go."""
        parser.add_argument("--site", required=True, help="where Tieout answers, as http://127.0.0.1:8000")

    def handle(self, *args: Any, **options: Any) -> None:
        """Play it."""
        if not (settings.DEMO and settings.SANDBOX_URL):
            raise CommandError("The story is the demo firm's; `make run` plays it with the vendor sandbox.")
        play(Month.before(timezone.localdate()), settings.SANDBOX_URL, options["site"], self.stdout.write)
