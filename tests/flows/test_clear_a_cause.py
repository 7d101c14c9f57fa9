"""A hundred entries on one mistyped code, cleared by one person in one operation, with the ERP as judge of what was booked."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from integrations import work
from integrations.sandbox.server import control, sandbox_server
from portal.models import Connection, LedgerEntry, LedgerState, Project, State
from portal.records import Reference
from reconciliation import operations
from reconciliation.models import ExceptionCase, Operation
from tests import world
from tests.integrations import netsuite_account, outbound
from tests.invariants import assert_all_hold

pytestmark = pytest.mark.django_db(transaction=True)

SCALE = 0.1
ANSWERS_IN = 0.5 * SCALE  # seconds
AT_ONCE = 5
ROWS, OFF_RATE = 100, 2


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    os.environ["NETSUITE_KEY"] = netsuite_account.keys()["PS256"][0]
    with sandbox_server(names=["netsuite"]) as base_url:
        yield base_url
    del os.environ["NETSUITE_KEY"]


@pytest.fixture
def erp(sandbox: str, settings: Any) -> Connection:
    """NetSuite, which takes five calls at once and answers each after half a second."""
    settings.TIME_SCALE = SCALE
    control(sandbox, "POST", "reset", {})
    control(sandbox, "POST", "netsuite/seed", netsuite_account.SEED)
    control(sandbox, "POST", "netsuite/configure", {"latency": ANSWERS_IN})
    account = netsuite_account.account(sandbox)
    made = world.connection(
        "netsuite", "netsuite", is_target=True, concurrency=AT_ONCE, realm=account.realm, settings=account.settings,
        credentials={"private_key": {"env": "NETSUITE_KEY"}},
    )  # fmt: skip
    Connection.objects.filter(pk=made.pk).update(base_url=account.base_url)
    return made


@pytest.mark.case(19, 126)
def test_a_hundred_entries_of_one_cause_are_cleared_in_one_operation_as_the_preview_said(
    erp: Connection, sandbox: str, client: Client
) -> None:
    source = outbound.firm(erp, keys={"entity": "1", "project": "1514", "resource": "22"})
    lost = {"project": Reference("?", "ACM-9", ""), "resource": Reference(f"{source.code}:r0", "", "")}
    records = [
        outbound.record(source, number, hours=Decimal(2), rate=Decimal(150) if number < OFF_RATE else None, **lost)  # type: ignore[arg-type]
        for number in range(ROWS)
    ]
    assert len(outbound.take_in(source, records).held) == ROWS
    entity = outbound.entity_of(source)
    client.force_login(world.user("fay", "analyst", entity))
    cause = ExceptionCase.objects.get(rule="project-unknown")
    assert cause.open_holds == ROWS

    assert str(cause.sentence) in _page(client, reverse("exceptions")).replace("&quot;", '"')
    _page(client, reverse("cause", args=[cause.pk]))
    project = Project.objects.get(entity=entity)
    answer = client.post(reverse("fix", args=[cause.pk, "map-code"]), {"record": project.pk, "valid_from": ""})
    operation = Operation.objects.get()
    here = reverse("operation", args=[operation.pk])
    assert answer["Location"] == here
    preview = operation.preview
    assert (preview["passes"], preview["still_held"]) == (ROWS - OFF_RATE, OFF_RATE)
    promised = Decimal(preview["money"]["USD"]["passing"])
    _page(client, here)
    assert client.post(here, {"action": "confirm", "reason": "A typing error."}).status_code == 303
    assert f"0 of {ROWS}" in _page(client, here)

    work.operation(operation.pk)
    while LedgerState.objects.filter(state__in=["ready", "sending", "accepted", "in_doubt"]).exists():
        work.deliver(erp.pk)

    operation.refresh_from_db()
    assert (operation.state, operation.done, operation.failed, operation.posted) == (
        "done", preview["passes"], preview["still_held"], preview["passes"],
    )  # fmt: skip
    assert operation.settled_at is not None
    assert not operations.progress(operation).is_moving
    assert f"{ROWS - OFF_RATE} of {ROWS} posted · {OFF_RATE} failed" in _page(client, here)
    assert client.get(reverse("operation_progress", args=[operation.pk])).status_code == 286
    assert {row.promised for row in operation.rows.all()} == {row.message for row in operation.rows.all()}
    posted = LedgerEntry.objects.filter(state_row__state=State.POSTED)
    assert sum((entry.amount or Decimal(0) for entry in posted), Decimal(0)) == promised
    assert ExceptionCase.objects.get(pk=cause.pk).state == ExceptionCase.State.RESOLVED
    assert ExceptionCase.objects.get(state="open").rule == "rate-mismatch"

    booked = Counter(control(sandbox, "GET", "netsuite/inspect")["records_by_external_id"]["timebill"])
    assert booked == Counter(key.hex for key in posted.values_list("idempotency_key", flat=True))
    assert len(booked) == ROWS - OFF_RATE
    assert_all_hold()


def _page(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()
