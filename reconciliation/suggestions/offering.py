"""The suggestions of some causes: records near what a source said, successors, periods, else the first way out of the rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from portal.models import AccountingPeriod, Project
from reconciliation.fixes import ADVICE, FIXES
from reconciliation.models import ExceptionCase
from reconciliation.rules import BY_CODE
from reconciliation.suggestions import evidence
from reconciliation.suggestions.nearness import Candidate, Near, nearest, sure

SHOWN = 5
NAMING = frozenset({"project-unknown", "resource-unknown"})  # rules whose cause is a name that nobody knows

_ELSEWHERE = {
    "add-crosswalk": "Add the target's key",
    "add-intercompany": "Record the relation",
    "add-purchase-order": "Record the purchase order",
    "add-route": "Add a route",
    "amend-rate-card": "Amend the rate card",
    "extend-engagement": "Record the engagement",
    "open-period": "Open the period",
    "price-intercompany": "Agree a price list",
    "raise-cap": "Agree a higher limit",
    "raise-retainer": "Agree more hours a month",
    "raise-purchase-order": "Raise the purchase order",
    "release-stream": "Release the stream",
    "renew-credentials": "Renew the credentials",
    "set-cost-centre": "Set the cost centre",
}


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One way out of a cause. `remedy` is the code of a fix or of an advice; `values` fill the fix's form.

    `against` says what speaks against it, in the words of a person who looks.
    """

    remedy: str
    label: str
    values: Mapping[str, str] = field(default_factory=dict)
    score: int | None = None
    reasons: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    name: str = ""
    is_sure: bool = False

    @property
    def is_fix(self) -> bool:
        """Whether it is done here, and not elsewhere."""
        return self.remedy in FIXES

    @property
    def words(self) -> str:
        """The label with how near it is."""
        return self.label if self.score is None else f"{self.label} · {self.score} %"


def of(cases: Sequence[ExceptionCase], *, deeply: bool = False) -> dict[int, list[Suggestion]]:
    """The suggestions of each case, the best first; a fixed number of queries whatever the number of cases.

    `deeply` looks at the people's own booking as well, which a list of many causes does not.
    """
    found: dict[int, list[Suggestion]] = {}
    known = _Known(cases, deeply=deeply)
    for case in cases:
        rule = BY_CODE.get(case.rule)
        remedies = rule.remedies if rule else ()
        found[case.pk] = [*known.records(case), *known.successor(case), *known.period(case)] or _first(remedies)
    return found


def _first(remedies: Iterable[str]) -> list[Suggestion]:
    for code in remedies:
        if code in FIXES:
            return [Suggestion(code, FIXES[code].label, is_sure=True)]
        if code in ADVICE:
            return [Suggestion(code, _ELSEWHERE.get(code, code.replace("-", " ").capitalize()))]
    return []


class _Known:
    """The master data that the cases of one page may mean, asked for only where a case needs it."""

    def __init__(self, cases: Sequence[ExceptionCase], *, deeply: bool) -> None:
        self.successors = _successors(cases)
        self.periods = _periods(cases)
        named = [case for case in cases if case.rule in NAMING and case.detail.get("kind") in ("project", "resource")]
        closed = [case for case in cases if case.rule == "project-closed" and not self.successor(case)]
        projects = [case for case in named if case.detail["kind"] == "project"] + closed
        people = [case for case in named if case.detail["kind"] == "resource"]
        oldest = min((case.oldest_work_date for case in projects if case.oldest_work_date), default=None)
        self.projects = evidence.projects({case.entity_id for case in projects}, oldest) if projects else []
        self.people = evidence.people({case.entity_id for case in people}) if people else []
        self.closed = _closed(closed)
        self.held = evidence.held([case.pk for case in (*named, *closed)]) if named or closed else {}
        self.booked = evidence.booked(self.held.values()) if deeply and projects else {}

    def records(self, case: ExceptionCase) -> list[Suggestion]:
        """Records near what the source said; for a closed project, open ones like it."""
        said = evidence.said(case, self.held.get(case.pk), self.booked)
        if case.rule == "project-closed":
            shut = self.closed.get(case.detail.get("project_id"))
            if shut is None:
                return []
            said = replace(said, code=shut.code, name=shut.name, clients=frozenset({shut.client}))
            near = nearest(
                said, [one for one in self.projects if one.pk != shut.pk and one.entity_id == case.entity_id], SHOWN
            )
            return [_moved(one) for one in near]
        if case.rule not in NAMING:
            return []
        candidates = self.projects if case.detail.get("kind") == "project" else self.people
        near = nearest(said, [one for one in candidates if one.entity_id == case.entity_id], SHOWN)
        certain = sure(near)
        return [_mapped(one, is_sure=one is certain) for one in near]

    def successor(self, case: ExceptionCase) -> list[Suggestion]:
        """The project that follows one that is closed."""
        found = self.successors.get(case.detail.get("project_id")) if case.rule == "project-closed" else None
        if found is None:
            return []
        return [Suggestion("move-project", f"Successor {found[1]}", {"project": str(found[0])}, is_sure=True)]

    def period(self, case: ExceptionCase) -> list[Suggestion]:
        """The next open period of the entity after the one that is closed."""
        if case.rule not in ("period-closed", "period-missing"):
            return []
        after = str(case.detail.get("next_open_on") or case.oldest_work_date or "")
        for pk, code, ends_on in self.periods.get(case.entity_id, ()):
            if str(ends_on) >= after:
                return [Suggestion("post-next-period", f"Post in {code}", {"period": str(pk)}, is_sure=True)]
        return []


def _mapped(near: Near, *, is_sure: bool) -> Suggestion:
    one = near.candidate
    return Suggestion(
        "map-code", one.code, {"record": str(one.pk)}, near.score, near.reasons, near.against, _named(one), is_sure
    )


def _moved(near: Near) -> Suggestion:
    one = near.candidate
    return Suggestion(
        "move-project", one.code, {"project": str(one.pk)}, near.score, near.reasons, near.against, _named(one)
    )


def _named(one: Candidate) -> str:
    return " · ".join(word for word in (one.name, one.client) if word and word != one.code)


def _closed(cases: Sequence[ExceptionCase]) -> dict[Any, Candidate]:
    """The closed projects of some causes, by their id."""
    ids = [case.detail["project_id"] for case in cases if case.detail.get("project_id")]
    if not ids:
        return {}
    rows = Project.objects.filter(pk__in=ids).values_list("pk", "entity_id", "code", "name", "customer__name")
    return {row[0]: Candidate(*row) for row in rows}


def _successors(cases: Sequence[ExceptionCase]) -> dict[Any, tuple[int, str]]:
    closed = [
        case.detail["project_id"] for case in cases if case.rule == "project-closed" and case.detail.get("project_id")
    ]
    if not closed:
        return {}
    rows = Project.objects.filter(pk__in=closed, successor__isnull=False)
    return {pk: (other, code) for pk, other, code in rows.values_list("pk", "successor_id", "successor__code")}


def _periods(cases: Sequence[ExceptionCase]) -> dict[int, list[tuple[int, str, date]]]:
    """The open periods of each entity whose period is closed somewhere, earliest first."""
    closed = {case.entity_id for case in cases if case.rule in ("period-closed", "period-missing")}
    found: dict[int, list[tuple[int, str, date]]] = {entity_id: [] for entity_id in closed}
    if closed:
        periods = AccountingPeriod.objects.filter(entity__in=closed, state=AccountingPeriod.State.OPEN)
        for pk, entity_id, code, ends_on in periods.order_by("starts_on").values_list(
            "pk", "entity_id", "code", "ends_on"
        ):
            found[entity_id].append((pk, code, ends_on))
    return found
