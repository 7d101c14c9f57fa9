"""The broker of a trial: kombu's directory of messages, made safe for several processes.

A message appears under its name only when it is whole, so that no reader takes half of one. Messages are hints: losing
the directory loses seconds, never work.
"""

from __future__ import annotations

import os
import time
import uuid
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps, loads

SUFFIX = ".msg"


class Channel(filesystem.Channel):
    """Publishes and takes a message by renaming it, which a file system does at once or not at all."""

    def _put(self, queue: str, payload: Any, **_kwargs: Any) -> None:  # type: ignore[override] # kombu names it twice
        name = f"{round(time.monotonic() * 1000)}_{uuid.uuid4()}.{queue}{SUFFIX}"
        partial = Path(self.data_folder_out) / f".{name}.partial"
        partial.write_text(dumps(payload))
        partial.rename(partial.with_name(name))

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        waiting = Path(self.data_folder_in)
        for name in sorted(os.listdir(waiting)):
            if name.partition(".")[2] != f"{queue}{SUFFIX}":
                continue
            taken = Path(self.processed_folder) / name
            try:
                (waiting / name).rename(taken)
            except FileNotFoundError:  # another worker was faster
                continue
            message = loads(taken.read_text())
            taken.unlink()
            return message
        raise Empty


class Transport(filesystem.Transport):
    """kombu's filesystem transport with our channel."""

    Channel = Channel


def options(directory: Path) -> dict[str, Any]:
    """What Celery needs as broker_transport_options to keep its messages in `directory`."""
    for part in ("messages", "control", "taken"):
        (directory / part).mkdir(parents=True, exist_ok=True)
    return {
        "data_folder_in": str(directory / "messages"),
        "data_folder_out": str(directory / "messages"),
        "control_folder": str(directory / "control"),
        "processed_folder": str(directory / "taken"),
        "polling_interval": 0.2,  # seconds
    }


def forget(directory: Path) -> None:
    """Delete every message, waiting or half taken: the sweeper makes new hints."""
    for part in ("messages", "taken"):
        for file in (directory / part).iterdir():
            file.unlink(missing_ok=True)


def oldest_message_seconds(directory: Path) -> float | None:
    """Age of the oldest message that nobody has taken yet; None when none waits."""
    ages = []
    for file in (directory / "messages").glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError):  # taken meanwhile
            ages.append(time.time() - file.stat().st_mtime)
    return max(ages, default=None)
