"""The database's clock."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from portal import sql


def clock() -> datetime:
    """The database's clock, also within a transaction that has been open for a while."""
    return cast("datetime", sql.rows("SELECT clock_timestamp()")[0][0])
