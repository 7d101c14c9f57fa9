"""The queue of causes and the page of one: what they show, to whom, and what it costs."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from portal.models import GrantRole
from reconciliation.models import CaseComment, ExceptionCase
from tests import world
from tests.reconciliation import desk
from tests.reconciliation.firm import build, case

pytestmark = pytest.mark.django_db


def page(client: Client, address: str, status: int = 200, **more: Any) -> str:
    response = client.get(address, **more)
    assert response.status_code == status, response.content[:500]
    return response.content.decode()


def test_the_queue_says_what_a_cause_stops_in_entries_people_money_and_age(client: Client) -> None:
    firm = build()
    desk.near(firm)
    desk.mistyped(firm, 6)
    desk.off_rate(firm, 2)
    client.force_login(desk.analyst(firm))
    text = page(client, reverse("exceptions"))
    assert "Project “ACM-2231” is not in the master data." in text
    assert "Project code is not in the master data" in text
    assert "Harvest-Us → Netsuite-Us" in text
    assert "2 causes hold <b>8 entries</b>" in text
    assert "ACM-2213 · 88 %" in text or "ACM-2213 · 100 %" in text
    assert "Use the contract&#x27;s rate" in text
