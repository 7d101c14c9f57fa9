"""Rules about approval: the entry is approved, by somebody else than the worker, who may approve on the project."""

from __future__ import annotations

from decimal import Decimal

from reconciliation.facts.records import Draft, Refused, normal
from reconciliation.facts.tables import Facts
from reconciliation.pricing import figure
from reconciliation.rules.base import TIME, Finding, rule, said, who


@rule(
    "not-approved",
    title="Not approved, or approval withdrawn",
    subject="source",
    waivable=False,
    remedies=("hand-back",),
    cases=(5, 15, 50),
)
def not_approved(entry: Draft, facts: Facts) -> Finding | None:
    """Only what the source has approved reaches the books."""
    if entry.status == "approved":
        return None
    return Finding(
        sentence=f"The entry is {entry.status} at {entry.source.name}; it goes when it is approved.",
        subject_key=str(entry.source_id),
        cause=f"Entries of {entry.source.name} are not approved any more.",
        detail={"status": entry.status},
        connection_id=entry.source_id,
    )


@rule(
    "approval-conflict",
    title="Approved in one tool, rejected in another",
    subject="project",
    remedies=("same-work", "waive", "hand-back"),
    cases=(54,),
    kinds=TIME,
)
def approval_conflict(entry: Draft, facts: Facts) -> Finding | None:
    """No other tool rejected the same work, unless this one's word is what counts for the project.

    The same work is the same provenance, or the same person, day, project, hours and text.
    """
    project_code = entry.project.code if entry.project is not None else ""
    settled = entry.policy.authoritative_sources
    counts = settled.get(project_code, settled.get("*", ""))
    if not entry.refused or counts == entry.source.code:
        return None
    against = next((other for other in entry.refused if _same_work(entry, other)), None)
    if against is None:
        return None
    hours = f"{figure(entry.whole_hours or Decimal(0))} hours of {who(entry)} on {entry.work_date}"
    verdict = "rejected" if against.status == "rejected" else "took back the approval of"
    named = f"project {project_code}" if project_code else "this work"
    word = (
        f"and {against.source.name}'s word counts for {named}"
        if counts == against.source.code
        else f"and no source is set as the one whose word counts for {named}"
    )
    return Finding(
        sentence=f"{entry.source.name} approved {hours}, {against.source.name} {verdict} them as entry {against.external_id}, "
        f"{word}; settle it at the sources, leave the entry out, or waive with the reason why it goes.",
        subject_key=f"{entry.project.id if entry.project else 0}:{entry.source_id}:{against.source.id}",
        cause=f"{entry.source.name} approves work on {named} that {against.source.name} rejects.",
        detail={"against": against.document_id, "project_id": entry.project.id if entry.project else None},
        connection_id=entry.source_id,
    )


def _same_work(entry: Draft, other: Refused) -> bool:
    if entry.provenance and entry.provenance in (other.provenance, other.external_id):
        return True
    if other.provenance and other.provenance == entry.external_id:
        return True
    alike = other.hours == entry.whole_hours and other.text == normal(entry.description)
    return alike and other.project_id == (entry.project.id if entry.project is not None else None)


@rule(
    "approver-is-worker",
    title="Approved by the worker",
    subject="resource",
    waivable=False,
    remedies=("hand-back",),
    cases=(53,),
)
def approver_is_worker(entry: Draft, facts: Facts) -> Finding | None:
    """Nobody approves their own time, whether or not the master data knows them."""
    approver, worker = entry.approver, entry.resource
    if approver is not None and worker is not None:
        same = approver.id == worker.id
    else:
        key = entry.approver_key and entry.approver_key == entry.resource_key
        same = bool(key or (entry.approver_code and entry.approver_code == entry.resource_code))
    if not same:
        return None
    subject = str(worker.id) if worker else normal(said(entry.resource_code, entry.resource_key, entry.resource_name))
    return Finding(
        sentence=f"{who(entry)} approved their own entry of {entry.work_date}; somebody else must approve it at "
        f"{entry.source.name}.",
        subject_key=subject,
        cause=f"{who(entry)} approves their own time.",
        detail={"resource_id": worker.id if worker else None},
    )


@rule(
    "approver-not-in-chain",
    title="Approver may not approve on this project",
    subject="project",
    remedies=("waive", "hand-back"),
    cases=(53,),
)
def approver_not_in_chain(entry: Draft, facts: Facts) -> Finding | None:
    """Where the project has an approval chain, the approver is in it."""
    project, approver = entry.project, entry.approver
    if project is None:
        return None
    named = approver.name if approver else said(entry.approver_name, entry.approver_code, entry.approver_key)
    if not named:
        if not entry.policy.approver_required:
            return None
        return Finding(
            sentence=f"{entry.source.name} does not say who approved the entry of {who(entry)} on {entry.work_date}; "
            "the policy needs an approver.",
            subject_key=f"{project.id}:",
            cause=f"Entries on project {project.code} name no approver.",
            detail={"project_id": project.id},
        )
    chain = facts.approvers.get(project.id)
    if not chain or not entry.policy.approver_from_chain:
        return None
    if approver is not None and any(approver.id == link for link, _ in chain):
        return None
    expected = " or ".join(name for _, name in chain)
    return Finding(
        sentence=f"{named} approved the entry of {who(entry)} on {entry.work_date}, but project {project.code} is approved by "
        f"{expected}; have it approved by one of them, or add {named} to the chain.",
        subject_key=f"{project.id}:{approver.id if approver else normal(named)}",
        cause=f"{named} is not in the approval chain of project {project.code}.",
        detail={"project_id": project.id, "approver_id": approver.id if approver else None, "value": named},
    )
