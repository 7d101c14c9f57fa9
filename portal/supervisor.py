"""The child processes of a trial: started, watched, started again when they end, and all ended together.

Every child leads a process group of its own. So the terminal's Ctrl-C reaches only us, and ending a group ends whatever
the child started itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

LONGEST_WAIT = 30.0  # seconds between two starts of a child that keeps ending
STEADY = 60.0  # seconds after which a child counts as well
LOG_LIMIT = 10_000_000  # bytes; a longer log starts over


@dataclass
class Child:
    """One program that runs as long as we do."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    failures: int = 0
    started: float = 0.0
    start_again: float = 0.0

    def start(self) -> None:
        """Start it in a process group of its own, writing to its log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        mode = "wb" if self.log.exists() and self.log.stat().st_size > LOG_LIMIT else "ab"
        with self.log.open(mode) as log:
            self.process = subprocess.Popen(
                self.command,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started = time.monotonic()

    def listens(self, port: int) -> bool:
        """Whether it, or a process that it started, takes connections at a port; another program's listening is not its."""
        with suppress(psutil.NoSuchProcess):
            leader = psutil.Process(self.process.pid) if self.process else None
            family = [leader, *leader.children(recursive=True)] if leader else []
            sockets = [each for process in family for each in process.net_connections("tcp")]
            return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in sockets)
        return False

    def last_line(self) -> str:
        """The last thing it wrote, for people."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else "it wrote nothing"


@dataclass
class Supervisor:
    """Some children, the record of who they are, and one way to tell people."""

    record: Path  # who we are and who our children are, for `reset` and for the next start
    say: Callable[[str], None]
    children: list[Child] = field(default_factory=list)

    def add(self, child: Child) -> None:
        """Start a child and watch it from now on."""
        child.start()
        self.children.append(child)
        self._write_record()

    def watch(self) -> None:
        """Start again what has ended, later each time it ends soon."""
        now = time.monotonic()
        for child in self.children:
            if child.process is None:
                if now >= child.start_again:
                    child.start()
                    self._write_record()
            elif (code := child.process.poll()) is not None:
                _signal_group(child.process.pid, signal.SIGKILL)
                child.failures = 1 if now - child.started > STEADY else child.failures + 1
                wait = min(2.0 ** (child.failures - 1), LONGEST_WAIT)
                child.process, child.start_again = None, now + wait
                self.say(
                    f"The {child.name} ended ({_how(code)}: {child.last_line()[:200]}); it starts again in {wait:.0f} s. "
                    f"Its log is {child.log}."
                )

    def end(self, grace: float) -> None:
        """End every child: ask all at once, wait up to `grace` seconds, then end what is left of each group."""
        running = [child.process for child in self.children if child.process is not None]
        for process in running:
            with suppress(ProcessLookupError):
                process.terminate()
        deadline = time.monotonic() + grace
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(deadline - time.monotonic(), 0.0))
        for process in running:
            _signal_group(process.pid, signal.SIGKILL)
            process.wait()
        self.children.clear()
        self.record.unlink(missing_ok=True)

    def _write_record(self) -> None:
        processes = [child.process.pid for child in self.children if child.process is not None]
        content = {"serve": _identity(os.getpid()), "children": [_identity(pid) for pid in processes]}
        partial = self.record.with_suffix(".partial")
        partial.write_text(json.dumps(content))
        partial.rename(self.record)


def running_serve(record: Path) -> int | None:
    """The process id of the `serve` that wrote this record, if it still runs."""
    return next((pid for name, pid in _recorded(record) if name == "serve"), None)


def end_recorded(record: Path, grace: float = 45.0) -> int:
    """End what still runs of an earlier `serve`: itself first, which ends its children, then orphans. Returns how many."""
    ended = 0
    pid = running_serve(record)
    if pid is not None:
        process = psutil.Process(pid)
        process.terminate()
        with suppress(psutil.TimeoutExpired):
            process.wait(grace)
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            process.kill()
        ended += 1
    for _, child in _recorded(record):
        _signal_group(child, signal.SIGKILL)
        ended += 1
    record.unlink(missing_ok=True)
    return ended


def _recorded(record: Path) -> Iterator[tuple[str, int]]:
    """The recorded processes that still run and are the same ones: a process id alone may be somebody else's by now."""
    with suppress(FileNotFoundError, json.JSONDecodeError):
        content = json.loads(record.read_text())
        for name, identity in [("serve", content["serve"]), *(("child", each) for each in content["children"])]:
            if identity is not None and _identity(identity[0]) == tuple(identity):
                yield name, identity[0]


def _identity(pid: int) -> tuple[int, float] | None:
    """A process and the moment it began; None when it no longer runs."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return pid, process.create_time()
    except psutil.NoSuchProcess:
        return None


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
