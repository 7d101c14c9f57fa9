"""Writing to Stripe under idempotency keys, so that what is sent twice is done once.

Stripe keeps the answer to a key for a day, failures and refusals as well: such an answer says nothing about now. Whoever makes
something has looked for it just before, so what was answered long ago is gone past, under a following key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from integrations.connectors.stripe import assumptions, refusals
from integrations.errors import ConnectorError, InDoubt, Rejected
from integrations.http import Http

Form = Mapping[str, str]
Record = Mapping[str, Any]


def make(
    http: Http,
    path: str,
    form: Form,
    key: str,
    own: Sequence[refusals.Pattern],
    *,
    is_there: Callable[[Record], bool] = lambda _: True,
) -> Record:
    """Make one record that is not there, under a key. `is_there` says whether one that an old answer names still is."""
    for number in range(1, assumptions.TRIES + 1):
        name = key if number == 1 else f"{key}/{number}"
        try:
            answer = http.request("POST", path, data=form, headers={"Idempotency-Key": name})
        except ConnectorError as error:
            if not _is_old(error.headers) or number == assumptions.TRIES:
                raise refusals.narrow(error, own) from None
            continue
        made = answer.body
        if not isinstance(made, Mapping) or not made.get("id"):
            raise InDoubt(f"Stripe answered {path} without the id of what it made.")
        if not _is_old(answer.headers) or is_there(made):
            return made
    raise Rejected(
        "Stripe goes on answering with what it answered before; try again tomorrow, when it has forgotten it."
    )


def change(http: Http, path: str, form: Form, own: Sequence[refusals.Pattern]) -> Record:
    """Change a record to values; the same however often."""
    try:
        answer = http.request("POST", path, data=form)
    except ConnectorError as error:
        raise refusals.narrow(error, own) from None
    return answer.body if isinstance(answer.body, Mapping) else {}


def _is_old(headers: Mapping[str, str]) -> bool:
    return str(headers.get(assumptions.REPLAYED, "")).lower() == "true"
