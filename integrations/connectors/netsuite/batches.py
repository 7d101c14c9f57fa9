"""Many records in one asynchronous call. NetSuite accepts the batch at once and carries it out in its own time.

The call carries an idempotency key, which NetSuite honours for asynchronous requests only: when the acceptance is lost, the
same call is made once more and either starts the batch or is told where the first one went. Until the job is done nothing is
known, and at our deadline it is in doubt; the records are then found by their external ids.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from integrations.connectors.netsuite import bodies, refusals, statements
from integrations.errors import ConnectorError, InDoubt, Rejected
from integrations.http import Http, Response
from portal.records import Posting, Receipt

COLLECTION = "application/vnd.oracle.resource+json; type=collection"
MAX_RECORDS = 100
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 5.0  # seconds between two looks at a job

Outcome = Receipt | ConnectorError
Settle = Callable[[Sequence[str]], Mapping[str, Receipt]]


class Batches:
    """The account's batches. `settle` looks receipts up by key, which answers for most of a finished batch in one call."""

    def __init__(
        self, http: Http, settings: Mapping[str, Any], own: Sequence[refusals.Pattern], settle: Settle
    ) -> None:
        self._http = http
        self._settings = settings
        self._own = own
        self._settle = settle

    def push(self, record_type: str, postings: Sequence[Posting]) -> list[Outcome]:
        """Book postings of one record type; one outcome each, in their order. What is raised holds for all of them."""
        items = [{"externalId": posting.key, **bodies.body(posting, self._settings)} for posting in postings]
        job = self._accepted(record_type, items)
        if not self._finished(job, float(self._settings.get("async_deadline") or 60)):
            return [InDoubt(f"NetSuite's job {job} was not done in time.") for _ in postings]
        receipts = self._settle([posting.key for posting in postings])
        results = self._results(job, len(postings)) if len(receipts) < len(postings) else []
        return [
            receipts.get(posting.key) or self._outcome(posting, results[position : position + 1])
            for position, posting in enumerate(postings)
        ]

    def _accepted(self, record_type: str, items: Sequence[Any]) -> str:
        """The path of the job that NetSuite started for a batch."""
        key = str(uuid4())
        try:
            return self._send(record_type, items, key)
        except InDoubt as lost:
            reason = lost.detail
        try:
            return self._send(record_type, items, key)  # the key makes NetSuite say where the first call went
        except ConnectorError as error:
            raise InDoubt(f"{reason} Asking again was answered: {error.detail}") from None

    def _send(self, record_type: str, items: Sequence[Any], key: str) -> str:
        try:
            answer = self._http.request(
                "PUT",
                f"{statements.RECORD_PATH}/{record_type}",
                params={"replace": "expense"} if record_type == "expensereport" else None,
                json={"items": items},
                headers={
                    "Content-Type": COLLECTION,
                    "Prefer": "respond-async",
                    "X-NetSuite-Idempotency-Key": key,
                    "X-NetSuite-PropertyNameValidation": "Error",
                },
            )
        except ConnectorError as error:
            if refusals.read(error.body).code == "IDEMPOTENCY_ERROR" and error.headers.get("Location"):
                return _path(error.headers["Location"])
            raise refusals.narrow(error, self._own) from None
        place = answer.headers.get("Location", "")
        if answer.status != 202 or not place:
            raise InDoubt(f"NetSuite answered {answer.status} to a batch, without the place of its job.")
        return _path(place)

    def _finished(self, job: str, deadline: float) -> bool:
        """Wait for a job, at most `deadline` seconds. A look that fails is no news; the next one may tell."""
        until, wait = time.monotonic() + deadline, _FIRST_WAIT
        while True:
            try:
                body = self._http.request("GET", job).body
            except Rejected:
                return False
            except ConnectorError:
                body = None
            if isinstance(body, Mapping) and body.get("completed") is True:
                return True
            if time.monotonic() + wait > until:
                return False
            time.sleep(wait)
            wait = min(wait * 1.6, _LONGEST_WAIT)

    def _results(self, job: str, size: int) -> list[str]:
        """The paths of the results of a job's tasks, in their order; none when there is not one for each record."""
        try:
            body = self._http.request("GET", f"{job}/task").body
        except ConnectorError:
            return []
        items = body.get("items", []) if isinstance(body, Mapping) else []
        paths = [f"{job}/task/{item['id']}/result" for item in items if isinstance(item, Mapping) and "id" in item]
        return paths if len(paths) == size else []

    def _outcome(self, posting: Posting, result: Sequence[str]) -> Outcome:
        """What became of one record that the look-up did not show: its task's own answer."""
        if not result:
            return InDoubt(f"NetSuite does not say what became of {posting.key}.")
        try:
            answer = self._http.request("GET", result[0])
        except Rejected as error:
            return refusals.narrow(error, self._own)
        except ConnectorError as error:
            return InDoubt(f"The result of {posting.key} could not be read: {error.detail}")
        return receipt(posting, answer) or InDoubt(f"NetSuite took {posting.key} and did not say as what.")


def _path(location: str) -> str:
    """A location as a path below the account's address, whichever host it names."""
    path = urlsplit(location).path
    return path[path.find("/services/") :] if "/services/" in path else path


def receipt(posting: Posting, answer: Response) -> Receipt | None:
    """The receipt in an answer whose location names the record; None when it names none."""
    number = urlsplit(answer.headers.get("Location", "")).path.rsplit("/", 1)[-1]
    if not number.isdigit():
        return None
    kept = {name: value for name in ("Location", "x-n-operationid") if (value := answer.headers.get(name))}
    return Receipt(key=posting.key, number=number, raw=kept)
