"""`manage.py bench [NAME …] [--json FILE]`: how fast each step is, against a floor measured in the same run."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from integrations.bench.measure import BENCHES, ROUNDS, Scale, run, table


class Command(BaseCommand):
    """Measure in a scratch database."""

    help = "Measure the pipeline's steps against their floors, in a scratch database that is dropped afterwards."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which benches, how large, where to."""
        parser.add_argument("names", nargs="*", help=f"any of {', '.join(BENCHES)}; all when none is named")
        parser.add_argument("--json", type=Path, help="write the figures to this file")
        parser.add_argument("--scale", type=float, default=1.0, help="1.0 is the size that the goals speak of")
        parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"paired rounds; {ROUNDS} unless told")

    def handle(self, *args: Any, **options: Any) -> None:
        """Measure, print and write."""
        names = list(options["names"]) or list(BENCHES)
        unknown = sorted(set(names) - set(BENCHES))
        if unknown:
            raise CommandError(f"There is no bench “{unknown[0]}”; expected any of {', '.join(BENCHES)}.")
        results = run(names, Scale(options["scale"], options["rounds"]), self._say)
        self.stdout.write(table(results))
        if options["json"]:
            figures = {result.name: result.as_json() for result in results}
            options["json"].write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n")

    def _say(self, text: str) -> None:
        self.stderr.write(text)
