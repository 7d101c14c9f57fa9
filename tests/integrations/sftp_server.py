"""A real sshd for the tests, run by the tests' own user, and a wire in front of it that can be cut."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import pytest

from integrations.protocol import Account

_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {home}/host_key
AuthorizedKeysFile {home}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True)
class Server:
    """A running sshd."""

    home: Path
    port: int

    @property
    def host_key(self) -> str:
        return (self.home / "host_key.pub").read_text().strip()

    @property
    def private_key(self) -> str:
        return (self.home / "user_key").read_text()

    def account(self, folder: Path, *, port: int | None = None, **settings: Any) -> Account:
        """An account on a folder of this machine, by way of the server."""
        return Account(
            code="files-de",
            base_url=f"sftp://127.0.0.1:{port or self.port}{quote(str(folder))}",
            zone="Europe/Berlin",
            settings={"user": getpass.getuser(), "host_key": self.host_key, "read_timeout": 2, **settings},
            secrets={"private_key": self.private_key},
        )


@contextmanager
def running(home: Path) -> Iterator[Server]:
    """Start sshd with fresh keys and end it afterwards. Where there is none the test is skipped, but never in CI."""
    sshd = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if sshd is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no sshd on this machine")
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / name], check=True)
    shutil.copy(home / "user_key.pub", home / "authorized_keys")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd's own empty folder, which a service would have made
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (home / "config").write_text(_CONFIG.format(port=port, home=home))
    with (home / "log").open("wb") as log:
        process = subprocess.Popen([sshd, "-D", "-e", "-f", home / "config"], stderr=log)
    try:
        _wait_for(port, process, home / "log")
        yield Server(home, port)
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    pytest.fail(f"sshd did not come up: {log.read_text()[-500:]}")


@dataclass
class Wire:
    """What stands between us and the server. It passes bytes on until `cut_after` of them came back, then does its fault."""

    server: Server
    fault: str = ""  # "", "reset" or "silence"
    cut_after: int = 0
    port: int = 0
    _listener: socket.socket = field(default_factory=socket.socket)
    _open: list[socket.socket] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (self._listener, *self._open):
            with suppress(OSError):
                sock.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self.server.port))
                self._open += [near, far]
                threading.Thread(target=self._pass_on, args=(near, far), daemon=True).start()
                threading.Thread(target=self._pass_back, args=(far, near), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)

    def _pass_back(self, source: socket.socket, sink: socket.socket) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(4096):
                passed += len(data)
                if self.fault and passed > self.cut_after:
                    if self.fault == "reset":
                        sink.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        sink.close()
                    return
                sink.sendall(data)
