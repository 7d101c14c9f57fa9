"""Handing over: an approved proposal becomes invoice drafts, owed to the system that bills by one ledger entry each.

The rule here: what goes is what was approved, to the cent. Lines on hold give their work back; a proposal with more lines than
the system takes is split, and the drafts add up to it or nothing is handed over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Decimal

from django.utils import timezone

from portal import ledger
from portal import sql as portal_sql
from portal.models import Connection, Document, InvoiceDraft, InvoiceProposal, ProposalLine, ProposalState, State
from portal.models.documents import INVOICE
from reconciliation.invoicing.limits import biller_of
from reconciliation.readiness.agreements import terms_of
from reconciliation.sql import invoicing as sql

LINES_AT_MOST = 1000  # where the connection's settings say nothing; the narrowest system that we know


def hand_over(proposal: InvoiceProposal, *, actor: str) -> str:
    """Owe an approved proposal to the system that bills; why it cannot be, in a sentence, or empty. Joins the transaction."""
    biller = biller_of(proposal)
    if biller.problem or biller.connection is None:
        return biller.problem
    going = list(proposal.lines.filter(held_by=None).order_by("position"))
    parts = split(going, lines_at_most(biller.connection))
    if sum((line.net for part in parts for line in part), Decimal(0)) != proposal.net:
        raise AssertionError(f"The drafts of {proposal} do not add up to {proposal.net}.")
    today = timezone.localdate()
    terms = terms_of(proposal.project)
    entries: list[tuple[ledger.Figures, State, str]] = []
    for number, lines in enumerate(parts, start=1):
        draft = _draft(proposal, biller.connection, number, len(parts), lines)
        draft.dated_on, draft.due_on = today, terms.due_on(today)
        draft.save(force_insert=True)
        ProposalLine.objects.filter(pk__in=[line.pk for line in lines]).update(draft=draft)
        entries.append(
            (
                ledger.Figures(
                    document_id=draft.pk, version=1, kind=INVOICE, entity_id=proposal.entity_id,
                    source_id=biller.connection.pk, target_id=biller.connection.pk, project_id=proposal.project_id,
                    contract_id=proposal.contract_id, customer_id=proposal.customer_id, work_date=today, post_on=today,
                    is_billable=False, memo=f"Invoice draft {draft} of {proposal.project.code}", target_keys=biller.keys,
                ),
                State.READY,
                "",
            )
        )  # fmt: skip
    ledger.enter(entries, actor=actor, reason=f"{proposal} was approved")
    sql.give_back(line_ids=list(proposal.lines.exclude(held_by=None).values_list("pk", flat=True)))
    proposal.state, proposal.handed_over_at = ProposalState.HANDED_OVER, portal_sql.now()
    proposal.save(update_fields=["state", "handed_over_at"])
    return ""


def lines_at_most(connection: Connection) -> int:
    """How many lines the system takes on one bill."""
    return max(1, int(connection.settings.get("lines_on_a_bill") or LINES_AT_MOST))


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
