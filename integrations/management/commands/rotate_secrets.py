"""`manage.py rotate_secrets`: seal every kept secret under the first key of TIEOUT_SECRET_RING, or print a new key."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from integrations import vault


class Command(BaseCommand):
    """Put the new key first, run this everywhere it is read, then drop the old one."""

    help = "Seal every kept secret under the first key of TIEOUT_SECRET_RING."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """--new."""
        parser.add_argument("--new", action="store_true", help="print a new key for the ring; change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate, and say what was found."""
        if options["new"]:
            self.stdout.write(vault.new_key())
            return
        try:
            counts = vault.rotate()
        except vault.NoRing as none:
            raise CommandError(str(none)) from none
        self.stdout.write(f"{counts['rotated']} sealed again, {counts['stood']} stood under key {vault.key_id()}.")
        if counts["closed"]:
            raise CommandError(
                f"{counts['closed']} open with no key of the ring: keep the old key in it, or type them again."
            )
