"""The last net: what the database refuses although nothing was found before, in words.

A constraint's name is a sentence, so the sentence is the message; the database's own detail says which values.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.db import DatabaseError

from portal.importing.problems import Problem, Refused


@contextmanager
def in_words() -> Iterator[None]:
    """Turn a refusal of the database into a problem of the load; every other error passes."""
    try:
        yield
    except DatabaseError as error:
        cause = error.__cause__
        if not isinstance(cause, (psycopg.errors.IntegrityError, psycopg.errors.DataError)):
            raise
        raise Refused([_problem(cause)]) from error


def _problem(error: psycopg.Error) -> Problem:
    if isinstance(error, psycopg.errors.ForeignKeyViolation):
        rows = (error.diag.table_name or "").partition("_")[2] or "other"
        return Problem(
            "A record", "", f"is named by {rows} rows or names one that is gone; end it or change it instead."
        )
    name = error.diag.constraint_name or ""
    sentence = name.replace("_", " ") if name and "_fk_" not in name else (error.diag.message_primary or str(error))
    detail = error.diag.message_detail or ""
    return Problem(
        f"Table {error.diag.table_name}" if error.diag.table_name else "The database",
        "",
        f"the database refuses it, because {sentence}. {detail}".strip(),
    )
