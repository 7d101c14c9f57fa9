"""A real Tryton for the tests: installed, filled and started by them, in an environment of its own.

Tryton is GPL software. It runs beside Tieout as a program of its own; nothing of it is imported. What is installed is pinned in
`requirements.txt`; it comes from whatever index the machine's pip is configured for. The environment and one filled database
are kept in the user's cache under the hash of these files, so that only the first run of a machine pays for them.
"""

from __future__ import annotations

import base64
import fcntl
import gzip
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

HERE = Path(__file__).parent
DATABASE = "erp"
PASSWORDS = {"admin": "admin-canary-pass-1", "sync": "sync-canary-pass-1", "ada": "ada-canary-pass-1"}
_CONFIG = """
[database]
uri = sqlite://
path = {home}

[web]
listen = 127.0.0.1:{port}

[session]
max_age = {max_age}
"""


def environment() -> Path:
    """The environment of the server, installed by whichever process comes first; the others wait for it."""
    return _kept("environment", [HERE / "requirements.txt"], _install)


def firm() -> Path:
    """The filled database, made in the same way; `ids.json` beside it says what is in it."""
    return _kept("firm", [HERE / name for name in ("requirements.txt", "seed.py")], _fill)


def _kept(name: str, made_of: list[Path], make: Callable[[Path], None]) -> Path:
    """A folder of the cache, named by what it is made of. Without its mark it was not finished."""
    digest = hashlib.sha256(sys.version.encode())
    for source in made_of:
        digest.update(source.read_bytes())
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    if not os.access(base if base.exists() else base.parent, os.W_OK):
        base = Path(tempfile.gettempdir())
    home = base / f"tieout-tests-{os.getuid()}" / f"tryton-{name}-{digest.hexdigest()[:16]}"
    home.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (home.parent / f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "made").exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(mode=0o700)
            make(home)
            (home / "made").touch()
    return home


def _install(home: Path) -> None:
    _run([sys.executable, "-m", "venv", home / "venv"])
    pip = [home / "venv/bin/python", "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    _run([*pip, "-r", HERE / "requirements.txt"])


def _fill(home: Path) -> None:
    """Create the database and the firm in it."""
    programs = environment() / "venv/bin"
    config, database = home / "trytond.conf", home / f"{DATABASE}.sqlite"
    config.write_text(_CONFIG.format(home=home, port=0, max_age=86400))
    database.touch()
    (home / "admin").write_text(PASSWORDS["admin"])
    admin = [programs / "trytond-admin", "-c", config, "-d", DATABASE, "--email", "admin@acme.example"]
    _run([*admin, "-u", "project_invoice", "timesheet_cost", "--activate-dependencies"], TRYTONPASSFILE=home / "admin")
    users = {name: PASSWORDS[name] for name in ("sync", "ada")}
    ids = _run([programs / "python", HERE / "seed.py", config, DATABASE, json.dumps(users)])
    with closing(sqlite3.connect(database)) as source:
        source.execute("VACUUM INTO ?", [str(home / "filled.sqlite")])
    (home / "ids.json").write_text(ids.splitlines()[-1])


def _run(command: list[Any], **environment: Any) -> str:
    added = {name: str(value) for name, value in environment.items()}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DJANGO"))}
    done = subprocess.run(
        [str(part) for part in command], check=False, env={**kept, **added}, capture_output=True, text=True, timeout=900
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed while Tryton was set up: {(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


class Refused(ValueError):
    """Tryton said no to somebody in a test; `error` is its answer."""

    def __init__(self, error: list[Any]) -> None:
        super().__init__(str(error)[:2000])
        self.error = error


@dataclass
class Tryton:
    """A running server with its own copy of the firm. `ids` names what the firm was filled with."""

    port: int
    ids: dict[str, Any]
    database: Path
    _sessions: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(self, method: str, *params: Any, login: str = "ada", **context: Any) -> Any:
        """Somebody does something in Tryton; what Tryton refuses fails the test."""
        words = {"company": self.ids["company"], "language": "en", **context}
        if login in self._sessions:
            try:
                return self._rpc(method, [*params, words], self._sessions[login])
            except HTTPError as error:
                if error.code != HTTPStatus.UNAUTHORIZED:  # it ends after five minutes without a call
                    raise
        user, token = self._rpc("common.db.login", [login, {"password": PASSWORDS[login]}, "en"], None)[:2]
        self._sessions[login] = f"{login}:{user}:{token}"
        return self._rpc(method, [*params, words], self._sessions[login])

    def invoice(self, project: int, on: str) -> int:
        """Somebody invoices the hours of a project and posts the invoice; its id."""
        made = self.draft(project)
        self.call("model.account.invoice.write", [made], {"invoice_date": on})
        self.call("model.account.invoice.post", [made])
        return made

    def draft(self, project: int) -> int:
        """Somebody invoices the hours of a project; the id of the draft."""
        known = set(self.call("model.account.invoice.search", [], 0, None, None))
        self.call("model.project.work.invoice", [project])
        [made] = set(self.call("model.account.invoice.search", [], 0, None, None)) - known
        return int(made)

    def pay(self, invoice: int, amount: str, on: str, *, write_off: bool = False) -> None:
        """Somebody books that an invoice was paid; with `write_off` what is left of it is written off."""
        about: dict[str, Any] = {"active_model": "account.invoice", "active_id": invoice, "active_ids": [invoice]}
        session = self.call("wizard.account.invoice.pay.create")[0]
        shown = self.call("wizard.account.invoice.pay.execute", session, {}, "start", **about)["view"]["defaults"]
        decided = {
            **_plain(shown), "amount": {"__class__": "Decimal", "decimal": amount}, "payment_method": self.ids["method"],
            "date": on,
        }  # fmt: skip
        told = self.call("wizard.account.invoice.pay.execute", session, {"start": decided}, "choice", **about)
        if told.get("view"):
            ask = {**_plain(told["view"]["defaults"]), "type": "partial"}
            if write_off:
                ask |= {"type": "writeoff", "writeoff": self.ids["write_off"]}
            self.call("wizard.account.invoice.pay.execute", session, {"start": decided, "ask": ask}, "pay", **about)
        self.call("wizard.account.invoice.pay.delete", session)

    def credit(self, invoice: int, on: str, *, refund: bool = False) -> int:
        """Somebody credits an invoice, and with `refund` settles it by that; the id of the credit note."""
        about: dict[str, Any] = {"active_model": "account.invoice", "active_id": invoice, "active_ids": [invoice]}
        session = self.call("wizard.account.invoice.credit.create")[0]
        self.call("wizard.account.invoice.credit.execute", session, {}, "start", **about)
        decided = {"with_refund": refund, "with_refund_allowed": refund, "invoice_date": on}
        told = self.call("wizard.account.invoice.credit.execute", session, {"start": decided}, "credit", **about)
        self.call("wizard.account.invoice.credit.delete", session)
        made = int(told["actions"][0][1]["res_id"][0])
        if not refund:
            self.call("model.account.invoice.post", [made])
        return made

    def cancel_payment(self, line: int) -> None:
        """Somebody takes back a payment: its move is cancelled by another one."""
        [row] = self.call("model.account.move.line.read", [line], ["move"])
        about: dict[str, Any] = {"active_model": "account.move", "active_id": row["move"], "active_ids": [row["move"]]}
        session = self.call("wizard.account.move.cancel.create")[0]
        shown = self.call("wizard.account.move.cancel.execute", session, {}, "default", **about)["view"]["defaults"]
        cancel = ("wizard.account.move.cancel.execute", session, {"default": _plain(shown)}, "cancel")
        try:
            self.call(*cancel, **about)
        except Refused as warned:  # Tryton asks whether one is sure, and is told so
            yes = {"user": int(self._sessions["ada"].split(":")[1]), "name": warned.error[1][0], "always": False}
            self.call("model.res.user.warning.create", [yes])
            self.call(*cancel, **about)
        self.call("wizard.account.move.cancel.delete", session)

    def project(self, name: str, **more: Any) -> dict[str, int]:
        """Somebody opens a project with one task; the ids of both."""
        price = {"__class__": "Decimal", "decimal": "120.0000"}
        shared = {"product": self.ids["product"], "list_price": price, "timesheet_available": True}
        task = {"name": f"{name} task", "type": "task", **shared, **more}
        whole = {
            "name": name, "type": "project", "party": self.ids["parties"]["northwind"], "project_invoice_method": "timesheet",
            **shared, "children": [["create", [task]]],
        }  # fmt: skip
        [project] = self.call("model.project.work.create", [whole])
        [task_id] = self.call("model.project.work.search", [["parent", "=", project]], 0, None, None)
        return {"project": project, "task": task_id}

    def spend(self, work: int, *hours: str, on: str = "2026-10-06") -> list[int]:
        """Somebody writes hours on a project or a task; the ids of the lines."""
        [sheet] = self.call("model.timesheet.work.search", [["origin", "=", f"project.work,{work}"]], 0, None, None)
        line = {"employee": self.ids["people"]["annette"], "work": sheet, "date": on, "company": self.ids["company"]}
        lines = [{**line, "duration": int(Decimal(one) * 3600)} for one in hours]
        found: list[int] = self.call("model.timesheet.line.create", lines)
        return found

    def _rpc(self, method: str, params: list[Any], session: str | None) -> Any:
        headers = {"Content-Type": "application/json"}
        if session:
            headers["Authorization"] = f"Session {base64.b64encode(session.encode()).decode()}"
        body = json.dumps({"id": 1, "method": method, "params": params})
        asked = Request(f"{self.url}/{DATABASE}/rpc/", body.encode(), {**headers, "Accept-Encoding": "gzip"})
        with urlopen(asked, timeout=30) as answer:
            content = answer.read()
            is_packed = answer.headers.get("Content-Encoding") == "gzip"
        told = json.loads(gzip.decompress(content) if is_packed else content)
        if "error" in told:
            raise Refused(told["error"])
        return told.get("result")

    def write(self, statement: str, *values: Any) -> None:
        """Write into the database behind Tryton's back, as a clock or an age would."""
        with closing(sqlite3.connect(self.database, timeout=20)) as books, books:
            books.execute(statement, values)


def _plain(shown: dict[str, Any]) -> dict[str, Any]:
    """The fields of a form, without what was read beside them."""
    return {name: value for name, value in shown.items() if "." not in name}


@contextmanager
def running(scratch: Path, port: int, *, max_age: int = 86400) -> Iterator[Tryton]:
    """Start a server over a fresh copy of the firm, and end it afterwards."""
    home = firm()
    shutil.copy(home / "filled.sqlite", scratch / f"{DATABASE}.sqlite")
    config = scratch / "trytond.conf"
    config.write_text(_CONFIG.format(home=scratch, port=port, max_age=max_age))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DJANGO"))}
    with (scratch / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(environment() / "venv/bin/trytond"), "-c", str(config), "-d", DATABASE],
            env=kept,
            stdout=log,
            stderr=log,
        )
    try:
        server = Tryton(port, json.loads((home / "ids.json").read_text()), scratch / f"{DATABASE}.sqlite")
        _wait_for(server, process, scratch / "log")
        yield server
    finally:
        process.terminate()
        process.wait(20)


def _wait_for(server: Tryton, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError):
            server.call("model.res.user.search_count", [], 0, None)
            return
        time.sleep(0.1)
    raise RuntimeError(f"Tryton did not come up: {log.read_text()[-2000:]}")
