"""Business Central's webhooks at our own door: subscriptions made and renewed, notifications that are only hints."""

from __future__ import annotations

from typing import Any

import pytest

from integrations import hints, subscriptions, webhooks
from integrations.models import InboxMessage, RefusedDelivery
from integrations.sandbox.businesscentral.vendor import CLIENT_SECRET
from portal.models import Connection
from tests import world
from tests.integrations.bc_account import guid
from tests.integrations.contract import Bench

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def connection(businesscentral: Bench, live_server: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Connection:
    settings.ALLOW_LOOPBACK = True
    settings.SITE_URL = live_server.url
    monkeypatch.setenv("BC_SECRET", CLIENT_SECRET)
    monkeypatch.setenv("BC_STATE", "state-of-the-test")
    account = businesscentral.account
    made = world.connection(
        "bc-de", "businesscentral", world.entity("DE"), is_source=True, realm=account.realm, settings=account.settings,
        credentials={"client_secret": {"env": "BC_SECRET"}, "client_state": {"env": "BC_STATE"}},
    )  # fmt: skip
    made.base_url = account.base_url
    made.save()
    webhooks.forget()
    return made


@pytest.mark.case(74, 117, 119)
def test_subscriptions_are_made_renewed_and_their_notifications_read_again(
    connection: Connection, businesscentral: Bench
) -> None:
    assert subscriptions.keep(connection.pk) == "0 webhook subscriptions of Business Central were renewed and 3 made."
    assert subscriptions.keep(connection.pk) == "3 webhook subscriptions of Business Central were renewed and 0 made."
    assert [one["renewals"] for one in businesscentral.control("businesscentral/inspect")["subscriptions"]] == [1, 1, 1]

    notify = {"do": "notify", "set": "customers", "ids": [guid(1)]}
    businesscentral.control("businesscentral/seed", {"actions": [notify]})
    hints.answer(connection.pk)
    [record] = InboxMessage.objects.filter(kind="record")
    assert (record.stream, record.external_id) == ("customers", "10000")
    businesscentral.control("businesscentral/seed", {"actions": [{**notify, "ids": [guid(1)], "change": "created"}]})
    hints.answer(connection.pk)
    assert InboxMessage.objects.filter(kind="record").count() == 1, "the same record is no news"

    businesscentral.control("businesscentral/seed", {"actions": [{**notify, "state": "guessed"}]})
    assert RefusedDelivery.objects.count() == 1
    assert businesscentral.control("businesscentral/inspect")["notified"] == [202, 202, 401]


@pytest.mark.case(73)
def test_a_subscription_that_somebody_renewed_meanwhile_is_renewed_with_its_new_token(
    connection: Connection, businesscentral: Bench
) -> None:
    subscriptions.keep(connection.pk)
    businesscentral.fault({"method": "PATCH"}, kind="status", status=409)
    assert subscriptions.keep(connection.pk) == "3 webhook subscriptions of Business Central were renewed and 0 made."


def test_without_a_state_of_ours_no_webhook_is_asked_for(connection: Connection, businesscentral: Bench) -> None:
    connection.credentials = {"client_secret": {"env": "BC_SECRET"}}
    connection.save()
    assert "not used" in subscriptions.keep(connection.pk)
    assert businesscentral.control("businesscentral/inspect")["subscriptions"] == []
