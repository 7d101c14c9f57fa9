"""Decisions that wait: one of each kind that a person of finance may ask another one for."""

from __future__ import annotations

from datetime import date

from portal.models import AccountingPeriod, ErasureRequest, GrantRole, User
from portal.sql import now
from reconciliation import changes, operations
from reconciliation.changes import Line
from reconciliation.models import (
    Approval,
    Certificate,
    MatchingRule,
    Onboarding,
    Proposal,
    ReconciliationRun,
    Rehearsal,
)
from reconciliation.models.approvals import may_decide
from tests import world
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, case

KINDS = {"fix", "change", "certificate", "rule", "code", "live", "erasure"}


def found_by(user: User) -> list[Approval]:
    """What waits for one person's decision."""
    return list(Approval.objects.filter(may_decide(user)))


def grant(name: str, role: str, firm: Firm) -> User:
    return world.user(name, GrantRole(role), firm.entity)


def ask(firm: Firm, by: User) -> None:
    """One decision of each kind that one person of finance asks for."""
    firm.entity.policy = {"second_person_rows": 2}
    firm.entity.save()
    desk.off_rate(firm, 3)
    planned = operations.plan(
        "use-contract-rate", user=by, parameters={}, reason="the card holds", case=case("rate-mismatch")
    )
    operations.confirm(planned, user=by)
    line = Line("rate", firm.rate.pk, "change", {"amount": "125"})
    changes.submit(changes.draft(by=by, title="A dearer rate", reason="by letter", lines=[line]), by)
    period = AccountingPeriod.objects.get(entity=firm.entity, code="2026-09")
    run = ReconciliationRun.objects.create(
        entity=firm.entity, period=period, state="balanced", started_at=now(), finished_at=now()
    )
    Certificate.objects.create(
        period=period, run=run, books="open", totals={}, differing=2, note="known", prepared_by=by, prepared_at=now()
    )
    MatchingRule.objects.create(
        entity=firm.entity, leg="ledger_target", name="Same day", criteria=["day"], made_by=by, tested_at=now(),
        tested={"groups": 4, "agreed": 4, "contradicted": 0, "new": 0},
    )  # fmt: skip
    Proposal.objects.create(
        entity=firm.entity, connection=firm.source, kind="project", code=desk.MISTYPED, internal_id=1, record="ACM-1 · Acme",
        valid_from=date(2026, 9, 1), reason="mapped twice", proposed_by=by, proposed_at=now(),
        evidence={"operations": 2, "entries": 5, "money": {"USD": "600.00"}},
    )  # fmt: skip
    entering = Onboarding.objects.create(
        entity=firm.entity, source=firm.source, reason="bought", started_by=by, started_at=now()
    )
    rehearsal = Rehearsal.objects.create(
        onboarding=entering,
        period=period,
        basis="statement",
        state="tied_out",
        asked_by=by,
        asked_at=now(),
        finished_at=now(),
    )
    Onboarding.objects.filter(pk=entering.pk).update(
        state="proposed", rehearsal=rehearsal, proposed_by=by, proposed_at=now(), proposed_because="it ties out"
    )
    ErasureRequest.objects.create(
        resource=firm.ana, entities=[firm.entity.pk], reason="letter of 3 Nov", asked_by=by, asked_at=now()
    )
