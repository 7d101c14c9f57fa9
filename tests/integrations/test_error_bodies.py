"""Harvest's and Clockify's error bodies over HTTP and through the connector: what each makes of them, reading and telling.

The bodies are those of the vendors' documents; where a text is an assumption, `assumptions.py` of the connector names it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from integrations.connectors.clockify.connector import ClockifyConnector
from integrations.connectors.harvest.connector import HarvestConnector
from integrations.errors import ConnectorError, InDoubt, Rejected, Unauthorised, Unavailable
from integrations.http import Http
from integrations.protocol import Hint
from integrations.sandbox.server import control, sandbox_server
from portal.records import Publication, PublishedKind
from tests.integrations.recipient_contract import GOOD
from tests.integrations.test_contract_recipients import clockify_account, harvest_account

Row = tuple[int, Any, type[ConnectorError], str]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    with sandbox_server(names=["harvest", "clockify"]) as base:
        yield base


def connector(sandbox: str, vendor: str) -> Any:
    control(sandbox, "POST", f"{vendor}/reset", {})
    control(sandbox, "DELETE", "faults")
    account = harvest_account(sandbox) if vendor == "harvest" else clockify_account(sandbox)
    kind: Any = HarvestConnector if vendor == "harvest" else ClockifyConnector
    return kind(account, Http(account, allow_loopback=True))


def says(sandbox: str, vendor: str, status: int, answer: Any, *, method: str = "", path: str = "", **more: Any) -> None:
    fault = {
        "vendor": vendor,
        "kind": "says",
        "status": status,
        "answer": answer,
        "method": method,
        "path": path,
        **more,
    }
    control(sandbox, "POST", "faults", [{"times": None, **fault}])


def code_of(error: ConnectorError) -> str:
    return error.code if isinstance(error, Rejected) else ""


READ: dict[str, tuple[Row, ...]] = {
    "harvest": (
        (
            401,
            {"error": "invalid_token", "error_description": "The access token provided is expired."},
            Unauthorised,
            "",
        ),
        (403, {"code": 403, "message": "You are not authorized to perform this action."}, Unauthorised, ""),
        (429, {"code": 429, "message": "Your account has been throttled."}, Unavailable, ""),
        (503, {"code": 503, "message": "Your account has been throttled."}, Unavailable, ""),
        (500, {"code": 500, "message": "Server error"}, Unavailable, ""),
        (502, "<html><body>Bad gateway</body></html>", Unavailable, ""),
        (404, "<html><body>Not here</body></html>", Unavailable, ""),
        (200, "<html><body>Be right back</body></html>", Unavailable, ""),
    ),
    "clockify": (
        (401, {"message": "Multiple or none auth tokens present", "code": 1000}, Unauthorised, ""),
        (401, {"message": "Api key does not exist", "code": 4003}, Unauthorised, ""),
        (401, {"message": "Invalid addon token", "code": 4017}, Unauthorised, ""),
        (403, {"message": "Access Denied", "code": 501}, Unauthorised, ""),
        (429, {"message": "Too many requests", "code": 429}, Unavailable, ""),
        (500, {"message": "Internal server error", "code": 500}, Unavailable, ""),
        (503, "<html><body>Maintenance</body></html>", Unavailable, ""),
        (200, "<html><body>Be right back</body></html>", Unavailable, ""),
    ),
}
GONE: dict[str, tuple[tuple[int, Any, bool], ...]] = {
    "harvest": (
        (404, {"code": 404, "message": "Record not found"}, True),
        (410, {"code": 410, "message": "Gone"}, True),
        (422, {"code": 422, "message": "Unprocessable"}, False),
    ),
    "clockify": (
        (404, {"message": "No static resource", "code": 3000}, True),
        (400, {"message": "TIMEENTRY with id 1 doesn't belong to WORKSPACE", "code": 501}, True),
        (400, {"message": "Page size is too large", "code": 501}, False),
        (400, {"message": "TIMEENTRY with id 1 doesn't belong to WORKSPACE", "code": 1002}, False),
    ),
}
TOLD: dict[str, tuple[Row, ...]] = {
    "harvest": (
        (422, {"code": 422, "message": "Name can't be blank"}, Rejected, "schema-changed"),
        (422, {"code": 422, "message": "Cost code is required"}, Rejected, "schema-changed"),
        (422, {"code": 422, "message": "Unknown parameter: budget_by"}, Rejected, "schema-changed"),
        (422, {"code": 422, "message": "Name is too long (maximum is 255 characters)"}, Rejected, "text-invalid"),
        (422, {"code": 422, "message": "Something that nobody knows"}, Rejected, "rejected"),
        (400, {"code": 400, "message": "Bad request"}, Rejected, "rejected"),
        (401, {"error": "invalid_token", "error_description": "The access token is expired."}, Unauthorised, ""),
        (403, {"code": 403, "message": "You are not authorized to perform this action."}, Unauthorised, ""),
        (429, {"code": 429, "message": "Your account has been throttled."}, Unavailable, ""),
        (503, {"code": 503, "message": "Your account has been throttled."}, Unavailable, ""),
        (500, {"code": 500, "message": "Server error"}, InDoubt, ""),
        (504, "<html><body>Gateway time-out</body></html>", InDoubt, ""),
        (200, "<html><body>Be right back</body></html>", InDoubt, ""),
    ),
    "clockify": (
        (400, {"message": "Field name is required", "code": 501}, Rejected, "schema-changed"),
        (400, {"message": 'Unrecognized field "budget"', "code": 501}, Rejected, "schema-changed"),
        (400, {"message": "Client name has to be between 2 and 100 characters", "code": 501}, Rejected, "text-invalid"),
        (400, {"message": "Something that nobody knows", "code": 501}, Rejected, "rejected"),
        (405, {"message": "Request method is not supported", "code": 3000}, Rejected, "rejected"),
        (401, {"message": "Api key does not exist", "code": 4003}, Unauthorised, ""),
        (403, {"message": "Access Denied", "code": 501}, Unauthorised, ""),
        (429, {"message": "Too many requests", "code": 429}, Unavailable, ""),
        (503, "<html><body>Maintenance</body></html>", Unavailable, ""),
        (500, {"message": "Internal server error", "code": 500}, InDoubt, ""),
        (200, "<html><body>Be right back</body></html>", InDoubt, ""),
    ),
}


def rows(table: dict[str, Any]) -> list[Any]:
    return [
        pytest.param(vendor, *row, id=f"{vendor}-{row[0]}-{n}")
        for vendor in table
        for n, row in enumerate(table[vendor])
    ]


@pytest.mark.case(66, 67)
@pytest.mark.parametrize(("vendor", "status", "answer", "error", "code"), rows(READ))
def test_an_error_of_a_reading_is_named_by_what_we_do_next_and_moves_no_cursor(
    sandbox: str, vendor: str, status: int, answer: Any, error: type[ConnectorError], code: str
) -> None:
    asked = connector(sandbox, vendor)
    for stream in asked.streams:
        says(sandbox, vendor, status, answer)
        with pytest.raises(error) as told:
            list(asked.pull(stream, None))
        assert code_of(told.value) == code
        assert told.value.status == status
        if status >= 400 and isinstance(answer, dict):
            said = str(answer.get("message") or answer.get("error"))
            assert said in told.value.detail, "people read it in the vendor's own words"
        control(sandbox, "DELETE", "faults")
        assert list(asked.pull(stream, None))[-1].last


@pytest.mark.case(14)
@pytest.mark.parametrize(("vendor", "status", "answer", "is_gone"), rows(GONE))
def test_only_what_says_that_a_record_is_gone_is_read_as_its_absence(
    sandbox: str, vendor: str, status: int, answer: Any, is_gone: bool
) -> None:
    asked = connector(sandbox, vendor)
    hint = Hint(stream="time_entries", external_id="1" if vendor == "harvest" else "64c777ddd3fcab07cfbb210c")
    says(sandbox, vendor, status, answer)
    if is_gone:
        assert list(asked.fetch(hint)) == []
        return
    with pytest.raises(ConnectorError):
        list(asked.fetch(hint))


@pytest.mark.case(66, 67, 68)
@pytest.mark.parametrize(("vendor", "status", "answer", "error", "code"), rows(TOLD))
def test_an_error_while_a_record_is_told_is_named_by_what_we_do_next(
    sandbox: str, vendor: str, status: int, answer: Any, error: type[ConnectorError], code: str
) -> None:
    told_to = connector(sandbox, vendor)
    kind = PublishedKind.CUSTOMER
    told = Publication(key=uuid.uuid4().hex, kind=kind, version=1, number="", names={}, figures=GOOD[kind])
    says(sandbox, vendor, status, answer, method="POST", path="/clients")
    with pytest.raises(ConnectorError) as raised:
        told_to.publish(told)
    assert (type(raised.value), code_of(raised.value)) == (error, code)
    control(sandbox, "DELETE", "faults")
    assert told_to.held([told]) == {}
    assert told_to.publish(told)
