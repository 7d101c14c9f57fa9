"""Which rate a person has on a project and day, and why: every candidate, the one that won, and those that missed the day.

The rule here: the answer is that of validation's own pricing on the facts of today; nothing is computed a second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from django.db.models import Q

from portal import figures
from portal.models import BillingModel, Connection, Engagement, Project, Rate, Resource, Task
from reconciliation import pricing
from reconciliation.facts import Draft
from reconciliation.models import Route
from reconciliation.pricing import Agreed, Candidate, Missed, figure
from reconciliation.rates import asking

ALL_DAYS = (date(1, 1, 1), date(9999, 12, 31))


class Unanswerable(Exception):
    """What is missing before a rate can be asked for; the text is for the person."""


@dataclass(slots=True)
class Answer:
    """The question as it was understood, the candidates in the order in which they are asked, and the outcome in words."""

    draft: Draft
    candidates: list[Candidate]
    missed: list[Missed]
    sentence: str
    notes: list[str] = field(default_factory=list)

    @property
    def winner(self) -> Agreed | None:
        """The rate that prices the hours."""
        return next((one.agreed for one in self.candidates if one.wins), None)


def ask(
    *, person: Resource, project: Project, day: date, task: Task | None = None, source: Connection | None = None,
    hours: Decimal = Decimal(8),
) -> Answer:  # fmt: skip
    """Price hours of a person on a project and day. Raises Unanswerable when no source could report them."""
    work = asking.Work(
        source_id=0, entity_id=entity_of(person, project, day), person=person.code, project=project.code,
        task=task.code if task else "", day=day, hours=hours,
    )  # fmt: skip
    draft = asking.draft_of(work)
    draft.source_id = _source_of(draft, source)
    facts = asking.known([draft], days=ALL_DAYS)
    pricing.price(draft, facts)
    candidates = pricing.explain(draft, facts)
    missed = list(pricing.missed(draft, facts))
    notes = [*_notes(draft, candidates), *([] if source is not None else _others(draft))]
    return Answer(draft, candidates, missed, _sentence(draft, candidates), notes)


def entity_of(person: Resource, project: Project, day: date) -> int:
    """Who would book the hours: the entity that employs the person on the day, else the project's."""
    engaged = Engagement.objects.filter(Q(valid_to=None) | Q(valid_to__gte=day), resource=person, valid_from__lte=day)
    found = engaged.values_list("entity_id", flat=True).first()
    return int(found or project.entity_id)


def _source_of(draft: Draft, source: Connection | None) -> int:
    """The source that is asked for, or the first whose time of the entity has a target on the day, or has one at all."""
    if source is not None:
        return int(source.pk)
    routes = Route.objects.filter(entity=draft.entity_id, kind="time").order_by("source__code")
    found = routes.filter(_on(draft.work_date)).first() or routes.first()
    if found is not None:
        return int(found.source_id)
    own = Q(entity=draft.entity_id) | Q(entity=None)
    other = Connection.objects.filter(own, is_source=True).order_by("code").first()
    if other is None:
        raise Unanswerable("No source reports time of this entity; add a connection and a route first.")
    return int(other.pk)


def _on(day: date) -> Q:
    return Q(valid_from__lte=day) & (Q(valid_to=None) | Q(valid_to__gte=day))


def _others(draft: Draft) -> list[str]:
    """That other systems report time of the entity as well, where nobody said which one is meant."""
    routes = Route.objects.filter(_on(draft.work_date), entity=draft.entity_id, kind="time")
    names = routes.exclude(source=draft.source_id).order_by("source__name").values_list("source__name", flat=True)
    if not names:
        return []
    others = " and ".join(dict.fromkeys(names))
    return [f"Asked as if {draft.source.name} reports it. {others} may be answered otherwise; say which one does."]


def _who(draft: Draft) -> str:
    name = draft.resource.name if draft.resource else draft.resource_code
    role = draft.role.name.lower() if draft.role else "not engaged"
    return f"{name} ({role})"


def _sentence(draft: Draft, candidates: Sequence[Candidate]) -> str:
    """The outcome as finance would say it."""
    project = draft.project.code if draft.project else draft.project_code
    what = f"{_who(draft)} on {project} on {figures.day(draft.work_date)}"
    if not draft.is_billable:
        model = pricing.billing_model(draft)
        if draft.task is not None and not draft.task.is_billable:
            return f"Hours of {what} are not billed: task {draft.task.code} is not billable."
        return f"Hours of {what} are not billed by the hour: {BillingModel(model).label.lower()}. They are cost only."
    winner = next((one.agreed for one in candidates if one.wins), None)
    if winner is None:
        return f"No agreed rate holds for {what}. Such hours wait for one; a missing rate is never zero."
    if draft.rate is None:
        wanted = pricing.agreed_currency(draft)
        return (
            f"The rate found for {what} is in {winner.currency}, and the hours are billed in {wanted}. Such hours wait "
            f"until a rate in {wanted} is agreed."
        )
    return (
        f"{what} costs {figure(draft.rate)} {draft.currency} an hour, as agreed in rate card {winner.version} for "
        f"{named(draft, winner)}."
    )


def named(draft: Draft, agreed: Agreed) -> str:
    """What a rate hangs on, by name: the person, the role, the task; everybody where it hangs on nothing."""
    parts = zip(agreed.level, (draft.resource, draft.role, draft.task), strict=True)
    words = [part.name for held, part in parts if held and part is not None]
    return ", ".join(words) or "everybody"


def _notes(draft: Draft, candidates: Sequence[Candidate]) -> list[str]:
    """What else decides about such hours, and what the unit and the rounding are."""
    found = []
    if draft.engagement is None:
        found.append(
            "The person is not engaged on this day, so no role's rate can hold; the entry would be held for that."
        )
    if not draft.is_routed:
        found.append(
            f"No route leads time of {draft.source.name} to a target on this day. The entity's own policy was asked."
        )
    if "customer-merged" in draft.tags and draft.customer is not None:
        found.append(f"The project's customer was merged into {draft.customer.code}; its cards are asked first.")
    winner = next((one.agreed for one in candidates if one.wins), None)
    if winner is not None and winner.unit == "day":
        found.append(
            f"Agreed are {figure(winner.agreed_amount)} {winner.currency} a day of {figure(winner.hours_per_unit)} hours; "
            "amounts are computed from the day's rate and rounded once."
        )
    if draft.is_billable and draft.rate is not None and not draft.rate:
        found.append("Zero was agreed. It is posted at zero, and marked so.")
    return found


def held_by(agreed: Agreed) -> list[str]:
    """The names of the roles that a card has rates for, so that a missing one is seen."""
    roles = Rate.objects.filter(card=agreed.card.id, role__isnull=False)
    return sorted(set(roles.values_list("role__name", flat=True)))
