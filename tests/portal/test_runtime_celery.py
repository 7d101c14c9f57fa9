"""A hint on its way: from whoever sends it, over a real broker, to a real worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.conf import settings
from django.db import connection

from portal import broker
from portal.celery import QUEUES, app
from portal.models import Heartbeat

SEND = "import django; django.setup(); from portal.tasks import beat_lives; beat_lives.delay()"


def environment(var: Path, redis_url: str) -> dict[str, str]:
    parts = urlsplit(os.environ["DATABASE_URL"])
    here = urlunsplit(parts._replace(path=f"/{connection.settings_dict['NAME']}"))
    return {**os.environ, "DATABASE_URL": here, "TIEOUT_VAR": str(var), "REDIS_URL": redis_url}


@contextmanager
def worker(variables: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "portal.celery",
        "worker",
        "--pool",
        "solo",
        "-Q",
        ",".join(QUEUES),
    ]
    process = subprocess.Popen(command, cwd=settings.BASE_DIR, env=variables, start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def arrives(variables: dict[str, str]) -> bool:
    subprocess.run([sys.executable, "-c", SEND], cwd=settings.BASE_DIR, env=variables, check=True, timeout=60)
    with worker(variables):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if Heartbeat.objects.filter(name="beat").exists():
                return True
            time.sleep(0.1)
    return False


@pytest.mark.django_db(transaction=True)
def test_a_hint_reaches_a_worker_over_redis(redis_url: str, tmp_path: Path) -> None:
    assert arrives(environment(tmp_path, redis_url))


@pytest.mark.django_db(transaction=True)
def test_a_hint_reaches_a_worker_over_the_directory(tmp_path: Path) -> None:
    assert arrives(environment(tmp_path, ""))


def test_celery_keeps_nothing_and_repeats_nothing() -> None:
    assert not app.conf.task_acks_late
    assert app.conf.task_ignore_result
    assert app.conf.worker_prefetch_multiplier == 1
    assert app.conf.accept_content == ["json"]
    assert {queue.name for queue in app.conf.task_queues} == {"post", "pull", "bulk", "report"}


def test_every_scheduled_hint_expires_and_names_a_queue() -> None:
    for entry in app.conf.beat_schedule.values():
        assert entry["options"]["queue"] in QUEUES
        assert entry["options"]["expires"] > 0


@pytest.fixture
def channel(tmp_path: Path) -> broker.Channel:
    from kombu import Connection

    link = Connection("directory://", transport_options=broker.options(tmp_path / "broker"))
    made = link.channel()
    assert isinstance(made, broker.Channel)
    return made


def test_a_reader_never_takes_half_a_message(channel: broker.Channel) -> None:
    total = 300
    taken: list[int] = []

    def send() -> None:
        for number in range(total):
            channel._put("post", {"number": number, "ballast": "x" * 50_000})

    sender = threading.Thread(target=send)
    sender.start()
    deadline = time.monotonic() + 60
    while len(taken) < total and time.monotonic() < deadline:
        with suppress(Empty):
            taken.append(channel._get("post")["number"])
    sender.join()
    assert sorted(taken) == list(range(total))


def test_only_whole_waiting_messages_count_as_late(channel: broker.Channel, tmp_path: Path) -> None:
    directory = tmp_path / "broker"
    assert broker.oldest_message_seconds(directory) is None
    channel._put("pull", {"a": 1})
    message = next((directory / "messages").iterdir())
    assert json.loads(message.read_text()) == {"a": 1}
    os.utime(message, (time.time() - 100, time.time() - 100))
    age = broker.oldest_message_seconds(directory)
    assert age is not None
    assert 99 < age < 110
    broker.forget(directory)
    assert broker.oldest_message_seconds(directory) is None
