"""`manage.py explain_rate PERSON PROJECT DAY`: which rate such hours have, every rate that could have had, and why that one."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal import figures
from portal.models import Connection, Project, Resource, Task
from reconciliation.rates import tester
from reconciliation.rates.tester import Answer


class Command(BaseCommand):
    """Ask pricing without an entry."""

    help = "Prints the agreed rate of a person on a project and day, by the pricing that entries go through; writes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        """Codes and a day."""
        parser.add_argument("person", help="the person's code")
        parser.add_argument("project", help="the project's code")
        parser.add_argument("day", type=date.fromisoformat, help="the work date, as 2026-10-01")
        parser.add_argument("--task", default="", help="the task's code; the project's default without one")
        parser.add_argument("--source", default="", help="the connection that would report the hours")
        parser.add_argument("--hours", type=Decimal, default=Decimal(8))

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask and print."""
        project = self._one(Project, options["project"])
        asked = {"person": self._one(Resource, options["person"]), "project": project, "day": options["day"]}
        task = self._one(Task, options["task"], project=project) if options["task"] else None
        source = self._one(Connection, options["source"]) if options["source"] else None
        try:
            answer = tester.ask(**asked, task=task, source=source, hours=options["hours"])
        except tester.Unanswerable as problem:
            raise CommandError(str(problem)) from None
        for line in _told(answer):
            self.stdout.write(line)

    def _one(self, model: Any, code: str, **more: Any) -> Any:
        found = model.objects.filter(code=code, **more).first()
        if found is None:
            raise CommandError(f"There is no {model._meta.verbose_name} {code!r}.")
        return found


def _told(answer: Answer) -> list[str]:
    draft = answer.draft
    lines = [answer.sentence, *answer.notes]
    if draft.amount is not None and draft.hours is not None:
        lines.append(
            f"{figures.exact(draft.hours)} h are worth {figures.amount(draft.amount, draft.currency)} {draft.currency}."
        )
    for place, one in enumerate(answer.candidates, start=1):
        mark = "wins" if one.wins else "    "
        agreed = one.agreed
        unit = f"{agreed.currency} a {agreed.unit}"
        lines.append(f"{place:>3}. {mark}  {agreed.version}, {tester.named(draft, agreed)}: "
                     f"{figures.exact(agreed.agreed_amount)} {unit}. {one.reason}")  # fmt: skip
    lines += [
        f"  -        {one.agreed.version}, {tester.named(draft, one.agreed)}: {figures.exact(one.agreed.agreed_amount)} "
        f"{one.agreed.currency} a {one.agreed.unit}. {one.reason}"
        for one in answer.missed
    ]
    return lines
