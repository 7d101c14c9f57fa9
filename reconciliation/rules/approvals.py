"""Rules about approval: the entry is approved, by somebody else than the worker, who may approve on the project."""

from __future__ import annotations

from reconciliation.facts.records import Draft, normal
from reconciliation.facts.tables import Facts
from reconciliation.rules.base import Finding, rule, said, who


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
