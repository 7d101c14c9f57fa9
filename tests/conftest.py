"""What every test stands on: one embedded PostgreSQL per run, a real Redis and a real Chromium where they are needed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
import psutil
import pytest
import redis

from tests import case_report

if TYPE_CHECKING:
    from portal.database import EmbeddedServer

os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"
os.environ["TIEOUT_PROCESS"] = "command"
os.environ["TIEOUT_DEMO"] = "1"
os.environ["SECRET_KEY"] = "a key for tests only, long enough to be taken for a real one"
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # pytest-playwright keeps an event loop running beside the tests
for name in ("REDIS_URL", "CACHE_URL", "DEBUG"):
    os.environ.pop(name, None)

# Speed for a database that lives as long as one run. It is not vacuumed of its own accord: a vacuum between two tests tells the
# planner that a table is empty, a session keeps the sequential scan it then chose for a foreign key, and many rows take minutes.
THROWAWAY = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "200",
}
HOME_PREFIX = "tieout-tests-"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_home_key: pytest.StashKey[tuple[EmbeddedServer | None, Path]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --cases."""
    parser.addoption("--cases", action="store_true", help="print which cases of docs/cases.md are proven; run nothing")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Start the database before Django reads its settings. Parallel workers inherit the first process's address."""
    from portal.database import EmbeddedServer

    if config.getoption("--cases"):
        config.option.collectonly = True
        config.option.verbose = min(config.option.verbose, -2)
        config.pluginmanager.register(case_report.CaseReport())
    if "TIEOUT_TEST_HOME" not in os.environ:
        _clear_up_after_killed_runs()
        home = Path(tempfile.mkdtemp(prefix=HOME_PREFIX))
        (home / "owner").write_text(str(os.getpid()))
        os.environ["TIEOUT_TEST_HOME"] = str(home)
        server = None
        if "TEST_DATABASE_URL" not in os.environ:
            server = EmbeddedServer(home / "postgres", THROWAWAY)
            server.start()
            os.environ["TEST_DATABASE_URL"] = server.url("postgres")
        config.stash[_home_key] = (server, home)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    os.environ["TIEOUT_VAR"] = str(Path(os.environ["TIEOUT_TEST_HOME"]) / f"var-{worker}")
    os.environ["DATABASE_URL"] = os.environ["TEST_DATABASE_URL"]
    django.setup()
    _let_tests_begin_anew()


def _let_tests_begin_anew() -> None:
    """Between two tests that commit, tables are emptied as nobody may: by a superuser, with triggers off for this transaction."""
    from django.db.backends.base.operations import BaseDatabaseOperations

    flush = BaseDatabaseOperations.execute_sql_flush

    def without_triggers(self: BaseDatabaseOperations, statements: Iterable[str]) -> None:
        flush(self, ["SET LOCAL session_replication_role = replica", *statements])

    BaseDatabaseOperations.execute_sql_flush = without_triggers  # type: ignore[assignment,method-assign]


def _clear_up_after_killed_runs() -> None:
    """A run that was killed could not end its database; the next one does."""
    from portal.database import EmbeddedServer

    for owner in Path(tempfile.gettempdir()).glob(f"{HOME_PREFIX}*/owner"):
        if not psutil.pid_exists(int(owner.read_text() or 0)):
            EmbeddedServer(owner.parent / "postgres").remove()
            shutil.rmtree(owner.parent, ignore_errors=True)


def pytest_unconfigure(config: pytest.Config) -> None:
    """The process that started the database ends it and leaves nothing behind."""
    server, home = config.stash.get(_home_key, (None, None))
    if server is not None:
        server.remove()
    if home is not None:
        shutil.rmtree(home, ignore_errors=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every case number is in the catalogue, tests of a browser or of Redis say so, and the quick ones come first."""
    for item in items:
        case_report.numbers_of(item)
        fixtures = getattr(item, "fixturenames", ())
        if "page" in fixtures or "browser" in fixtures:
            item.add_marker("browser")
        if "redis_url" in fixtures:
            item.add_marker("redis")
    items.sort(key=lambda item: any(item.get_closest_marker(name) for name in ("slow", "browser")))


def missing(what: str) -> None:
    """Say that a program is not installed: a failure where everything must run (CI), a skip on a person's machine."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is not installed, and CI runs every test; .ci/run installs it.")
    pytest.skip(f"{what} is not installed on this machine")


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """The test database, to which no connection of ours is left open when it is dropped."""
    yield
    from integrations import pacing

    pacing.forget()


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory for servers of a test's own. Unlike tmp_path no other run closes the directories above it."""
    directory = Path(tempfile.mkdtemp(dir=os.environ["TIEOUT_TEST_HOME"]))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """The address of a real Redis of this run's own."""
    program = shutil.which("redis-server")
    if program is None:
        missing("redis-server")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="tieout-redis-") as directory:
        command = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", directory]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        url = f"redis://127.0.0.1:{port}/0"
        try:
            client = redis.Redis.from_url(url)
            deadline = time.monotonic() + 10
            while True:
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    if time.monotonic() > deadline or process.poll() is not None:
                        raise
                    time.sleep(0.05)
            yield url
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The address of a real Redis, empty at the start of the test."""
    redis.Redis.from_url(redis_server).flushall()
    return redis_server


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """The system's own Chromium; pytest-playwright downloads none."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        missing("Chromium")
    arguments = ["--no-sandbox", "--disable-dev-shm-usage"] if os.geteuid() == 0 or os.environ.get("CI") else []
    return {**browser_type_launch_args, "executable_path": program, "args": arguments}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    """A common size of screen, the same on every machine."""
    return {**browser_context_args, "viewport": {"width": 1440, "height": 900}, "locale": "en-GB", "timezone_id": "UTC"}
