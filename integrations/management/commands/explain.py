"""`manage.py explain ID`: the thread of one document or milestone, from its source to what the target and its bills say of it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from integrations import abilities, thread


class Command(BaseCommand):
    """Tell what became of one hour, expense or milestone."""

    help = (
        "Prints everything known of a document or milestone, found by any id: its own, an entry's, a receipt's, a key, a bill, "
        "a payment, a proposal, a draft or a cause."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Any id."""
        parser.add_argument(
            "id",
            help="external id, entry id, receipt number, idempotency key, code of a milestone, "
            "number of a bill, a payment, a proposal, its draft or a cause (EX-12)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Find and print."""
        documents = thread.find(options["id"])
        milestones = thread.of_milestones(list(thread.milestones_named(options["id"])))
        proposals = list(thread.proposals_told(options["id"]))
        # proposals are told with their drafts
        named = [one for one in thread.bears(options["id"]) if one.kind != "proposal"]
        if not documents and not milestones and not proposals and not named:
            raise CommandError(
                f"Nothing is known under {options['id']!r}; give a document's external id, an entry's id, a receipt number, an "
                "idempotency key, the code of a milestone, or the number of a bill, a payment, a proposal, its draft or a cause."
            )
        for one in named:
            self.stdout.write(str(one))
        for line in proposals:
            self.stdout.write(line)
        for document in documents:
            for line in thread.told(thread.of(document), abilities.capabilities):
                self.stdout.write(line)
        for line in thread.milestones_told(milestones):
            self.stdout.write(line)
