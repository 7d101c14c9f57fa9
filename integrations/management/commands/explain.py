"""`manage.py explain ID`: the thread of one document, from its source to what the target says of it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from integrations import standing, thread


class Command(BaseCommand):
    """Tell what became of one hour or expense."""

    help = "Prints everything known of a document, found by any id: its own, an entry's, a receipt's, a key, a bill or a payment."

    def add_arguments(self, parser: CommandParser) -> None:
        """Any id."""
        parser.add_argument(
            "id", help="external id, entry id, receipt number, idempotency key, number of a bill or a payment"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Find and print."""
        documents = thread.find(options["id"])
        if not documents:
            raise CommandError(
                f"Nothing is known under {options['id']!r}; give a document's external id, an entry's id, "
                "a receipt number, an idempotency key, or the number of a bill or a payment."
            )
        for document in documents:
            for line in thread.told(thread.of(document), standing.capabilities):
                self.stdout.write(line)
