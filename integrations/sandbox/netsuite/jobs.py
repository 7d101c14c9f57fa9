"""Asynchronous requests: accepted at once, carried out a moment later, their answers kept to be fetched.

A job holds one task per record of the request, in the request's order; what a task's result answers is what the record's
own request would have been answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from integrations.sandbox.netsuite.errors import RefusedError, refusal
from integrations.sandbox.store import Store
from integrations.sandbox.vendor import Request, Response

PREFIX = "/services/rest/async/v1/job"
MAX_RECORDS = 100

Perform = Callable[[dict[str, Any]], Response]


class Jobs:
    """The account's asynchronous jobs. The caller holds the store's lock."""

    def __init__(self, store: Store, perform: Perform) -> None:
        self._store = store
        self._jobs = store.collection("jobs")
        self._keys = store.collection("idempotency_keys")
        self._perform = perform
        self.delay = 0.2  # seconds until an accepted job is carried out

    def accept(self, request: Request, works: list[dict[str, Any]]) -> Response:
        """Answer 202 with the job's place, or the conflict that a repeated idempotency key is."""
        key = request.headers.get("X-NetSuite-Idempotency-Key", "")
        if key and key in self._keys:
            place = f"{PREFIX}/{self._keys[key]['job']}"
            conflict = refusal(
                400,
                "IDEMPOTENCY_ERROR",
                "A request with the same idempotency key has been accepted already.",
                title="Conflict",
            )
            conflict.headers["Location"] = place
            return conflict
        identity = str(self._store.next_id("job", 1))
        self._jobs[identity] = {"due": time.time() + self.delay, "works": works, "answers": []}
        if key:
            self._keys[key] = {"job": identity}
        return Response(202, None, {"Location": f"{PREFIX}/{identity}", "Preference-Applied": "respond-async"})

    def run_due(self) -> None:
        """Carry out every job whose time has come."""
        for identity, job in list(self._jobs.items()):
            if not job["answers"] and job["due"] <= time.time():
                answers = []
                for work in job["works"]:
                    try:
                        answer = self._perform(work)
                    except RefusedError as refused:
                        answer = refused.response
                    answers.append({"status": answer.status, "headers": answer.headers, "body": answer.body})
                self._jobs[identity] = {**job, "answers": answers}

    def job(self, request: Request) -> Response:
        """What is known of a job."""
        identity, job = self._found(request)
        done = bool(job["answers"])
        return Response(
            200,
            {
                "links": [{"rel": "self", "href": f"{request.base}{PREFIX}/{identity}"}],
                "completed": done,
                "id": identity,
                "progress": _progress(job["answers"]) if done else "pending",
                "task": {"links": [{"rel": "self", "href": f"{request.base}{PREFIX}/{identity}/task"}]},
            },
        )

    def tasks(self, request: Request) -> Response:
        """The tasks of a job, as links."""
        identity, job = self._found(request)
        items = [
            {"links": [{"rel": "self", "href": f"{request.base}{PREFIX}/{identity}/task/{n}"}], "id": str(n)}
            for n in range(1, len(job["works"]) + 1)
        ]
        return Response(
            200,
            {
                "links": [],
                "count": len(items),
                "hasMore": False,
                "items": items,
                "offset": 0,
                "totalResults": len(items),
            },
        )

    def task(self, request: Request) -> Response:
        """How one task fares."""
        identity, job, number = self._found_task(request)
        done = bool(job["answers"])
        return Response(
            200,
            {
                "links": [{"rel": "self", "href": f"{request.base}{PREFIX}/{identity}/task/{number}"}],
                "completed": done,
                "id": str(number),
                "progress": _progress([job["answers"][number - 1]]) if done else "pending",
            },
        )

    def result(self, request: Request) -> Response:
        """What a task answers: the answer that its record's own request would have had."""
        _, job, number = self._found_task(request)
        if not job["answers"]:
            raise RefusedError("The result is not available yet.", status=404, code="NONEXISTENT_ID")
        answer = job["answers"][number - 1]
        return Response(answer["status"], answer["body"], dict(answer["headers"]))

    def _found(self, request: Request) -> tuple[str, dict[str, Any]]:
        identity = request.params["job"]
        if identity not in self._jobs:
            raise RefusedError("The job does not exist.", status=404, code="NONEXISTENT_ID")
        return identity, self._jobs[identity]

    def _found_task(self, request: Request) -> tuple[str, dict[str, Any], int]:
        identity, job = self._found(request)
        number = int(request.params["task"]) if request.params["task"].isdigit() else 0
        if not 1 <= number <= len(job["works"]):
            raise RefusedError("The task does not exist.", status=404, code="NONEXISTENT_ID")
        return identity, job, number


def _progress(answers: list[dict[str, Any]]) -> str:
    return "succeeded" if all(answer["status"] < 400 for answer in answers) else "failed"
