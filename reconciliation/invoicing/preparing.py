"""Proposing invoices: what is left to bill of a project up to a day becomes proposals, one for each customer and order.

The rule here: only what is posted and proved is proposed, and once. Preparing again makes open proposals anew and keeps what
people held; what was released or approved is left as it is.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from django.contrib.auth.models import AnonymousUser
from django.db import IntegrityError, transaction
from django.utils import timezone

from portal import access, audit
from portal import sql as portal_sql
from portal.models import (
    BillingModel,
    Contract,
    Customer,
    GrantRole,
    Grouping,
    InvoiceProposal,
    InvoiceSchedule,
    Project,
    ProposalEditor,
    ProposalLine,
    ProposalPart,
    ProposalState,
    User,
)
from reconciliation.invoicing import grouping, telling
from reconciliation.invoicing.content import content_hash
from reconciliation.invoicing.handing_over import hand_over_waiting
from reconciliation.readiness.agreements import billing_model_of, terms_of
from reconciliation.sql import invoicing as sql
from reconciliation.sql.unbillable import outdated

PREPARERS = access.FIXERS | {GrantRole.PROJECT_MANAGER}
ZERO = Decimal(0)


class NotProposable(Exception):
    """What cannot be proposed, released or approved, or not by this person; the message says why."""


class Held(NamedTuple):
    """A hold that a person put on work: it goes with the work from proposal to proposal until its day."""

    reason: str
    until: date | None
    by_id: int


def may(by: User | AnonymousUser, roles: frozenset[str], project: Project) -> bool:
    """Whether a person holds one of the roles over a project's invoices: as project manager, only over their own projects.

    A project without a manager is anybody's who manages projects in its entity.
    """
    if access.may(by, roles - {GrantRole.PROJECT_MANAGER}, project.entity_id):
        return True
    managed = GrantRole.PROJECT_MANAGER in roles and project.manager_id in (None, by.pk)
    return managed and access.may(by, frozenset({GrantRole.PROJECT_MANAGER}), project.entity_id)


def prepare(project: Project, through: date, *, by: User | None, how: str = "") -> list[InvoiceProposal]:
    """Propose the invoices of a project's work up to a day; the open proposals, in their order. `by` None: the invoice run."""
    if by is not None and not may(by, PREPARERS, project):
        raise NotProposable("Only the project's manager or finance of this entity prepares its invoices.")
    try:
        with transaction.atomic():
            return _prepare(project, through, by, how)
    except IntegrityError as error:
        if "left to bill" in str(error) or "not to be proposed" in str(error):
            raise NotProposable(
                "Something of it was billed or proposed elsewhere just now; prepare it again."
            ) from None
        raise


def prepare_anew(proposal: InvoiceProposal, *, by: User, how: str = "") -> None:
    """Make an open proposal anew from what is left to bill now, read as `how` says; withdrawn where nothing is left of it."""
    if proposal.state != ProposalState.OPEN:
        raise NotProposable("Only an open proposal is prepared anew; have it sent back first.")
    prepare(proposal.project, proposal.through, by=by, how=how)
    proposal.refresh_from_db()


def _prepare(project: Project, through: date, by: User | None, how: str) -> list[InvoiceProposal]:
    sql.lock_project(project.pk)
    if project.contract is not None and project.contract.one_invoice:
        sql.lock_contract(project.contract.pk)
    open_ones = list(
        InvoiceProposal.objects.select_for_update().filter(project=project, state=ProposalState.OPEN).order_by("pk")
    )
    holds = _holds_of(project)
    ProposalLine.objects.filter(proposal__in=open_ones).delete()
    items = sql.billables(project.pk, through, instalments=billing_model_of(project) == BillingModel.RETAINER)
    had = _had(project)
    standing = {(p.customer_id, p.currency, p.purchase_order_id): p for p in open_ones}
    last = _last_of(project)
    made: list[InvoiceProposal] = []
    rounding = project.contract.rounding if project.contract else Contract.Rounding.ENTRY
    for (currency, order_id, customer_id), (share, parts) in _by_invoice(project, items, rounding, had).items():
        proposal = standing.pop((customer_id, currency, order_id), None) or InvoiceProposal(
            entity_id=project.entity_id, project=project, contract=project.contract, customer_id=customer_id,
            purchase_order_id=order_id, currency=currency, grouping=how or (last.grouping if last else Grouping.PERSON),
            prepared_by=by, prepared_at=portal_sql.now(), through=through,
        )  # fmt: skip
        proposal.share, proposal.through, proposal.prepared_at = share, through, portal_sql.now()
        proposal.prepared_by = by
        proposal.grouping = how or proposal.grouping
        proposal.save()
        _write(proposal, parts, rounding, holds.get(customer_id, {}), last.through if last else None)
        made.append(proposal)
    for left in standing.values():
        left.state, left.reason, left.net = ProposalState.WITHDRAWN, "nothing of it is left to bill", ZERO
        left.save()
    for proposal in made:
        if by is not None:
            ProposalEditor.objects.get_or_create(proposal=proposal, user=by)
        audit.record(
            by, "proposal.prepared", proposal, entity=proposal.entity_id,
            after={"through": through.isoformat(), "net": str(proposal.net), "currency": proposal.currency},
        )  # fmt: skip
    telling.prepared(made, by)
    for proposal in open_ones:  # one that bills less, or later work, may be waited for no more
        hand_over_waiting(proposal, actor=by.get_username() if by else "invoicing")
    return made


def _by_invoice(
    project: Project, items: Sequence[sql.Billable], rounding: str, had: Mapping[tuple[int, int], Decimal]
) -> dict[tuple[str, int | None, int], tuple[Decimal, list[grouping.Part]]]:
    """What each invoice is to bill, by currency, order and customer, with the customer's share of the work.

    An order is of the customer of its contract: what others share of the work is on none.
    """
    by_order: dict[tuple[str, int | None], list[sql.Billable]] = defaultdict(list)
    for item in items:
        by_order[item.currency, item.purchase_order_id].append(item)
    shares = shares_of(project) if items else []
    whose = _survivor(project.contract.customer).pk if project.contract else None
    found: dict[tuple[str, int | None, int], tuple[Decimal, list[grouping.Part]]] = {}
    for (currency, order_id), group in sorted(by_order.items(), key=lambda one: (one[0][0], one[0][1] or 0)):
        for (customer_id, share), parts in zip(shares, grouping.shared(group, shares, rounding, had), strict=True):
            if parts:  # else this customer has all of their share
                order = order_id if len(shares) == 1 or customer_id == whose else None
                found.setdefault((currency, order, customer_id), (share, []))[1].extend(parts)
    return found


def shares_of(project: Project) -> list[tuple[int, Decimal]]:
    """Who pays how much of a project's work, in per cent: as the contract shares it, else its customer all of it."""
    shares: Mapping[str, Any] = project.contract.shares if project.contract else {}
    if not shares:
        return [(_survivor(project.customer).pk, Decimal(100))]
    customers = {c.code: _survivor(c) for c in Customer.objects.filter(code__in=shares)}
    if unknown := sorted(set(shares) - set(customers)):
        raise NotProposable(f"The work is shared with {', '.join(unknown)}, which is no customer that is known here.")
    return [(customers[code].pk, Decimal(str(share))) for code, share in sorted(shares.items())]


def _survivor(customer: Customer) -> Customer:
    while customer.merged_into is not None:
        customer = customer.merged_into
    return customer


def _last_of(project: Project) -> InvoiceProposal | None:
    went = InvoiceProposal.objects.filter(
        project=project, state__in=[ProposalState.HANDED_OVER, ProposalState.BILLED, ProposalState.APPROVED]
    )
    return went.order_by("-through", "-pk").first()


def _had(project: Project) -> dict[tuple[int, int], Decimal]:
    """What of the work each customer has already, by (work, customer)."""
    rows = sql.had(project.pk)
    customers = _survivors({customer_id for _, customer_id, _ in rows})
    found: dict[tuple[int, int], Decimal] = defaultdict(Decimal)
    for key, customer_id, quantity in rows:
        found[key, customers[customer_id]] += quantity
    return found


def _survivors(customer_ids: Collection[int]) -> dict[int, int]:
    """Who each customer is by now, after mergers."""
    customers = Customer.objects.select_related("merged_into").filter(pk__in=customer_ids)
    return {customer.pk: _survivor(customer).pk for customer in customers}


def _holds_of(project: Project) -> dict[int, dict[int, Held]]:
    """The holds that stand on work, by customer and entry (a milestone's key is negative).

    The proposal that a customer's work was in last decides: what was put back there is on hold no more.
    """
    today = timezone.localdate()
    rows = list(
        ProposalPart.objects.filter(line__proposal__project=project).order_by("pk").values_list(
            "line__proposal__customer_id", "entry_id", "milestone_id", "line__hold_reason", "line__held_until", "line__held_by",
        )
    )  # fmt: skip
    customers = _survivors({row[0] for row in rows})
    latest: dict[tuple[int, int], Held | None] = {
        (customers[customer], entry or -milestone): Held(reason, until, by) if reason else None
        for customer, entry, milestone, reason, until, by in rows
    }
    found: dict[int, dict[int, Held]] = defaultdict(dict)
    for (customer, key), held in latest.items():
        if held is not None and (held.until is None or held.until > today):
            found[customer][key] = held
    return found


def _write(
    proposal: InvoiceProposal,
    parts: Sequence[grouping.Part],
    rounding: str,
    holds: dict[int, Held],
    before: date | None,
) -> None:
    """Write the lines and parts of a proposal, and what they come to."""
    lines: list[ProposalLine] = []
    taken: list[ProposalPart] = []
    found = grouping.lines(parts, proposal.grouping, rounding, proposal.currency, dict(holds))
    for position, line in enumerate(found, start=1):
        first = line.parts[0].item
        held = holds.get(first.key)
        row = ProposalLine(
            proposal=proposal, position=position, key=uuid.uuid4(), description=line.description, quantity=line.quantity,
            unit_price=line.unit_price, net=line.net, tax_code=line.tax_code,
            is_late=before is not None and all(part.item.work_date <= before for part in line.parts),
            hold_reason=held.reason if held else "", held_until=held.until if held else None,
            held_by_id=held.by_id if held else None,
        )  # fmt: skip
        lines.append(row)
        taken += [
            ProposalPart(
                line=row, entity_id=proposal.entity_id, entry_id=part.item.entry_id, milestone_id=part.item.milestone_id,
                quantity=part.quantity, amount=part.amount,
            )
            for part in line.parts
        ]  # fmt: skip
    ProposalLine.objects.bulk_create(lines)
    ProposalPart.objects.bulk_create(taken)
    settle(proposal)


def settle(proposal: InvoiceProposal) -> None:
    """Work out what a proposal comes to and what an approver decides on, after its lines changed."""
    rows = list(proposal.lines.order_by("position"))
    proposal.net = sum((line.net for line in rows if line.held_by_id is None), ZERO)
    proposal.content_hash = content_hash(proposal, rows)
    proposal.save(update_fields=["net", "content_hash", "state", "grouping", "memo", "through"])


def run_due(today: date | None = None) -> list[InvoiceProposal]:
    """The invoice run: propose the invoices of every project whose run was due and is not prepared yet.

    A customer is run on their day; where milestones decide, whatever was signed is proposed. Open proposals of which something
    was billed or taken back elsewhere, or was on hold until today, are made anew. Each project is prepared once, and alone in its
    transaction.
    """
    day = today or timezone.localdate()
    due: dict[int, date] = {}
    for project_id, through in InvoiceProposal.objects.filter(pk__in=outdated()).values_list("project", "through"):
        due[project_id] = max(due.get(project_id, through), through)
    with_work = Project.objects.filter(pk__in=sql.projects_with_work(day)).select_related("contract", "customer")
    for project in with_work:
        terms = terms_of(project)
        run = day if terms.schedule == InvoiceSchedule.MILESTONE else terms.last_run(day)
        if run is None or _was_run(project, run, terms.through(run)):
            continue
        due[project.pk] = max(due.get(project.pk, terms.through(run)), terms.through(run))
    projects = Project.objects.filter(pk__in=due).select_related("contract", "customer", "entity").order_by("pk")
    return [proposal for project in projects for proposal in _or_later(project, due[project.pk])]


def _or_later(project: Project, through: date) -> list[InvoiceProposal]:
    """Propose the invoices of one project; what cannot be proposed now is met again by the next run, and people are told why."""
    try:
        return prepare(project, through, by=None)
    except NotProposable as refusal:
        telling.left_out(project, through, str(refusal))
        return []


def _was_run(project: Project, run: date, through: date) -> bool:
    """Whether it was prepared since then and as far: one that was only made anew bills no further than it did."""
    return InvoiceProposal.objects.filter(project=project, prepared_at__date__gte=run, through__gte=through).exists()
