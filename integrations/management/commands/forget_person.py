"""`manage.py forget_person CODE --by USER --agreed-by USER --reason TEXT`: pseudonymise a person who asked for it."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.management.base import BaseCommand, CommandError

from integrations import forgetting
from portal.models import Resource, User


class Command(BaseCommand):
    """Forget one person."""

    help = "Pseudonymise a person for good; money, keys and digests stay. Two people answer for it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The person, who asks, who agrees, and on what request."""
        parser.add_argument("code", help="code of the person in the master data")
        parser.add_argument("--by", required=True, help="sign-in name of the admin or controller who does it")
        parser.add_argument("--agreed-by", required=True, help="sign-in name of a second one, who agreed to it")
        parser.add_argument("--reason", required=True, help="the request that it follows; kept")

    def handle(self, *args: Any, **options: Any) -> None:
        """Forget the person, or say why not."""
        people = {name: User.objects.filter(username=options[name]).first() for name in ("by", "agreed_by")}
        resource = Resource.objects.filter(code=options["code"]).first()
        if resource is None:
            raise CommandError(f"There is no person “{options['code']}” in the master data.")
        by, agreed_by = people["by"], people["agreed_by"]
        if by is None or agreed_by is None:
            raise CommandError(f"There is no user “{options['by' if by is None else 'agreed_by']}”.")
        try:
            made = forgetting.forget(resource, by=by, agreed_by=agreed_by, reason=options["reason"])
        except (forgetting.NotForgotten, PermissionDenied) as refusal:
            raise CommandError(str(refusal)) from refusal
        told = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in made.counts.items())
        self.stdout.write(f"{options['code']} is {made.pseudonym} from now on: {told}.")
