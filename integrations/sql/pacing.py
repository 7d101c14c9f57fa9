"""When calls begin under one account's rate, over all processes: one row an account, with the starts that still count."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from integrations.http import Rate

# The next free start: not before now, nor the last one, nor a rate's seconds after the one that many calls ago.
_NEXT = (
    "greatest(statement_timestamp(), starts[cardinality(starts)],"
    " starts[cardinality(starts) - %(calls)s + 1] + make_interval(secs => %(seconds)s))"
)
_IS_SOON = f"{_NEXT} <= statement_timestamp() + make_interval(secs => %(patience)s)"


def reserve(connection: BaseDatabaseWrapper, account: str, rate: Rate, patience: float) -> tuple[bool, float]:
    """Take the next free start of an account if it is within `patience` seconds: whether it was taken, and in how many seconds.

    The row's lock puts processes one after the other. `connection` commits every statement by itself.
    """
    given: dict[str, str | float] = {
        "account": account,
        "calls": rate.calls,
        "seconds": rate.seconds,
        "patience": patience,
    }
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO integrations_pace (account, starts) VALUES (%(account)s, '{}') ON CONFLICT DO NOTHING", given
        )
        cursor.execute(
            f"UPDATE integrations_pace SET starts = starts[cardinality(starts) - %(calls)s + 2 :] || {_NEXT}"  # noqa: S608
            f" WHERE account = %(account)s AND {_IS_SOON}"
            " RETURNING extract(epoch FROM starts[cardinality(starts)] - clock_timestamp())",
            given,
        )
        if taken := cursor.fetchone():
            return True, max(0.0, float(taken[0]))
        cursor.execute(
            f"SELECT extract(epoch FROM {_NEXT} - clock_timestamp()) FROM integrations_pace WHERE account = %(account)s",  # noqa: S608
            given,
        )
        return False, max(0.0, float(cursor.fetchone()[0]))
