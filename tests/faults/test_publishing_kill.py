"""A worker that provisions a time tracker dies by `kill -9` at each point of a delivery, again and again.

The judge is the tracker: it holds one of each record, however often a worker died, and nothing came before what it names.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from integrations.sandbox import clockify as clockify_sandbox
from integrations.sandbox import harvest as harvest_sandbox
from integrations.sandbox.server import control, sandbox_server
from portal.models import ApprovalStep, Assignment, Attempt, LedgerTransition, Published, Resource
from portal.records import MasterKind
from tests.faults.workers import SCALE, TIMES, Nursery
from tests.flows.test_provisioning import BEGINNING, Office, office
from tests.invariants import assert_all_hold

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.case(57, 58)]

DEATHS = (
    ("before-intent:1", "after-intent:1", "before-intent:2"),
    ("after-send:1", "after-send:2"),
    ("after-response:1", "after-response:2"),
    ("after-commit:1", "after-commit:2"),
)
PATIENCE = 60.0
BELOW = {"project": "customer", "task": "project", "assignment": "project"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    with sandbox_server(names=["harvest", "clockify"]) as base:
        yield base


@pytest.fixture(scope="module")
def nursery(django_db_setup: None) -> Iterator[Nursery]:
    """Workers that know the trackers' credentials."""
    known = {"HARVEST_TOKEN": harvest_sandbox.TOKEN, "CLOCKIFY_KEY": clockify_sandbox.API_KEY}
    os.environ.update(known)
    made = Nursery()
    yield made
    made.close()
    for name in known:
        del os.environ[name]


def accepted_at(firm: Office) -> dict[str, Any]:
    """When the first record of each kind was taken."""
    found: dict[str, Any] = {}
    moves = LedgerTransition.objects.filter(entry__target=firm.tracker, to_state="accepted").order_by("at", "pk")
    for document_id, at in moves.values_list("entry__document_id", "at"):
        found.setdefault(Published.objects.get(pk=document_id).kind, at)
    return found


@pytest.mark.parametrize("vendor", ["harvest", "clockify"])
@pytest.mark.parametrize("deaths", DEATHS, ids=lambda deaths: str(deaths[0]).partition(":")[0])
def test_a_killed_worker_leaves_one_of_each_in_the_tracker_and_every_child_after_its_parent(
    deaths: tuple[str, ...], vendor: str, sandbox: str, nursery: Nursery, settings: Any
) -> None:
    settings.TIME_SCALE = SCALE
    firm = office(sandbox, vendor, **{**TIMES, "read_timeout": "0.5", "total_timeout": "0.6"})
    project = firm.project_comes()
    Assignment.objects.create(project=project, resource=Resource.objects.get(code="ada"), valid_from=BEGINNING)
    ApprovalStep.objects.create(project=project, approver=Resource.objects.get(code="pat"))
    firm.erp_says(MasterKind.PROJECT, "1501", "ACM-2213", "Acme roll-out, phase 1", "2", customer="201", status="open")
    is_slow = deaths[0].startswith("after-send")  # so that a worker can die in the midst of a call
    control(sandbox, "POST", f"{vendor}/configure", {"latency": 0.2 if is_slow else 0.0})
    killed = [nursery.work(firm.tracker.pk, point) for point in deaths]
    control(sandbox, "POST", f"{vendor}/configure", {"latency": 0.0})
    assert killed[0] == signal.SIGKILL
    until = time.monotonic() + PATIENCE
    while firm.states() != {"posted"} and time.monotonic() < until:
        nursery.work(firm.tracker.pk)
        time.sleep(0.1)
    assert firm.states() == {"posted"}
    assert [client["name"] for client in firm.holds("clients")] == ["Acme Industrial"]
    assert [theirs["name"] for theirs in firm.holds("projects")] == ["Acme roll-out, phase 1"]
    assert [task["name"] for task in firm.holds("tasks")] == ["Design"]
    if vendor == "harvest":
        assert sorted(one["user"]["id"] for one in firm.holds("user_assignments")) == [11, 12]
        assert len(firm.holds("task_assignments")) == 1
    else:
        assert len(firm.holds("projects")[0]["memberships"]) == 2
    moments = accepted_at(firm)
    assert moments.keys() == {"customer", "project", "task", "assignment"}
    for child, parent in BELOW.items():
        assert moments[parent] < moments[child], f"{child} was taken before its {parent}"
    assert not Attempt.objects.filter(purpose="push", outcome="accepted", ended_at=None).exists()
    assert_all_hold()
