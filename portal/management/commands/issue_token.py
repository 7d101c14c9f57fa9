"""`manage.py issue_token USER --name NAME [--days N] [--decides]`: a token for an outside program, printed once."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from portal import audit, tokens
from portal.models import User


class Command(BaseCommand):
    """Issue an API token."""

    help = "Issue a token for the API. It sees what its user's grants show, reads unless told otherwise, and is printed once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """User, name and life."""
        parser.add_argument("user", help="sign-in name of the (machine) user")
        parser.add_argument("--name", required=True, help="what the token is for")
        parser.add_argument("--days", type=int, default=90, help="how long it holds")
        parser.add_argument("--decides", action="store_true", help="it may decide as its user may, and not only read")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make it and leave an audit event."""
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no user “{options['user']}”; create one with `manage.py configure` first.")
        try:
            with transaction.atomic():
                said = {"days": options["days"], "may_decide": options["decides"]}
                token = tokens.issue(user, options["name"], **said)
                audit.record(None, "token.issued", user, after={"name": options["name"], **said})
        except ValueError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(token)
