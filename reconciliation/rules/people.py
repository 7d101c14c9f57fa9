"""Rules about the person: known, engaged on the work date, by an entity that may do this work, with a cost centre."""

from __future__ import annotations

from reconciliation.facts.records import Draft, normal, span_holds
from reconciliation.facts.tables import Facts
from reconciliation.rules.base import Finding, rule, said, who


@rule(
    "resource-unknown",
    title="Person is not in the master data",
    subject="code",
    waivable=False,
    remedies=("map-code", "hand-back"),
    cases=(25, 32),
)
def resource_unknown(entry: Draft, facts: Facts) -> Finding | None:
    """The person whom the source names is one of ours."""
    if entry.resource is not None:
        return None
    name = said(entry.resource_code, entry.resource_key, entry.resource_name)
    return Finding(
        sentence=f"Person “{name}” is not known; map the code to a person, or add the person to the master data.",
        subject_key=normal(name),
        cause=f"Person “{name}” is not in the master data.",
        detail={
            "kind": "resource",
            "code": entry.resource_code,
            "key": entry.resource_key,
            "name": entry.resource_name,
            "connection_id": entry.source_id,
        },
        connection_id=entry.source_id,
    )


@rule(
    "resource-inactive",
    title="Person was not engaged on the work date",
    subject="resource",
    waivable=False,
    can_be_off=True,
    remedies=("extend-engagement", "hand-back"),
    cases=(25, 26),
)
def resource_inactive(entry: Draft, facts: Facts) -> Finding | None:
    """The person had an engagement on the day the work was done."""
    resource = entry.resource
    if resource is None or entry.engagement is not None:
        return None
    spans = facts.engagements.get(resource.id, ())
    ended = [span.valid_to for span in spans if span.valid_to < entry.work_date]
    begins = [span.valid_from for span in spans if span.valid_from > entry.work_date]
    if ended:
        standing = f"is not engaged after {max(ended)}"
    elif begins:
        standing = f"is engaged only from {min(begins)}"
    else:
        standing = "has no engagement"
    return Finding(
        sentence=f"{resource.name} ({resource.code}) {standing}, and the work was on {entry.work_date}; "
        "correct the engagement, or hand the entry back.",
        subject_key=str(resource.id),
        cause=f"{resource.name} ({resource.code}) {standing}.",
        detail={"resource_id": resource.id},
    )


@rule(
    "resource-wrong-entity",
    title="Person works for another legal entity",
    subject="resource",
    remedies=("hand-back", "waive"),
    cases=(25,),
)
def resource_wrong_entity(entry: Draft, facts: Facts) -> Finding | None:
    """Neither the person nor the project may both belong to another entity than the source of the entry."""
    engagement, project = entry.engagement, entry.project
    if engagement is None or project is None or engagement.entity_id == entry.entity_id:
        return None
    if project.entity_id == entry.entity_id:
        return None  # lent between entities: intercompany-missing asks about that
    employer, owner = facts.entities[engagement.entity_id], facts.entities[project.entity_id]
    return Finding(
        sentence=f"{who(entry)} worked for {employer.code} on {entry.work_date} on a project of {owner.code}, but "
        f"{entry.source.name} reports for {entry.entity.code}; record the time in a source of {employer.code} or {owner.code}.",
        subject_key=str(engagement.resource_id),
        cause=f"{who(entry)} works for {employer.code}, not for {entry.entity.code}.",
        detail={"resource_id": engagement.resource_id, "employer": employer.code, "entity": entry.entity.code},
    )


@rule(
    "intercompany-missing",
    title="No intercompany relation between the entities",
    subject="entities",
    waivable=False,
    can_be_off=True,
    remedies=("add-intercompany", "hand-back"),
    cases=(44, 111),
)
def intercompany_missing(entry: Draft, facts: Facts) -> Finding | None:
    """People of one entity work on projects of another only under a relation between the two."""
    engagement, project = entry.engagement, entry.project
    if engagement is None or project is None or engagement.entity_id == project.entity_id:
        return None
    if facts.relation_on(engagement.entity_id, project.entity_id, entry.work_date) is not None:
        return None
    provider, receiver = facts.entities[engagement.entity_id], facts.entities[project.entity_id]
    return Finding(
        sentence=f"{who(entry)} of {provider.code} worked on {project.code} of {receiver.code} on {entry.work_date} without an "
        "intercompany relation; add the relation.",
        subject_key=f"{provider.code}>{receiver.code}",
        cause=f"There is no intercompany relation from {provider.code} ({provider.name}) to {receiver.code} ({receiver.name}).",
        detail={"provider_id": provider.id, "receiver_id": receiver.id},
    )


@rule(
    "intercompany-unpriced",
    title="No price list between the entities that holds",
    subject="entities",
    remedies=("price-intercompany", "hand-back", "waive"),
    cases=(112,),
)
def intercompany_unpriced(entry: Draft, facts: Facts) -> Finding | None:
    """What lent people cost stands on a price list of the relation, in the currency in which the lender keeps its books."""
    engagement, project = entry.engagement, entry.project
    if engagement is None or project is None or engagement.entity_id == project.entity_id:
        return None
    relation = facts.relation_on(engagement.entity_id, project.entity_id, entry.work_date)
    provider, receiver = facts.entities[engagement.entity_id], facts.entities[project.entity_id]
    if relation is None or list(relation.currencies) == [provider.currency]:
        return None
    pair = f"{provider.code} to {receiver.code}"
    if not relation.price_list:
        cause = f"The intercompany relation from {pair} has no price list."
    elif not relation.currencies:
        cause = f"The price list {relation.price_list} from {pair} has no rate."
    else:
        cause = (
            f"The price list {relation.price_list} from {pair} is in {', '.join(relation.currencies)}, and {provider.code} "
            f"keeps its books in {provider.currency}."
        )
    return Finding(
        sentence=f"{who(entry)} of {provider.code} worked on {project.code} of {receiver.code} on {entry.work_date}. {cause}",
        subject_key=f"{provider.code}>{receiver.code}",
        cause=cause,
        detail={"provider_id": provider.id, "receiver_id": receiver.id, "price_list": relation.price_list},
    )


@rule(
    "cost-centre-missing",
    title="Cost centre is missing or closed",
    subject="cost_centre",
    remedies=("set-cost-centre", "waive"),
    cases=(27,),
)
def cost_centre_missing(entry: Draft, facts: Facts) -> Finding | None:
    """Where the entity keeps cost centres, the entry has one that is open on the work date."""
    if entry.engagement is None or entry.project is None:
        return None
    centre = entry.cost_centre
    if centre is not None:
        if span_holds(centre, entry.work_date):
            return None
        return Finding(
            sentence=f"Cost centre {centre.code} {centre.name} of {who(entry)} is closed on {entry.work_date} (valid "
            f"{centre.valid_from} to {centre.valid_to}); give the engagement another one.",
            subject_key=str(centre.id),
            cause=f"Cost centre {centre.code} {centre.name} is closed.",
            detail={"cost_centre_id": centre.id, "resource_id": entry.engagement.resource_id},
        )
    required = entry.policy.cost_centre_required
    if required is None:
        required = entry.entity_id in facts.keep_cost_centres
    if not required:
        return None
    role = entry.role.name if entry.role else ""
    return Finding(
        sentence=f"{who(entry)} ({role}) has no cost centre on {entry.work_date}, and {entry.entity.code} needs one; set it on "
        "the engagement, on the project or for the role.",
        subject_type="resource",
        subject_key=str(entry.engagement.resource_id),
        cause=f"{who(entry)} has no cost centre in {entry.entity.code}.",
        detail={"resource_id": entry.engagement.resource_id, "role": role},
    )
