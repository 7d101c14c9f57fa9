"""`manage.py import_master_data DIR`: load a folder of CSV files, whole or not at all."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from portal.importing import files
from portal.importing.domains import KNOWN, TABLES
from portal.importing.load import Load, run
from portal.importing.problems import Refused
from portal.models import User


class Command(BaseCommand):
    """Load master data from CSV files, one per table; docs/configuration.md describes each."""

    help = "Load master data from a folder of CSV files, one per table (docs/configuration.md), whole or not at all."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The folder, and how the load is recorded."""
        parser.add_argument("folder", metavar="DIR", type=Path)
        parser.add_argument("--dry-run", action="store_true", help="show the same numbers and write nothing")
        parser.add_argument("--reason", default="", help="kept with the history of every row")
        parser.add_argument("--by", metavar="USERNAME", default="", help="the person in whose name it is recorded")

    def handle(
        self, *args: Any, folder: Path, dry_run: bool, reason: str, by: str, verbosity: int, **options: Any
    ) -> None:
        """Load, and say what was made, changed and left alone."""
        actor = User.objects.filter(username=by).first() if by else None
        if by and actor is None:
            raise CommandError(f"There is no user “{by}”; name one of those that can sign in.")
        load = Load(TABLES, KNOWN)
        load.is_lenient = True
        files.read(load, folder)
        try:
            result = run(load, reason=reason or f"Imported from {folder.name}", actor=actor, dry_run=dry_run)
        except Refused as refusal:
            for problem in refusal.problems:
                self.stderr.write(str(problem))
            raise CommandError(f"Nothing was loaded: {refusal.counted}, each named above.") from None
        for warning in result.warnings:
            self.stderr.write(f"Warning: {warning}")
        if not verbosity:
            return
        for name, counts in result.counts.items():
            self.stdout.write(f"{name}: {counts}")
        if dry_run:
            self.stdout.write("Dry run: nothing was written.")
        elif not result.changes:
            self.stdout.write("Nothing changed.")
