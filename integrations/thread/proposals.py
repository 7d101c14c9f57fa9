"""Invoice proposals in lines for a terminal: what is proposed, and what became of each draft."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils import timezone

from portal import figures
from portal.models import InvoiceDraft, LedgerEntry, ProposalLine
from reconciliation import naming


def proposals_told(name: str) -> Iterator[str]:
    """The proposals that a number leads to, each with its lines' drafts and how these stand on the ledger; four queries."""
    proposals = list(naming.proposals(name.strip()).select_related("project", "customer", "entity").order_by("pk"))
    drafts = list(InvoiceDraft.objects.of(*proposals).select_related("proposal", "connection", "invoice__current"))
    lines = ProposalLine.objects.filter(proposal__in=proposals, draft__isnull=False)
    stands = set(lines.values_list("proposal", "draft").distinct())
    owed = LedgerEntry.objects.filter(document__in=[draft.document_id for draft in drafts]).select_related("state_row")
    entries = {entry.document_id: entry for entry in owed}
    for proposal in proposals:
        amount = f"{figures.amount(proposal.net, proposal.currency)} {proposal.currency}"
        yield (
            f"Proposal {proposal} of {proposal.project.code} ({proposal.entity}) for {proposal.customer}, through "
            f"{proposal.through}, {amount}: {proposal.get_state_display().lower()}"
        )
        for draft in (one for one in drafts if (proposal.pk, one.pk) in stands):
            yield f"    Draft {draft.part} of {draft.parts}: {_standing(draft, entries.get(draft.document_id))}"


def _standing(draft: InvoiceDraft, entry: LedgerEntry | None) -> str:
    words = [f"{draft.connection} {draft.number}" if draft.number else f"{draft.connection}, no number yet"]
    if entry is not None:
        moved = timezone.localtime(entry.state_row.moved_at)
        state = entry.state_row.get_state_display().lower()
        words.append(f"entry {entry.pk}, key {entry.idempotency_key.hex}, {state} since {moved:%Y-%m-%d %H:%M:%S}")
    if draft.invoice is not None:
        words.append(f"it is {draft.invoice}, {draft.invoice.current.get_status_display().lower()}")
    return "; ".join(words)
