"""Other processes of a measurement: the product's own servers and workers on the scratch database, and the stand-ins.

The rule here: what drives or answers a measured process never runs inside it, so that its CPU is counted as nobody's but its
own. Everything listens on loopback and ends with the block that started it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings
from django.db import connection

START_SECONDS = 60.0
END_SECONDS = 15.0


class DidNotStart(RuntimeError):
    """A process of the measurement ended or stayed silent; the message holds the end of its log."""


def database_url() -> str:
    """The address of the database that this process is connected to, for a child."""
    told = connection.settings_dict
    options = {
        name: value for name, value in told.get("OPTIONS", {}).items() if name not in ("options", "application_name")
    }
    who = quote(str(told["USER"]), safe="")
    if told["PASSWORD"]:
        who += f":{quote(str(told['PASSWORD']), safe='')}"
    where = f"{told['HOST']}:{told['PORT']}" if told["PORT"] else str(told["HOST"])
    return f"postgres://{who}@{where}/{told['NAME']}?{urlencode(options)}"


def plain_dsn() -> str:
    """The same database as psycopg takes it by itself."""
    return database_url().replace("postgres://", "postgresql://", 1)


@contextmanager
def directory() -> Iterator[Path]:
    """A directory of the measurement's own."""
    path = Path(tempfile.mkdtemp(prefix="tieout-bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def environment(var: Path, kind: str, **more: str) -> dict[str, str]:
    """What a process of the product is told: the scratch database, a directory for its hints, and what it may reach."""
    return {
        **os.environ,
        "DATABASE_URL": database_url(),
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "SECRET_KEY": settings.SECRET_KEY,
        "TIEOUT_DEMO": "1",
        "TIEOUT_ALLOW_LOOPBACK": "1",
        "TIEOUT_PROCESS": kind,
        "TIEOUT_VAR": str(var),
        "LOG_LEVEL": "WARNING",
        **more,
    }


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(
    module: str, *arguments: str, log: Path, env: Mapping[str, str] | None = None, ready: Callable[[], bool]
) -> Iterator[subprocess.Popen[bytes]]:
    """A Python module as a process of its own, from the moment that it is ready. Raises DidNotStart."""
    with log.open("ab") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], cwd=settings.BASE_DIR, env=dict(env or os.environ),
            stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise DidNotStart(f"{module} did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and whatever it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
            return


@contextmanager
def web_server(var: Path, **more: str) -> Iterator[int]:
    """The product's web server with the arguments that `manage.py serve` gives it; yields its port."""
    port = free_port()
    arguments = (
        "portal.wsgi:application", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--no-ws",
        "--blocking-threads", "8", "--backlog", "2048", "--respawn-failed-workers",
    )  # fmt: skip
    with running(
        "granian", *arguments, log=var / "web.log", env=environment(var, "web", **more), ready=lambda: listens(port)
    ):
        yield port


@contextmanager
def stand_in(var: Path, kind: str, **told: Any) -> Iterator[int]:
    """A minimal stand-in of `integrations.bench.standins`; yields its port."""
    port = free_port()
    arguments = (kind, "--port", str(port), "--told", json.dumps(told))
    with running("integrations.bench.standins", *arguments, log=var / f"{kind}.log", ready=lambda: listens(port)):
        yield port


def aside(module: str, job: Mapping[str, Any], env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Do a job in a process of its own: JSON in, JSON out. Raises DidNotStart with what it said where it failed."""
    done = subprocess.run(
        [sys.executable, "-m", module], cwd=settings.BASE_DIR, input=json.dumps(job), text=True,
        env=dict(env or os.environ), capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise DidNotStart(f"{module} failed: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
