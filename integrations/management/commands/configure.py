"""`manage.py configure FILE.toml`: entities, periods, connections, routes, policies and people from one file."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from integrations.configuration import document
from integrations.configuration.apply import configure
from portal.importing.problems import Refused
from portal.models import User


class Command(BaseCommand):
    """Apply a configuration file, whole or not at all; docs/configuration.md describes every key."""

    help = "Apply a configuration file (docs/configuration.md), whole or not at all."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The file, and how the change is recorded."""
        parser.add_argument("file", metavar="FILE.toml", type=Path)
        parser.add_argument("--dry-run", action="store_true", help="show the same numbers and write nothing")
        parser.add_argument("--reason", default="", help="kept with the history of every row")
        parser.add_argument("--by", metavar="USERNAME", default="", help="the person in whose name it is recorded")

    def handle(
        self, *args: Any, file: Path, dry_run: bool, reason: str, by: str, verbosity: int, **options: Any
    ) -> None:
        """Apply, and say what was made, changed and left alone."""
        actor = User.objects.filter(username=by).first() if by else None
        if by and actor is None:
            raise CommandError(f"There is no user “{by}”; name one of those that can sign in.")
        try:
            result = configure(
                document.read(file), reason=reason or f"Configured from {file.name}", actor=actor, dry_run=dry_run
            )
        except Refused as refusal:
            for problem in refusal.problems:
                self.stderr.write(str(problem))
            raise CommandError(f"Nothing was changed: {refusal.counted}, each named above.") from None
        for warning in result.warnings:
            self.stderr.write(f"Warning: {warning}")
        if not verbosity:
            return
        for name, counts in result.counts.items():
            self.stdout.write(f"{name}: {counts}")
        for notice in result.notices:
            self.stdout.write(notice)
        if dry_run:
            self.stdout.write("Dry run: nothing was written.")
        elif not result.changes:
            self.stdout.write("Nothing changed.")
