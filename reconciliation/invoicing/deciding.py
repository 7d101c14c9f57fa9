"""What people decide about a proposal: hold a line, release it, send it back, approve it, withdraw it.

The rule here: the project's side releases, finance approves, and it is never one person; the database refuses it as well. Who
edited does not approve. Every decision is in the audit trail, with its reason where it needs one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from django.db import transaction
from django.utils import timezone

from portal import access, audit, figures, ledger
from portal import sql as portal_sql
from portal.models import GrantRole, InvoiceProposal, ProposalEditor, ProposalLine, ProposalState, State, User
from reconciliation import cases
from reconciliation.invoicing import telling
from reconciliation.invoicing.handing_over import hand_over, hand_over_waiting, lock_shared
from reconciliation.invoicing.limits import blockers
from reconciliation.invoicing.preparing import PREPARERS, NotProposable, may, settle
from reconciliation.invoicing.risks import digest_of, risks_of
from reconciliation.invoicing.standing import OPEN, by_state
from reconciliation.sql import invoicing as sql

RELEASERS = frozenset({GrantRole.PROJECT_MANAGER})
APPROVERS = access.FIXERS


class Decided(NotProposable):
    """The same person has decided just so already: nothing more is to be done, and nothing went wrong."""


def hold(line: ProposalLine, *, by: User, reason: str, until: date | None = None) -> ProposalLine:
    """Keep a line off the invoice, for a reason and perhaps until a day; its work stays on hold in later proposals as well."""
    if not reason.strip():
        raise NotProposable("A line is held for a reason: say which.")
    if until is not None and until <= (today := timezone.localdate()):
        said = f"A hold until {figures.day(until)} is over already: it ends as that day begins, today is {figures.day(today)}."
        raise NotProposable(f"{said} Say a later day, or none.")
    with transaction.atomic():
        proposal, row = _to_edit(line, by)
        row.held_by, row.hold_reason, row.held_until = by, reason.strip()[:500], until
        row.save(update_fields=["held_by", "hold_reason", "held_until"])
        _edited(
            proposal, by, "proposal.line-held", reason, {"line": row.description, "until": until and until.isoformat()}
        )
        hand_over_waiting(proposal, actor=by.get_username())
    return row


def unhold(line: ProposalLine, *, by: User) -> ProposalLine:
    """Put a line back on the invoice."""
    with transaction.atomic():
        proposal, row = _to_edit(line, by)
        if row.held_by_id is None:
            raise NotProposable("The line is not on hold.")
        row.held_by, row.hold_reason, row.held_until = None, "", None
        row.save(update_fields=["held_by", "hold_reason", "held_until"])
        _edited(proposal, by, "proposal.line-put-back", "", {"line": row.description})
    return row


def word(proposal: InvoiceProposal, *, by: User, memo: str) -> InvoiceProposal:
    """Say what the customer reads above the lines."""
    with transaction.atomic():
        locked = _locked(proposal, by, PREPARERS, ProposalState.OPEN)
        locked.memo = memo.strip()[:900]
        locked.save(update_fields=["memo"])
        _edited(locked, by, "proposal.worded", "", {"memo": locked.memo})
    return locked


def release(proposal: InvoiceProposal, *, by: User, seen: str, accepts: str = "") -> InvoiceProposal:
    """The project's manager lets it go to finance, as it was seen; `accepts` is the digest of the risks that they read.

    Raises NotProposable where something else stops it or does not hold by now than what was read (see `risks`).
    """
    with transaction.atomic():
        locked = _locked(
            proposal, by, RELEASERS, ProposalState.OPEN, "Only the project's manager releases it.", same="released_by"
        )
        _as_seen(locked, seen)
        _nothing_stops(locked)
        accepted = _accepted(locked, accepts)
        locked.state, locked.released_by, locked.released_at = ProposalState.RELEASED, by, portal_sql.now()
        locked.reason = ""
        locked.save(update_fields=["state", "released_by", "released_at", "reason"])
        audit.record(
            by, "proposal.released", locked, entity=locked.entity_id, after={**_figures(locked), **_risks(accepted)}
        )
        telling.released(locked, by)
    return locked


def send_back(proposal: InvoiceProposal, *, by: User, reason: str) -> InvoiceProposal:
    """Finance does not approve it as it is, or its manager wants it back: it is open again, and says why."""
    if not reason.strip():
        raise NotProposable("Say why: whoever released it reads it.")
    with transaction.atomic():
        locked = _locked(proposal, by, PREPARERS, ProposalState.RELEASED)
        locked.state, locked.released_by, locked.released_at = ProposalState.OPEN, None, None
        locked.reason = reason.strip()[:500]
        locked.save(update_fields=["state", "released_by", "released_at", "reason"])
        audit.record(by, "proposal.sent-back", locked, entity=locked.entity_id, reason=reason, after=_figures(locked))
        telling.decided(locked, f"was sent back: {locked.reason}", by)
    return locked


def approve(proposal: InvoiceProposal, *, by: User, seen: str, accepts: str = "") -> InvoiceProposal:
    """Finance agrees to what was seen, and the draft is owed to the system that bills. Not by who released or edited it.

    `accepts` is the digest of the risks that they read, as in `release`.
    """
    with transaction.atomic():
        locked = _locked(
            proposal, by, APPROVERS, ProposalState.RELEASED, "Only finance of this entity approves its invoices.",
            same="approved_by",
        )  # fmt: skip
        if locked.released_by_id == by.pk:
            raise NotProposable("Somebody else has to approve it: you released it.")
        if locked.editors.filter(user=by).exists():
            raise NotProposable("Somebody else has to approve it: you edited it.")
        _as_seen(locked, seen)
        _nothing_stops(locked)
        accepted = _accepted(locked, accepts)
        locked.state, locked.approved_by, locked.approved_at = ProposalState.APPROVED, by, portal_sql.now()
        locked.save(update_fields=["state", "approved_by", "approved_at"])
        audit.record(
            by,
            "proposal.approved",
            locked,
            entity=locked.entity_id,
            after={**_figures(locked), "hash": locked.content_hash, **_risks(accepted)},
        )
        telling.decided(locked, "was approved", by)
        hand_over(locked, actor=by.get_username())
    return locked


def hand_over_again(proposal: InvoiceProposal, *, by: User) -> InvoiceProposal:
    """Try once more to owe an approved proposal to the system that bills, after what was missing was added."""
    with transaction.atomic():
        locked = _locked(proposal, by, APPROVERS, ProposalState.APPROVED)
        problem = hand_over(locked, actor=by.get_username())
        if problem:
            raise NotProposable(problem)
    return locked


def send_again(proposal: InvoiceProposal, *, by: User, reason: str) -> list[int]:
    """Let drafts that the system refused go once more under their keys, after it was put right there; the entries."""
    if not reason.strip():
        raise NotProposable("Say what was put right.")
    with transaction.atomic():
        locked = _locked(proposal, by, APPROVERS, ProposalState.HANDED_OVER)
        refs = [
            (entry, fence) for _, _, entry, state, fence, _ in sql.entries_of([locked.pk]) if state == State.REJECTED
        ]
        moved = ledger.reopen(refs, actor=by.get_username(), reason=reason)
        if not moved:
            raise NotProposable("Nothing of it was refused.")
        cases.close_holds(moved, reason=reason)
        audit.record(by, "proposal.sent-again", locked, entity=locked.entity_id, reason=reason)
    return moved


def withdraw(proposal: InvoiceProposal, *, by: User, reason: str) -> InvoiceProposal:
    """Give the work of a proposal back. One whose draft may be in the system that bills is voided there instead.

    What stands on one invoice with it is withdrawn with it; what was approved and waited for it goes without it.
    """
    if not reason.strip():
        raise NotProposable("A proposal is withdrawn for a reason: say which.")
    with transaction.atomic():
        lock_shared(proposal)
        [locked, *others] = _with_its_drafts(proposal)
        if not may(by, APPROVERS if locked.state in _PAST else PREPARERS, locked.project):
            raise NotProposable(
                "Only finance of this entity withdraws what was approved."
                if locked.state in _PAST
                else "Only the project's manager or finance of this entity does this."
            )
        if locked.state in _OVER:
            raise NotProposable(f"It stays as it is: {locked.get_state_display().lower()}.")
        _take_drafts_back([locked, *others], by, reason)
        for one in [locked, *(one for one in others if one.state == ProposalState.HANDED_OVER)]:
            sql.give_back(proposal_id=one.pk)
            one.state, one.reason = ProposalState.WITHDRAWN, reason.strip()[:500]
            one.save(update_fields=["state", "reason"])
            audit.record(by, "proposal.withdrawn", one, entity=one.entity_id, reason=reason, after=_figures(one))
            telling.decided(one, f"was withdrawn: {one.reason}", by)
        hand_over_waiting(locked, actor=by.get_username())
    return locked


def _with_its_drafts(proposal: InvoiceProposal) -> list[InvoiceProposal]:
    """A proposal, then every other one that shares drafts with it or with one that does, locked: none goes without the others."""
    keys, more = set[int](), {proposal.pk}
    while more - keys:
        keys |= more
        drafts = ProposalLine.objects.filter(proposal__in=keys, draft__isnull=False).values("draft")
        more = set(ProposalLine.objects.filter(draft__in=drafts).values_list("proposal", flat=True))
    sql.lock_proposals(keys)
    rows = InvoiceProposal.objects.filter(pk__in=keys).select_related("project__manager", "contract", "released_by")
    return sorted(rows, key=lambda one: (one.pk != proposal.pk, one.pk))


def _take_drafts_back(proposals: Sequence[InvoiceProposal], by: User, reason: str) -> None:
    """Cancel what proposals owe to the system that bills; refused where anything of them may be there."""
    found = [
        row for row in sql.entries_of([one.pk for one in proposals]) if row[3] != State.CANCELLED
    ]  # one that is cancelled was looked for and is gone there, or never went
    if any(state not in OPEN or may_be_there for *_, state, _, may_be_there in found):
        beside = " and ".join(f"{one} of {one.project.code}" for one in proposals[1:])
        raise NotProposable(
            "Its draft may be in the system that bills by now: void it there, and its hours are open again."
            if not beside
            else f"It stands on one invoice with {beside}, and a draft of them may be in the system that bills by now: void it "
            "there, and its hours are open again."
        )
    for state, refs in by_state([(entry, state, fence) for _, _, entry, state, fence, _ in found]).items():
        moved = ledger.cancel(refs, state, actor=by.get_username(), reason=reason)
        cases.close_holds(moved, outcome=cases.WITHDRAWN, reason=reason)


_OVER = (ProposalState.BILLED, ProposalState.VOIDED, ProposalState.DELETED, ProposalState.WITHDRAWN)
_PAST = (ProposalState.APPROVED, ProposalState.HANDED_OVER, *_OVER[:3])


def _locked(
    proposal: InvoiceProposal, by: User, roles: frozenset[str], state: str, who: str = "", *, same: str = ""
) -> InvoiceProposal:
    """The row, in the state that a decision takes; `same` is who decided it so where it was. Raises Decided, NotProposable."""
    if not may(by, roles, proposal.project):
        raise NotProposable(who or "Only the project's manager or finance of this entity does this.")
    lock_shared(proposal)
    sql.lock_proposals([proposal.pk])
    locked = InvoiceProposal.objects.select_related(
        "project__manager", "contract", "customer", "purchase_order", "entity", "released_by", "approved_by"
    ).get(pk=proposal.pk)
    if locked.state != state:
        now, who_did = locked.get_state_display().lower(), getattr(locked, same) if same else None
        went_on = locked.state not in (ProposalState.OPEN, ProposalState.WITHDRAWN)
        if went_on and who_did == by:
            raise Decided(f"You have decided so already: it is {now}.")
        told = f"{who_did} {same.removesuffix('_by')} it before you: it" if went_on and who_did else "It"
        raise NotProposable(f"{told} is {now} by now; look at it again.")
    return locked


def _to_edit(line: ProposalLine, by: User) -> tuple[InvoiceProposal, ProposalLine]:
    proposal = _locked(line.proposal, by, PREPARERS, ProposalState.OPEN)
    row = ProposalLine.objects.filter(pk=line.pk, proposal=proposal).first()
    if row is None:
        raise NotProposable("The line is not on it any more; look at it again.")
    return proposal, row


def _edited(proposal: InvoiceProposal, by: User, action: str, reason: str, after: dict[str, object]) -> None:
    ProposalEditor.objects.get_or_create(proposal=proposal, user=by)
    settle(proposal)
    audit.record(by, action, proposal, entity=proposal.entity_id, reason=reason, after=after)


def _as_seen(proposal: InvoiceProposal, seen: str) -> None:
    if proposal.content_hash != seen:
        raise NotProposable("It was changed meanwhile; look at it again.")


def _nothing_stops(proposal: InvoiceProposal) -> None:
    found = blockers(proposal)
    if found:
        raise NotProposable(" ".join(one.words for one in found))


def _accepted(proposal: InvoiceProposal, digest: str) -> list[str]:
    """What does not hold of its months and was accepted, asked under the lock: just what was read, or nothing goes on."""
    found = risks_of(proposal)
    if found and not digest:
        words = " ".join(risk.words for risk in found)
        raise NotProposable(f"Say that you have read what does not hold, or put it right first. {words}")
    if digest_of(found) != digest:
        raise NotProposable("What does not hold of it changed meanwhile; read it again.")
    return [risk.words for risk in found]


def _risks(accepted: Sequence[str]) -> dict[str, list[str]]:
    return {"accepted": list(accepted)} if accepted else {}


def _figures(proposal: InvoiceProposal) -> dict[str, str]:
    return {"net": str(proposal.net), "currency": proposal.currency, "through": proposal.through.isoformat()}
