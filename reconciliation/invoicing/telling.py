"""Who is told when a proposal moves: the project's manager to release it, finance to approve it, and whoever released it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date
from urllib.parse import quote

from django.urls import reverse

from portal import access, figures, notifications
from portal.models import InvoiceProposal, NotificationKind, Project, User


def prepared(proposals: Sequence[InvoiceProposal], by: User | None) -> None:
    """An invoice is proposed: its project's manager releases it."""
    for proposal in proposals:
        if proposal.project.manager is not None and proposal.net:
            _tell([proposal.project.manager], proposal, "is proposed and waits for your release", by)


def released(proposal: InvoiceProposal, by: User) -> None:
    """A proposal is released: finance approves it."""
    notifications.answered(reverse("invoice_proposal", args=[proposal.pk]))
    _tell(list(access.holders(access.FIXERS, proposal.entity_id)), proposal, "was released and waits for approval", by)


def decided(proposal: InvoiceProposal, word: str, by: User) -> None:
    """Finance decided: whoever released it is told."""
    notifications.answered(reverse("invoice_proposal", args=[proposal.pk]))
    people = [person for person in (proposal.released_by, proposal.project.manager) if person is not None]
    _tell(people, proposal, word, by)


def left_out(project: Project, through: date, why: str) -> None:
    """The invoice run left a project out: its manager and finance are told why, once for each run and reason."""
    people = {*access.holders(access.FIXERS, project.entity_id), *([project.manager] if project.manager else [])}
    notifications.notify(
        people, NotificationKind.BILLING, f"The invoice run left {project.code} out: {why}",
        url=f"{reverse('readiness')}?text={quote(project.code)}", entity=project.entity_id,
        key=f"invoice-run:{project.pk}:{through.isoformat()}:{hashlib.sha256(why.encode()).hexdigest()[:12]}",
    )  # fmt: skip


def _tell(people: Sequence[User], proposal: InvoiceProposal, word: str, by: User | None) -> None:
    money = f"{figures.amount(proposal.net, proposal.currency)} {proposal.currency}"
    notifications.notify(
        people, NotificationKind.APPROVAL if "waits" in word else NotificationKind.BILLING,
        f"Invoice {proposal} of {proposal.project.code} over {money} {word}.",
        url=reverse("invoice_proposal", args=[proposal.pk]), entity=proposal.entity_id, by=by,
        key=f"proposal:{proposal.pk}:{proposal.state}:{proposal.content_hash[:12]}",
    )  # fmt: skip
