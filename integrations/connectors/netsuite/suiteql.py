"""Reading by SuiteQL: one statement in, rows out, page by page within the vendor's bounds.

Every value arrives as a text, a missing one not at all, and column names in lower case. Large reads go by key (`id` greater
than the last one seen), never by offset, so neither the 1000 pages nor the 100,000 rows of one query end them early.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from integrations.connectors.netsuite import refusals
from integrations.errors import ConnectorError, Malformed, Rejected
from integrations.http import Http

PATH = "/services/rest/query/v1/suiteql"
PAGE = 1000
MAX_ROWS = 100_000
DAY, MOMENT = "'YYYY-MM-DD'", "'YYYY-MM-DD HH24:MI:SS'"

Row = Mapping[str, Any]


class Result(NamedTuple):
    """One page of rows; `total` is how many the statement has in all, None when the vendor's bound hides it."""

    rows: list[Row]
    more: bool
    total: int | None


def query(http: Http, statement: str, params: Sequence[str | int] = (), *, limit: int = PAGE) -> Result:
    """The first page of a statement. A read, although it is posted.

    A table or column that the role may not see is Unauthorised; a statement that is refused otherwise is Malformed.
    """
    body: dict[str, Any] = {"q": statement}
    if params:
        body["params"] = list(params)
    try:
        answer = http.request(
            "POST", PATH, params={"limit": limit, "offset": 0}, json=body, headers={"Prefer": "transient"}, writes=False
        ).body
    except ConnectorError as error:
        narrowed = refusals.narrow(error, writes=False)
        if isinstance(narrowed, Rejected):
            raise Malformed(f"NetSuite refused our query: {narrowed.detail}", status=error.status) from None
        raise narrowed from None
    if not isinstance(answer, dict) or not isinstance(answer.get("items"), list):
        raise Malformed("The SuiteQL answer has no items.")
    total = answer.get("totalResults")
    return Result(
        [{name: value for name, value in row.items() if name != "links"} for row in answer["items"]],
        bool(answer.get("hasMore")),
        total if isinstance(total, int) and total < MAX_ROWS else None,
    )


def by_id(http: Http, select: str, where: Sequence[str], params: Sequence[str | int], *, key: str) -> Iterator[Row]:
    """Every row of a statement in the order of its id, which is `key` in the statement, e.g. `tb.id`.

    Rows of one id are never torn apart: those that a full page may have cut are read again with the next one.
    """
    last = 0
    while True:
        conditions = " AND ".join((*where, f"{key} > ?"))
        page = query(http, f"{select} WHERE {conditions} ORDER BY {key}", (*params, last))
        rows = page.rows
        if page.more:
            rows = [row for row in rows if row["id"] != page.rows[-1]["id"]]
            if not rows:
                raise Malformed(f"The record {page.rows[-1]['id']} has more lines than one page holds ({PAGE}).")
        yield from rows
        if not page.more:
            return
        reached = int(rows[-1]["id"])
        if reached <= last:
            raise Malformed(f"SuiteQL was asked for ids above {last} and answered {reached}.")
        last = reached
