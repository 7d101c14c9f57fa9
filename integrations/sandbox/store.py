"""What a stand-in remembers: one SQLite file per vendor, read from memory and written through, so it survives a restart.

A write is with the operating system before its request is answered, so a killed process loses nothing; a crash of the
machine is not what a sandbox is for.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any


class Store:
    """The database of one vendor. `lock` is held by whoever reads and writes several things as one."""

    def __init__(self, path: Path | None) -> None:
        self.lock = threading.RLock()
        self.db = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
        self.db.row_factory = sqlite3.Row
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = OFF")
        self.db.execute(
            "CREATE TABLE IF NOT EXISTS document (position INTEGER PRIMARY KEY, collection TEXT NOT NULL, "
            "id TEXT NOT NULL, body TEXT NOT NULL, UNIQUE (collection, id))"
        )
        self.db.execute("CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL)")
        self._collections: dict[str, Collection] = {}

    def collection(self, name: str) -> Collection:
        """The documents kept under a name; the same object each time."""
        with self.lock:
            if name not in self._collections:
                self._collections[name] = Collection(self, name)
            return self._collections[name]

    def next_id(self, name: str, start: int = 1) -> int:
        """The next number of a series that never repeats, restarts included; the first one is `start`."""
        with self.lock:
            row = self.db.execute(
                "INSERT INTO counter VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
                (name, start),
            ).fetchone()
            return int(row[0])

    @contextlib.contextmanager
    def undone(self) -> Iterator[None]:
        """What is written within is taken back at its end, as by a server that loses it."""
        with self.lock:
            self.db.execute("SAVEPOINT undone")
            try:
                yield
            finally:
                self.db.execute("ROLLBACK TO undone")
                self.db.execute("RELEASE undone")
                for collection in self._collections.values():
                    collection.read()

    def clear(self) -> None:
        """Forget every document and counter."""
        with self.lock:
            self.db.execute("DELETE FROM document")
            self.db.execute("DELETE FROM counter")
            for collection in self._collections.values():
                collection.forget()

    def close(self) -> None:
        """Close the file; nothing may be read or written afterwards."""
        with self.lock:
            self.db.close()


class Collection(MutableMapping[str, dict[str, Any]]):
    """Documents by id, in the order of their first writing. Change one by assigning it again, never in place."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._documents: dict[str, dict[str, Any]] = {}
        self.read()

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self._documents[str(key)]

    def __setitem__(self, key: str, document: dict[str, Any]) -> None:
        body = json.dumps(document)
        with self._store.lock:
            self._store.db.execute(
                "INSERT INTO document (collection, id, body) VALUES (?, ?, ?) "
                "ON CONFLICT (collection, id) DO UPDATE SET body = excluded.body",
                (self._name, str(key), body),
            )
            self._documents[str(key)] = json.loads(body)

    def __delitem__(self, key: str) -> None:
        with self._store.lock:
            del self._documents[str(key)]
            self._store.db.execute("DELETE FROM document WHERE collection = ? AND id = ?", (self._name, str(key)))

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._documents))

    def __len__(self) -> int:
        return len(self._documents)

    def read(self) -> None:
        """Hold in memory what is on disk."""
        rows = self._store.db.execute(
            "SELECT id, body FROM document WHERE collection = ? ORDER BY position", (self._name,)
        )
        self._documents = {row["id"]: json.loads(row["body"]) for row in rows}

    def forget(self) -> None:
        """Drop what is held in memory; the store has already dropped what is on disk."""
        self._documents.clear()
