"""The embedded server: started once, joined by others, stopped by the last to leave."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from portal.database import EmbeddedServer

QUICK = {"fsync": "off"}


@pytest.fixture
def server(scratch: Path) -> EmbeddedServer:
    return EmbeddedServer(scratch / "postgres", QUICK)


def test_the_last_one_to_leave_stops_the_server(server: EmbeddedServer, scratch: Path) -> None:
    second = EmbeddedServer(scratch / "postgres", QUICK)
    server.start()
    second.start()
    server.leave()
    assert second.answers()
    second.leave()
    assert not second.answers()


def test_data_outlives_a_restart_and_an_orphaned_pid_file(server: EmbeddedServer) -> None:
    server.start()
    server.create_database("firm")
    with psycopg.connect(server.url("firm"), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS figure")
    pid_file = (server.data / "postmaster.pid").read_text()
    server.leave()
    (server.data / "postmaster.pid").write_text(pid_file.replace(pid_file.splitlines()[0], "1", 1))
    server.start()
    try:
        with psycopg.connect(server.url("firm")) as connection:
            assert connection.execute("SELECT figure FROM kept").fetchone() == (7,)
    finally:
        server.remove()
    assert not server.data.exists()


def test_directories_closed_meanwhile_do_not_keep_it_from_stopping(scratch: Path) -> None:
    server = EmbeddedServer(scratch / "closed" / "postgres", QUICK)
    server.start()
    (scratch / "closed").chmod(0o700)
    server.remove()
    assert not server.answers()
    assert not server.data.exists()


def test_a_path_too_long_for_a_socket_is_answered_from_a_short_one(scratch: Path) -> None:
    server = EmbeddedServer(scratch / ("deep" * 20) / "with space" / "postgres", QUICK)
    assert server.socket_directory != server.data
    server.start()
    try:
        assert server.answers()
    finally:
        server.remove()
    assert not server.socket_directory.exists()
