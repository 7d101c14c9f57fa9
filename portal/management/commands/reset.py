"""Starting over: end what runs from this checkout's var/ and delete it."""

from __future__ import annotations

import shutil
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from portal.database import EmbeddedServer
from portal.supervisor import end_recorded


class Command(BaseCommand):
    """`manage.py reset`, which `make reset` calls. A database of DATABASE_URL is left as it is."""

    help = "End the Tieout that runs from this directory and delete its data (var/)."
    requires_system_checks = []

    def handle(self, **_options: Any) -> None:
        """End, stop, delete; in this order."""
        directory = settings.VAR_DIR
        ended = end_recorded(directory / "serve.json")
        EmbeddedServer(directory / "postgres").remove()
        shutil.rmtree(directory, ignore_errors=True)
        self.stdout.write(f"Ended {ended} processes and deleted {directory}." if ended else f"Deleted {directory}.")
