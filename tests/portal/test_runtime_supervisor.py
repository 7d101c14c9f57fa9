"""The supervisor: a child that ends is started again, later each time, and a group is ended to its last member."""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path

import psutil
import pytest

from portal.supervisor import Child, Supervisor, end_recorded, running_serve

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
time.sleep(600)
"""

LISTENER = """
import socket, time
listening = socket.socket()
listening.bind(("127.0.0.1", 0))
listening.listen()
print(listening.getsockname()[1], flush=True)
time.sleep(600)
"""


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, said: list[str]) -> Supervisor:
    return Supervisor(tmp_path / "serve.json", said.append)


def child(tmp_path: Path, program: str) -> Child:
    return Child("helper", [sys.executable, "-c", program], {}, tmp_path / "helper.log")


def wait_until_ended(one: Child) -> None:
    assert one.process is not None
    one.process.wait(20)


def test_a_child_that_ends_is_started_again_and_people_are_told(
    supervisor: Supervisor, said: list[str], tmp_path: Path
) -> None:
    one = child(tmp_path, "print('out of paper'); raise SystemExit(3)")
    supervisor.add(one)
    wait_until_ended(one)
    supervisor.watch()
    assert said == [
        f"The helper ended (exit code 3: out of paper); it starts again in 1 s. Its log is {tmp_path / 'helper.log'}."
    ]
    supervisor.watch()
    assert one.process is None, "it must not start again at once"
    one.start_again = time.monotonic()
    supervisor.watch()
    wait_until_ended(one)
    supervisor.watch()
    assert "starts again in 2 s" in said[1]
    supervisor.end(1)


def test_a_child_that_will_not_end_is_ended_with_all_it_started(supervisor: Supervisor, tmp_path: Path) -> None:
    one = child(tmp_path, STUBBORN)
    supervisor.add(one)
    while not (text := one.log.read_text()).endswith("\n"):
        time.sleep(0.05)
    grandchild = psutil.Process(int(text))
    supervisor.end(grace=0.3)
    psutil.wait_procs([grandchild], timeout=10)
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE
    assert not supervisor.record.exists()


def test_a_record_names_only_processes_that_are_still_the_same(supervisor: Supervisor, tmp_path: Path) -> None:
    one = child(tmp_path, "import time; time.sleep(600)")
    supervisor.add(one)
    assert one.process is not None
    content = json.loads(supervisor.record.read_text())
    assert running_serve(supervisor.record) == content["serve"][0]
    content["serve"][1] -= 100  # as if the number had been given to another process since
    supervisor.record.write_text(json.dumps(content))
    assert running_serve(supervisor.record) is None
    assert end_recorded(supervisor.record) == 1
    assert one.process.wait(10) == -9


def test_only_a_child_s_own_listening_counts(supervisor: Supervisor, tmp_path: Path) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        one = child(tmp_path, LISTENER)
        assert not one.listens(stranger.getsockname()[1]), "it was not even started"
        supervisor.add(one)
        deadline = time.monotonic() + 20
        while not one.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert one.listens(int(one.log.read_text()))
        assert not one.listens(stranger.getsockname()[1])
        supervisor.end(1)
        assert not one.listens(stranger.getsockname()[1])
