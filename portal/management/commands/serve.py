"""Everything of a trial in one command: database, demo firm, vendor sandbox, worker, beat and web server."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import shutil
import signal
import socket
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import redis
from django.conf import settings
from django.core.management import call_command, get_commands
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor

from portal import broker, celery, database, trial
from portal.models import User
from portal.probe import is_ready
from portal.supervisor import Child, Supervisor, end_recorded, running_serve

SANDBOX_PORTS = range(8765, 8865)
SPACE_NEEDED = 500_000_000  # bytes
READY_SECONDS = 120
GRACE_SECONDS = 25.0
REPORT_SECONDS = 60
STEPS_SECONDS = 10


class Command(BaseCommand):
    """`manage.py serve`, which `make run` calls."""

    help = "Run Tieout on this machine: database, sandbox, worker, beat and web server, until interrupted."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the address from the command line or from HOST and PORT."""
        parser.add_argument("--host", default=os.environ.get("HOST") or "127.0.0.1")
        parser.add_argument("--port", default=os.environ.get("PORT") or "8000")
        parser.add_argument("--empty", action="store_true", help="do not load the demo firm into an empty database")

    def handle(self, *, host: str, port: str, empty: bool, **_options: Any) -> None:
        """Run until SIGINT, SIGTERM or SIGHUP, then end everything that was started."""
        self.stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: self.stop.set())
        with _one_sentence():
            self.address = (host, _port_number(port))
            os.environ["SITE_URL"] = settings.SITE_URL = self.url.rstrip("/")
            self.supervisor = Supervisor(settings.VAR_DIR / "serve.json", self.say)
            self._check_machine()
            try:
                self._run(empty=empty)
            finally:
                self.say("Ending …")
                self.supervisor.end(GRACE_SECONDS)
        self.say("Ended.")

    def say(self, text: str) -> None:
        """One line for whoever watches, with the time of day."""
        self.stdout.write(f"{datetime.now().astimezone():%H:%M:%S}  {text}")
        self.stdout.flush()

    @property
    def url(self) -> str:
        """Where the site answers."""
        host, port = self.address
        return f"http://{'localhost' if host == '127.0.0.1' else host}:{port}/"

    def _run(self, *, empty: bool) -> None:
        self._start_database()
        self._migrate()
        has_demo = trial.wants_demo_firm(empty=empty)
        if has_demo:
            self._start_sandbox()
        self._start_web()
        if has_demo:
            self._load_demo_firm()  # its vendors call our webhooks, and nothing is worked on before all of it is there
        self._start_workers()
        self._greet(has_demo=has_demo)
        if has_demo and "play_demo" in get_commands():
            threading.Thread(target=self._play_demo, name="demo story", daemon=True).start()
        self._watch()

    # Before anything is started

    def _check_machine(self) -> None:
        host, port = self.address
        settings.VAR_DIR.mkdir(parents=True, exist_ok=True)
        other = running_serve(self.supervisor.record)
        if other is not None:
            raise CommandError(
                f"Tieout already runs from this directory (process {other}); end it with Ctrl-C there, or `make reset`."
            )
        self._hold_directory()
        end_recorded(self.supervisor.record)
        _check_port(host, port)
        free = shutil.disk_usage(settings.VAR_DIR).free
        if free < SPACE_NEEDED:
            raise CommandError(_disk_sentence(free))
        if settings.REDIS_URL:
            try:
                with closing(redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=5)) as client:
                    client.ping()
            except redis.RedisError as error:
                raise CommandError(
                    f"The Redis of REDIS_URL cannot be reached ({error}); start it or unset it."
                ) from error

    def _hold_directory(self) -> None:
        """Keep a second start out until this process ends, also while nothing of it is recorded yet."""
        self.lock = (settings.VAR_DIR / "serve.lock").open("w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommandError(
                "Tieout is being started from this directory already; end it with Ctrl-C there, or `make reset`."
            ) from error

    # One after another

    def _start_database(self) -> None:
        if "DATABASE_URL" not in os.environ:
            first = not (settings.VAR_DIR / "postgres" / "PG_VERSION").exists()
            self.say("Creating the database …" if first else "Starting the database …")
            os.environ["DATABASE_URL"] = database.ensure()
        try:
            connection.ensure_connection()
        except OperationalError as error:
            reason = str(error).strip().splitlines()[-1]
            raise CommandError(
                f"The database of DATABASE_URL cannot be reached ({reason}); start it or unset it."
            ) from error

    def _migrate(self) -> None:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if plan:
            self.say(f"Creating the tables: {len(plan)} steps …")
            call_command("migrate", interactive=False, verbosity=1, stdout=_Steps(len(plan), self.say))

    def _start_sandbox(self) -> None:
        memory = settings.VAR_DIR / "sandbox.port"
        port = _sandbox_port(memory)
        os.environ["TIEOUT_SANDBOX_URL"] = settings.SANDBOX_URL = f"http://127.0.0.1:{port}"
        self.say(f"Starting the vendor sandbox on port {port} …")
        state = settings.VAR_DIR / "sandbox"
        self._add("vendor sandbox", "integrations.sandbox", "--port", str(port), "--state", str(state))
        self._wait_for(lambda: self._child("vendor sandbox").listens(port), "vendor sandbox")
        memory.write_text(str(port))  # not before: another checkout may have taken it in the same second

    def _load_demo_firm(self) -> None:
        if trial.demo_firm_is_loaded() or "load_demo" not in get_commands():
            return
        self.say("Loading the demo firm …")
        trial.note_demo_firm(loaded=False)
        call_command("load_demo", stdout=self.stdout)
        trial.note_demo_firm(loaded=True)

    def _play_demo(self) -> None:
        """What happens in the demo firm after its month; a story that breaks off is told, and goes on at the next start."""
        host, port = self.address
        try:
            call_command("play_demo", site=f"http://{host}:{port}", stdout=_Lines(self.say))
        except Exception as error:  # noqa: BLE001 - the site goes on without the story
            self.say(f"The demo's story broke off: {type(error).__name__}: {error}")
        finally:
            connection.close()

    def _start_workers(self) -> None:
        if not settings.REDIS_URL:
            broker.forget(settings.BROKER_DIR)
        self.say("Starting the worker and the scheduler …")
        app = ("celery", "-A", "portal.celery")
        self._add(
            "worker",
            *(*app, "worker", "--queues", ",".join(celery.QUEUES), "--concurrency", "3", "--loglevel", "WARNING"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        )
        self._add("scheduler", *app, "beat", "--loglevel", "WARNING", "--pidfile", "")

    def _start_web(self) -> None:
        host, port = self.address
        _check_port(host, port)  # once more: making the tables took its time
        self.say("Starting the web server …")
        self._add(
            "web server",
            *("granian", "portal.wsgi:application", "--interface", "wsgi", "--host", host, "--port", str(port)),
            *("--no-ws", "--blocking-threads", "8", "--backlog", "2048", "--respawn-failed-workers"),
        )
        self._wait_for(lambda: is_ready(host, port) and self._child("web server").listens(port), "web server")

    def _add(self, name: str, module: str, *arguments: str) -> None:
        kind = {"web server": "web", "worker": "worker", "scheduler": "beat"}.get(name, "command")
        environment = {
            "TIEOUT_DEMO": "1",
            "TIEOUT_PROCESS": kind,
            "TIEOUT_VAR": str(settings.VAR_DIR),
            "PYTHONUNBUFFERED": "1",
            "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",  # macOS ends forked workers otherwise
        }
        log = settings.VAR_DIR / "log" / f"{name.replace(' ', '_')}.log"
        self.supervisor.add(Child(name, [sys.executable, "-m", module, *arguments], environment, log))

    def _child(self, name: str) -> Child:
        return next(child for child in self.supervisor.children if child.name == name)

    def _wait_for(self, happened: Any, name: str) -> None:
        """Wait until a child answers. Gives up when it ended, when time is over or when we are told to stop."""
        child = self._child(name)
        deadline = time.monotonic() + READY_SECONDS
        while not happened():
            if self.stop.wait(0.2):
                raise _Interrupted
            if child.process is not None and child.process.poll() is not None:
                raise CommandError(f"The {name} did not start: {child.last_line()} Its log is {child.log}.")
            if time.monotonic() > deadline:
                raise CommandError(f"The {name} did not answer within {READY_SECONDS} s; its log is {child.log}.")

    # Once it runs

    def _greet(self, *, has_demo: bool) -> None:
        self.say(f"Tieout is ready: {self.url}")
        if has_demo:
            for line in trial.sign_in_names():
                self.say(line)
        elif not User.objects.exists():
            self.say(
                "Nobody can sign in yet: name people in a configuration file and load it with `manage.py configure`."
            )
        self.say(f"Ctrl-C ends it; the data stays in {_short(settings.VAR_DIR)} until `make reset`.")

    def _watch(self) -> None:
        progress = trial.Progress()
        next_report = time.monotonic() + REPORT_SECONDS
        while not self.stop.wait(1.0):
            self.supervisor.watch()
            if time.monotonic() >= next_report:
                next_report += REPORT_SECONDS
                self.say(progress.sentence())


class _Interrupted(Exception):
    """Told to stop before everything had started."""


class _Lines(io.TextIOBase):
    """What a command prints, told line by line."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def write(self, text: str) -> int:
        if text.strip():
            self._say(text.strip())
        return len(text)


class _Steps(io.TextIOBase):
    """What `migrate` prints, told as how far it has come."""

    def __init__(self, total: int, say: Callable[[str], None]) -> None:
        self._total, self._say, self._done = total, say, 0
        self._next = time.monotonic() + STEPS_SECONDS

    def write(self, text: str) -> int:
        self._done += text.count("OK")
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + STEPS_SECONDS
            self._say(f"Creating the tables: {self._done} of {self._total} …")
        return len(text)


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Tell people what is wrong in one sentence, and never show them a trace for what is no fault of the code."""
    try:
        yield
    except (_Interrupted, BrokenPipeError):
        return
    except database.DatabaseUnavailable as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise CommandError(_disk_sentence(shutil.disk_usage(settings.VAR_DIR).free)) from error
        raise
    except OperationalError as error:
        if isinstance(error.__cause__, psycopg.errors.DiskFull):
            raise CommandError(_disk_sentence(shutil.disk_usage(settings.VAR_DIR).free)) from error
        raise CommandError(f"The database stopped answering: {str(error).strip().splitlines()[0]}") from error


def _short(directory: Path) -> str:
    """A directory as people call it: from where they stand when it lies there."""
    here = Path.cwd()
    return f"{directory.relative_to(here)}/" if directory.is_relative_to(here) else str(directory)


def _disk_sentence(free: int) -> str:
    return (
        f"The disk that holds {settings.VAR_DIR} has {free // 1_000_000} MB left and Tieout needs "
        f"{SPACE_NEEDED // 1_000_000} MB; make room, or put its data elsewhere with TIEOUT_VAR=DIRECTORY."
    )


def _port_number(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise CommandError(f"PORT is {text!r}; it must be a number from 1 to 65535.")
    return int(text)


def _check_port(host: str, port: int) -> None:
    if not _is_free(host, port):
        raise CommandError(f"Port {port} is in use; choose another one, for example: make run PORT={port + 1}")


def _is_free(host: str, port: int) -> bool:
    """Whether a server could listen there. Raises CommandError when the address itself is not ours."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError as error:
            raise CommandError(f"Port {port} needs the rights of an administrator; choose one above 1023.") from error
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise CommandError(f"Tieout cannot listen on {host}:{port}: {error.strerror}.") from error
    return True


def _sandbox_port(memory: Path) -> int:
    """The port that this checkout's sandbox always has, because the demo firm's connections name it."""
    if memory.exists():
        port = int(memory.read_text())
        if not _is_free("127.0.0.1", port):
            raise CommandError(
                f"Port {port}, which the demo firm's connections name, is in use; end the program that uses it, "
                "or start over with `make reset`."
            )
        return port
    port = next((candidate for candidate in SANDBOX_PORTS if _is_free("127.0.0.1", candidate)), 0)
    if not port:
        raise CommandError(f"No port from {SANDBOX_PORTS[0]} to {SANDBOX_PORTS[-1]} is free for the vendor sandbox.")
    return port
