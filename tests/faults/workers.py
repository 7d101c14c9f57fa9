"""Workers as processes of their own, so that they can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connection

from tests.integrations import netsuite_account

SCALE = 0.002  # six minutes are 0.7 seconds
TIMES = {"connect_timeout": "0.5", "read_timeout": "0.3", "total_timeout": "0.4"}


class Nursery:
    """Starts workers as processes of their own."""

    def __init__(self) -> None:
        url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
        environment = {
            **os.environ, "DATABASE_URL": url, "TIEOUT_TIME_SCALE": str(SCALE), "TIEOUT_PROCESS": "command",
            "NETSUITE_KEY": netsuite_account.keys()["PS256"][0],
        }  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=environment, cwd=Path(settings.BASE_DIR),
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline().startswith("ready")

    def work(self, connection_id: int, failpoint: str = "") -> int:
        """Let a worker do a shift; 0, or the signal that ended it. A worker that fails fails the test."""
        return self.work_all([("deliver", connection_id, failpoint)])[0]

    def work_all(self, jobs: Sequence[tuple[str, int, str]]) -> list[int]:
        """Let workers do their jobs side by side (what, its number, where to die); how each ended, once all have."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(jobs) + "\n")
        self._process.stdin.flush()
        ended: list[int] = json.loads(self._process.stdout.readline())
        assert set(ended) <= {0, signal.SIGKILL}, f"workers failed: {list(zip(jobs, ended, strict=True))}"
        return ended

    def close(self) -> None:
        """End the nursery; its workers have ended."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


class Fixers:
    """Workers that work off operations, as processes of their own."""

    def __init__(self) -> None:
        url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.fixer"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "DATABASE_URL": url, "TIEOUT_PROCESS": "command"}, cwd=Path(settings.BASE_DIR),
        )  # fmt: skip
        assert self._answer().startswith("ready")

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def _say(self, line: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._answer()

    def begin(self, operation_id: int, point: str = "-") -> int:
        """Start a worker on an operation; its number."""
        return int(self._say(f"{operation_id} {point}"))

    def ended(self, worker: int) -> int:
        """Wait for a worker; 0, or the signal that ended it, or 1 when it failed."""
        return int(self._say(f"wait {worker}"))

    def close(self) -> None:
        """End the process; its workers have ended."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
