"""`make run` from the outside: what it starts, what it says when it cannot, and that nothing outlives it."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import override_settings

from portal.management.commands import serve
from portal.probe import is_ready
from portal.supervisor import Supervisor
from tests.conftest import free_port

MANAGE = [sys.executable, "manage.py"]
PATIENCE = 120


def environment(var: Path, **more: str) -> dict[str, str]:
    """The environment of somebody who has set nothing up."""
    foreign = ("DATABASE_URL", "TEST_DATABASE_URL", "SECRET_KEY", "TIEOUT_DEMO", "TIEOUT_PROCESS", "PORT", "HOST")
    return {**{k: v for k, v in os.environ.items() if k not in foreign}, "TIEOUT_VAR": str(var), **more}


def run(var: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MANAGE, *arguments],
        cwd=settings.BASE_DIR,
        env=environment(var, **more),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


class Running(NamedTuple):
    """One `serve` and what it has said so far."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int

    def said(self) -> str:
        return self.log.read_text()

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while text not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)

    def family(self) -> list[psutil.Process]:
        """Itself, everything it started, and the database, which is nobody's child."""
        me = psutil.Process(self.process.pid)
        return [me, *me.children(recursive=True), *postgres_of(self.log.parent / "var")]

    def answers(self, path: str) -> int:
        with urllib.request.urlopen(f"http://localhost:{self.port}{path}", timeout=10) as answer:
            return int(answer.status)


def postgres_of(var: Path) -> list[psutil.Process]:
    pid_file = var / "postgres" / "postmaster.pid"
    return [psutil.Process(int(pid_file.read_text().splitlines()[0]))] if pid_file.exists() else []


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Who still runs; PostgreSQL gives up its pid file a moment before it is gone."""
    psutil.wait_procs(processes, timeout=2)
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def start(directory: Path, *arguments: str) -> Running:
    port = free_port()
    log = directory / f"serve-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*MANAGE, "serve", *arguments],
            cwd=settings.BASE_DIR,
            env=environment(directory / "var", PORT=str(port)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return Running(process, log, port)


@pytest.fixture
def directory(scratch: Path) -> Iterator[Path]:
    yield scratch
    run(scratch / "var", "reset")


def test_a_reader_that_has_seen_enough_ends_a_command_without_a_trace(directory: Path) -> None:
    told = subprocess.Popen(
        [*MANAGE, "help"], cwd=settings.BASE_DIR, env=environment(directory / "var"), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert told.stdout is not None
    assert told.stderr is not None
    told.stdout.close()
    assert told.stderr.read() == ""
    assert told.wait(PATIENCE) == 1


@pytest.mark.slow
def test_everything_starts_recovers_and_ends_and_the_data_stays(directory: Path) -> None:
    first = start(directory, "--empty")
    first.wait_for("Tieout is ready")
    assert "Creating the database" in first.said()
    assert first.answers("/health/live") == first.answers("/health/ready") == 200
    first.wait_for("Nobody can sign in yet")
    first.wait_for(f"the data stays in {directory / 'var'}")

    second = run(directory / "var", "serve", "--empty", PORT=str(free_port()))
    assert second.returncode == 1
    assert f"Tieout already runs from this directory (process {first.process.pid})" in second.stderr

    web = next(each for each in first.family() if "granian" in " ".join(each.cmdline()))
    web.kill()
    first.wait_for("The web server ended (signal 9")
    deadline = time.monotonic() + PATIENCE
    while not is_ready("127.0.0.1", first.port):
        assert time.monotonic() < deadline, first.said()
        time.sleep(0.2)

    family = first.family()
    assert len(family) >= 8  # itself, web and its worker, Celery and its three, beat, PostgreSQL
    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(PATIENCE) == 0
    assert alive(family) == []
    assert not (directory / "var" / "serve.json").exists()

    again = start(directory, "--empty")
    again.wait_for("Tieout is ready")
    assert "Creating" not in again.said()
    family = again.family()
    done = run(directory / "var", "reset")
    assert done.returncode == 0, done.stderr
    assert again.process.wait(PATIENCE) == 0
    assert alive(family) == []
    assert not (directory / "var").exists()


@pytest.mark.slow
def test_what_a_killed_run_left_behind_is_ended_by_the_next_reset(directory: Path) -> None:
    running = start(directory, "--empty")
    running.wait_for("Tieout is ready")
    family = running.family()
    running.process.kill()
    running.process.wait(PATIENCE)
    assert any(each.is_running() for each in family)
    done = run(directory / "var", "reset")
    assert done.returncode == 0, done.stderr
    assert alive(family) == []


def test_a_start_beside_one_that_has_recorded_nothing_yet_gets_one_sentence(directory: Path) -> None:
    (directory / "var").mkdir()
    with (directory / "var" / "serve.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = run(directory / "var", "serve", "--empty", PORT=str(free_port()))
    assert done.returncode == 1
    assert "Tieout is being started from this directory already" in done.stderr
    assert not (directory / "var" / "postgres").exists()


def test_a_port_in_use_gets_one_sentence(directory: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = run(directory / "var", "serve", PORT=str(port))
    assert done.returncode == 1
    assert done.stderr == (
        f"CommandError: Port {port} is in use; choose another one, for example: make run PORT={port + 1}\n"
    )
    assert not (directory / "var" / "postgres").exists()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"PORT": "eighty"}, "PORT is 'eighty'; it must be a number from 1 to 65535."),
        (
            {"DATABASE_URL": "postgres://somebody:secret@127.0.0.1:1/firm"},
            "The database of DATABASE_URL cannot be reached",
        ),
        ({"REDIS_URL": "redis://:secret@127.0.0.1:1/0"}, "The Redis of REDIS_URL cannot be reached"),
    ],
)
def test_what_cannot_be_reached_gets_one_sentence_without_its_password(
    directory: Path, more: Mapping[str, str], sentence: str
) -> None:
    done = run(directory / "var", "serve", **{"PORT": str(free_port()), **more})
    assert done.returncode == 1
    assert done.stderr.startswith(f"CommandError: {sentence}")
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr + done.stdout


@pytest.fixture
def signals() -> Iterator[None]:
    """`serve` takes the signals of the process; the tests' own process has them back afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_a_full_disk_gets_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**12, 10**12, 3_000_000))
    with (
        override_settings(VAR_DIR=tmp_path),
        pytest.raises(CommandError, match="has 3 MB left and Tieout needs 500 MB"),
    ):
        call_command("serve", port=str(free_port()))


@pytest.mark.usefixtures("signals")
def test_a_disk_that_fills_up_meanwhile_gets_the_same_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_self: serve.Command) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(serve.Command, "_start_database", full)
    with override_settings(VAR_DIR=tmp_path), pytest.raises(CommandError, match="make room, or put its data elsewhere"):
        call_command("serve", port=str(free_port()))


def test_a_sandbox_whose_port_another_took_meanwhile_is_not_taken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = serve.Command()
    command.stop = threading.Event()
    command.supervisor = Supervisor(tmp_path / "serve.json", lambda _: None)
    monkeypatch.setenv("TIEOUT_SANDBOX_URL", "")
    with socket.socket() as other, override_settings(VAR_DIR=tmp_path, SANDBOX_URL=""):
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setattr(serve, "_sandbox_port", lambda _: other.getsockname()[1])
        with pytest.raises(CommandError, match=r"The vendor sandbox did not start: .*Address already in use"):
            command._start_sandbox()
    command.supervisor.end(1)
    assert not (tmp_path / "sandbox.port").exists(), "the next start looks for another port"


def test_making_the_tables_tells_how_far_it_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(serve, "STEPS_SECONDS", 0)
    steps = serve._Steps(108, said.append)
    for text in ("  Applying portal.0001_initial...", " OK\n", "  Applying portal.0002_evidence...", " OK\n"):
        steps.write(text)
    assert said[-1] == "Creating the tables: 2 of 108 …"
