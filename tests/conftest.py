"""What every test stands on: one embedded PostgreSQL per run, and what `docs/cases.md` counts as proven."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"
os.environ["TIEOUT_PROCESS"] = "command"
os.environ["TIEOUT_DEMO"] = "1"
os.environ["SECRET_KEY"] = "a key for tests only, long enough to be taken for a real one"

_server_key = pytest.StashKey["tuple[object, Path]"]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Start the database before Django reads its settings. Parallel workers inherit the first process's address."""
    from portal.database import EmbeddedServer

    if "TEST_DATABASE_URL" not in os.environ:
        home = Path(tempfile.mkdtemp(prefix="tieout-tests-"))
        options = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}
        server = EmbeddedServer(home / "postgres", options)
        server.start()
        os.environ["TEST_DATABASE_URL"] = server.url("postgres")
        config.stash[_server_key] = (server, home)
    os.environ["DATABASE_URL"] = os.environ["TEST_DATABASE_URL"]
    if "TIEOUT_VAR" not in os.environ:
        os.environ["TIEOUT_VAR"] = tempfile.mkdtemp(prefix="tieout-var-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """The process that started the database ends it and leaves nothing behind."""
    if _server_key in config.stash:
        server, home = config.stash[_server_key]
        server.remove()
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(os.environ["TIEOUT_VAR"], ignore_errors=True)
