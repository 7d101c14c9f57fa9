"""Transitions and receipts name ledger entries that exist; the database refuses all others."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from portal.models import LedgerTransition, Receipt
from tests import world


@pytest.mark.django_db
def test_a_transition_of_an_unknown_entry_is_refused() -> None:
    with pytest.raises(IntegrityError, match="portal_ledgertransition names ledger entry 404, which does not exist"):
        LedgerTransition.objects.create(entry_id=404, fence=1, to_state="ready", actor="nobody", at=Now())


@pytest.mark.django_db
def test_a_receipt_of_an_unknown_entry_is_refused() -> None:
    target = world.connection("netsuite", "netsuite", is_target=True)
    with (
        pytest.raises(IntegrityError, match="portal_receipt names ledger entry 404, which does not exist"),
        transaction.atomic(),
    ):
        Receipt.objects.create(entry_id=404, connection=target, number="N1", received_at=Now())
    assert not Receipt.objects.exists()
