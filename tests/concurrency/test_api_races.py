"""One decision under one key, however often and at whatever moment a program sends it, with real threads."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from portal import tokens
from portal.models import ApiAnswer, AuditEvent, GrantRole
from reconciliation.models import BillingDecision
from tests import world
from tests.bills import Erp, find, line_of, posted
from tests.reconciliation import firm as firms

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_decision_that_is_sent_several_times_at_once_is_taken_once_and_answered_alike() -> None:
    firm = firms.build()
    firms.key(firm.target, "customer", firm.customer.pk, "C1")
    token = tokens.issue(world.user("ana", GrantRole.ANALYST, firm.entity), "program", may_decide=True)
    erp, [entry] = Erp(firm), posted(firm)
    said = erp.bill("501", line_of(entry))
    erp.says(said)
    erp.says(erp.gone(said))
    bill, start, found = find("501"), threading.Barrier(4), list[Any]()
    asked = {"act": "recreate", "version": bill.current.version, "reason": "it is owed"}

    def send() -> None:
        client = Client(headers={"Authorization": f"Bearer {token}", "Idempotency-Key": "recreate-501"})
        start.wait()
        answer = client.post(reverse("api_bill-act", args=[bill.pk]), asked, content_type="application/json")
        found.append((answer.status_code, answer.json()))
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [status for status, _ in found] == [200] * 4
    assert all(answer == found[0][1] for _, answer in found)
    assert BillingDecision.objects.count() == AuditEvent.objects.filter(action="bill.recreate").count() == 1
    assert ApiAnswer.objects.get().answer == found[0][1]
