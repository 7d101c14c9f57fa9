"""Handing over: an approved proposal becomes invoice drafts, owed to the system that bills by one ledger entry each.

The rule here: what goes is what was approved, to the cent. Lines on hold give their work back; a proposal with more lines than
the system takes is split, and the drafts add up to it or nothing is handed over. Where a contract has one invoice for its
projects, each is released by its own manager, and the last one approved takes the others along.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from importlib import import_module

from django.db.models import QuerySet
from django.utils import timezone

from portal import ledger
from portal import sql as portal_sql
from portal.models import Connection, Document, InvoiceDraft, InvoiceProposal, ProposalLine, ProposalState, State
from portal.models.documents import INVOICE
from reconciliation.invoicing.limits import Biller, biller_of
from reconciliation.readiness.agreements import terms_of
from reconciliation.sql import invoicing as sql

CONNECTORS = "integrations.registry"  # where connectors declare what their systems take; by name only


def hand_over(proposal: InvoiceProposal, *, actor: str) -> str:
    """Owe an approved proposal to the system that bills; why it cannot be, in a sentence, or empty. Joins the transaction.

    Where the contract asks for one invoice over its projects, it goes with what was approved of the others.
    """
    going = together(proposal, lock=True)
    missing = waited_for(proposal)
    if missing:
        return missing
    biller, problem = _biller_of_all(going)
    if problem or biller.connection is None:
        return problem
    lines = [line for one in going for line in one.lines.filter(held_by=None).order_by("position")]
    parts = split(lines, lines_at_most(biller.connection))
    net = sum((one.net for one in going), Decimal(0))
    if sum((line.net for part in parts for line in part), Decimal(0)) != net:
        raise AssertionError(f"The drafts of {proposal} do not add up to {net}.")
    today, first = timezone.localdate(), going[0]
    terms = terms_of(first.project)
    is_one = len(going) == 1
    named = " and ".join(one.project.code for one in going)
    keys = biller.keys if is_one else {name: key for name, key in biller.keys.items() if name != "project"}
    entries: list[tuple[ledger.Figures, State, str]] = []
    for number, of_part in enumerate(parts, start=1):
        draft = _draft(first, biller.connection, number, len(parts), of_part)
        draft.dated_on, draft.due_on = today, terms.due_on(today)
        draft.save(force_insert=True)
        ProposalLine.objects.filter(pk__in=[line.pk for line in of_part]).update(draft=draft)
        entries.append(
            (
                ledger.Figures(
                    document_id=draft.pk, version=1, kind=INVOICE, entity_id=first.entity_id,
                    source_id=biller.connection.pk, target_id=biller.connection.pk,
                    project_id=first.project_id if is_one else None, contract_id=first.contract_id,
                    customer_id=first.customer_id, work_date=today, post_on=today, is_billable=False,
                    memo=f"Invoice draft {draft} of {named}"[:500], target_keys=keys,
                ),
                State.READY,
                "",
            )
        )  # fmt: skip
    ledger.enter(entries, actor=actor, reason=f"{' and '.join(str(one) for one in going)} approved")
    moment = portal_sql.now()
    for one in going:
        sql.give_back(line_ids=list(one.lines.exclude(held_by=None).values_list("pk", flat=True)))
        one.state, one.handed_over_at = ProposalState.HANDED_OVER, moment
        one.save(update_fields=["state", "handed_over_at"])
    proposal.state, proposal.handed_over_at = ProposalState.HANDED_OVER, moment
    return ""


def hand_over_waiting(proposal: InvoiceProposal, *, actor: str) -> None:
    """Hand over what was approved and waited for a proposal, if it waits for nothing any more. Joins the transaction."""
    if not _is_shared(proposal):
        return
    for one in _beside(proposal).filter(state=ProposalState.APPROVED).exclude(pk=proposal.pk).select_related("project"):
        if not hand_over(one, actor=actor):
            return  # it took the others along


def kept_back(proposal: InvoiceProposal) -> str:
    """Why an approved proposal is not handed over, in a sentence, or empty."""
    return waited_for(proposal) or _biller_of_all(together(proposal))[1]


def lock_shared(proposal: InvoiceProposal) -> None:
    """One at a time decides about proposals that go on one invoice; taken before any of their rows, so that nobody deadlocks."""
    if _is_shared(proposal):
        sql.lock_contract(proposal.contract_id or 0)


def together(proposal: InvoiceProposal, *, lock: bool = False) -> list[InvoiceProposal]:
    """What was approved and goes on one invoice with a proposal, itself among it, by project."""
    if not _is_shared(proposal):
        return [proposal]
    if lock:
        lock_shared(proposal)
    found = (
        _beside(proposal).filter(state=ProposalState.APPROVED).select_related("project__contract", "project__customer")
    )
    return list(found.select_for_update(of=("self",)) if lock else found)


def waited_for(proposal: InvoiceProposal) -> str:
    """What of other projects is still to be approved for the one invoice that a contract asks for, in a sentence, or empty."""
    if not _is_shared(proposal):
        return ""
    open_ones = _beside(proposal).filter(
        state__in=[ProposalState.OPEN, ProposalState.RELEASED], net__gt=0, through__lte=proposal.through
    )
    names = [f"{one} of {one.project.code}" for one in open_ones.exclude(pk=proposal.pk).select_related("project")]
    if not names:
        return ""
    return (
        f"Contract {proposal.contract} has one invoice for its projects: {' and '.join(names)} "
        f"{'is' if len(names) == 1 else 'are'} still to be approved, or to be withdrawn from this invoice."
    )


def _is_shared(proposal: InvoiceProposal) -> bool:
    return proposal.contract is not None and proposal.contract.one_invoice


def _beside(proposal: InvoiceProposal) -> QuerySet[InvoiceProposal]:
    """The proposals of the same contract that the same customer would find on the same invoice, itself among them."""
    return InvoiceProposal.objects.filter(
        contract=proposal.contract_id, entity=proposal.entity_id, customer=proposal.customer_id,
        currency=proposal.currency, purchase_order=proposal.purchase_order_id,
    ).order_by("project__code", "pk")  # fmt: skip


def _biller_of_all(going: Sequence[InvoiceProposal]) -> tuple[Biller, str]:
    """The system that bills all of these proposals; or why there is none."""
    found = [biller_of(one) for one in going]
    for one in found:
        if one.problem or one.connection is None:
            return one, one.problem
    names = sorted({str(one.connection) for one in found})
    if len(names) > 1:
        return found[0], f"It goes on one invoice with other projects, which {' and '.join(names)} bill."
    return found[0], ""


def lines_at_most(connection: Connection) -> int:
    """How many lines the system takes on one bill: as its connector declares, or fewer where the connection's settings say so."""
    declared: int = import_module(CONNECTORS).lines_on_a_bill(connection.connector)
    return max(1, min(declared, int(connection.settings.get("lines_on_a_bill") or declared)))


def split(lines: Sequence[ProposalLine], at_most: int) -> list[list[ProposalLine]]:
    """Lines in their order, in as few bills as there must be."""
    return [list(lines[start : start + at_most]) for start in range(0, len(lines), at_most)]


def _draft(
    proposal: InvoiceProposal, connection: Connection, number: int, count: int, lines: Sequence[ProposalLine]
) -> InvoiceDraft:
    said = portal_sql.as_json([[str(line.key), line.description, line.net] for line in lines])
    document = Document.objects.create(
        connection=connection, entity_id=proposal.entity_id, kind=INVOICE, external_id=f"proposal:{proposal.pk}:{number}",
        current_version=1, seen_revision="1", content_digest=hashlib.sha256(said.encode()).hexdigest(),
        created_at=portal_sql.now(),
    )  # fmt: skip
    return InvoiceDraft(
        document=document, connection=connection, entity_id=proposal.entity_id, proposal=proposal, part=number, parts=count,
        net=sum((line.net for line in lines), Decimal(0)),
    )  # fmt: skip
