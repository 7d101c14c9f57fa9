"""Corrections of less than nothing: what they take off is never forgotten when the customer is invoiced."""

from __future__ import annotations

import uuid
from datetime import date
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from portal.models import GrantRole, LedgerEntry, User
from portal.records import DocumentKind
from reconciliation import corrections, invoicing, validation
from reconciliation.invoicing import NotProposable
from reconciliation.models import Hold
from reconciliation.readiness import why_not_billed
from tests import world
from tests.bills import posted, read
from tests.reconciliation.firm import Firm, build, post

pytestmark = pytest.mark.django_db
END = date(2026, 9, 30)


@pytest.fixture
def firm() -> Firm:
    made = build()
    made.project.manager = world.user("mia", GrantRole.PROJECT_MANAGER, made.entity)
    made.project.save()
    return made


@pytest.fixture
def cora(firm: Firm) -> User:
    return world.user("cora", GrantRole.CONTROLLER, firm.entity)


def booked(firm: Firm, by: User, kind: str) -> int:
    """A correction of two hours, or of 50.00, that somebody let pass and that was posted."""
    day = date(2026, 9, 3)
    [held] = firm.admit(
        firm.time("less", hours=Decimal(-2), work_date=day) if kind == DocumentKind.TIME
        else firm.expense("less", amount=Decimal("-50.00"), work_date=day)
    ).held  # fmt: skip
    stopped = list(Hold.objects.filter(entry=held, closed_at=None).values_list("pk", flat=True))
    validation.waive(stopped, by=by, reason="it corrects what was delivered")
    post([held])
    return held


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (DocumentKind.TIME, "2.00 h (240.00 USD) of Ana Consultant on 3 Sep 2026"),
        (DocumentKind.EXPENSE, "an expense of 50.00 USD of Ana Consultant on 3 Sep 2026"),
    ],
)
def test_no_invoice_is_released_that_leaves_out_what_a_correction_takes_off(
    kind: str, said: str, firm: Firm, cora: User
) -> None:
    posted(firm, 1)
    less = booked(firm, cora, kind)
    [proposal] = invoicing.prepare(firm.project, END, by=None)
    [told] = [one for one in invoicing.blockers(proposal) if one.code == "TAKEN_OFF"]
    assert told.words.startswith(f"{said} were taken off by corrections")
    mia = User.objects.get(username="mia")
    with pytest.raises(NotProposable, match="too much"):
        invoicing.release(proposal, by=mia, seen=proposal.content_hash, accepts=read(proposal))
    entry = LedgerEntry.objects.select_related("state_row", "project", "contract", "target").get(pk=less)
    assert "No invoice of its project is released until" in why_not_billed(entry).words
    reversal = corrections.reverse([less], by=cora, reason="corrected in its source instead").reversals[less]
    post([reversal])
    corrections.settle([reversal])
    [proposal] = invoicing.prepare(firm.project, END, by=None)
    assert invoicing.release(proposal, by=mia, seen=proposal.content_hash, accepts=read(proposal)).state == "released"


def test_a_reversal_that_would_take_off_once_more_is_refused_by_the_database(firm: Firm, cora: User) -> None:
    less = LedgerEntry.objects.get(pk=booked(firm, cora, DocumentKind.TIME))
    again = LedgerEntry.objects.get(pk=less.pk)
    again.pk, again.reverses, again.idempotency_key = None, less, uuid.uuid4()
    with pytest.raises(IntegrityError, match="takes nothing back"), transaction.atomic():
        again.save(force_insert=True)
