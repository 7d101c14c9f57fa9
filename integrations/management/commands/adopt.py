"""`manage.py adopt ENTRY NUMBER --by USER --reason TEXT`: an entry in doubt was booked, under a number that a person found.

The target is asked for that record; only one with the figures that were sent is taken.
"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.management.base import BaseCommand, CommandError

from integrations.errors import ConnectorError
from integrations.outbox import people
from portal import access
from portal.models import LedgerEntry, User


class Command(BaseCommand):
    """Settle one entry in doubt by hand."""

    help = "Take an entry in doubt as booked under a number found in the target, which must confirm the figures."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The entry, the number, who says so and why."""
        parser.add_argument("entry", type=int, help="the ledger entry's id")
        parser.add_argument("number", help="the target's own number of the record")
        parser.add_argument("--by", required=True, help="sign-in name of the analyst or controller who found it")
        parser.add_argument(
            "--reason", required=True, help="how it was found; kept with the entry and in the audit trail"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask the target and adopt, or say why not."""
        user = User.objects.filter(username=options["by"]).first()
        entry = LedgerEntry.objects.filter(pk=options["entry"]).first()
        if user is None or entry is None:
            missing = f"user “{options['by']}”" if user is None else f"ledger entry {options['entry']}"
            raise CommandError(f"There is no {missing}.")
        try:
            access.require(user, access.FIXERS, entry.entity_id)
            people.adopt(entry.pk, options["number"], user, options["reason"])
        except (people.NotConfirmed, PermissionDenied, ConnectorError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Entry {entry.pk} is posted as {options['number']}; the target confirmed it.")
