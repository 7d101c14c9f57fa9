"""What most likely mends a cause, with the evidence for it.

The rule here: a suggestion only proposes. It names a fix or a remedy elsewhere, fills in its form, and a person looks at the
dry-run before anything is done; what is not near enough is not filled in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from django.db.models import Q
from django.utils import timezone
from rapidfuzz import fuzz

from portal.models import AccountingPeriod, Project, Resource
from reconciliation.fixes import ADVICE, FIXES
from reconciliation.models import ExceptionCase
from reconciliation.rules import BY_CODE

NEAR = 70  # of 100: worth showing
SURE = 90  # of 100: filled into the form, when nothing else is as near
SHOWN = 5

_ELSEWHERE = {
    "add-crosswalk": "Add the target's key",
    "add-intercompany": "Record the relation",
    "add-purchase-order": "Record the purchase order",
    "add-route": "Add a route",
    "amend-rate-card": "Amend the rate card",
    "extend-engagement": "Record the engagement",
    "open-period": "Open the period",
    "raise-cap": "Agree a higher limit",
    "raise-purchase-order": "Raise the purchase order",
    "release-stream": "Release the stream",
    "renew-credentials": "Renew the credentials",
    "set-cost-centre": "Set the cost centre",
}


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One way out of a cause. `remedy` is the code of a fix or of an advice; `values` fill the fix's form."""

    remedy: str
    label: str
    values: Mapping[str, str] = field(default_factory=dict)
    score: int | None = None
    reasons: tuple[str, ...] = ()
    is_sure: bool = False

    @property
    def is_fix(self) -> bool:
        """Whether it is done here, and not elsewhere."""
        return self.remedy in FIXES

    @property
    def words(self) -> str:
        """The label with how near it is."""
        return self.label if self.score is None else f"{self.label} · {self.score} %"


def of(cases: Sequence[ExceptionCase]) -> dict[int, list[Suggestion]]:
    """The suggestions of each case, the best first; a fixed number of queries whatever the number of cases."""
    found: dict[int, list[Suggestion]] = {}
    known = _Known(cases)
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

    def __init__(self, cases: Sequence[ExceptionCase]) -> None:
        entities = {case.entity_id for case in cases}
        kinds = {case.detail.get("kind") for case in cases if case.rule in ("project-unknown", "resource-unknown")}
        self.projects: list[tuple[int, int, str, str]] = []
        self.people: list[tuple[int, str, str]] = []
        if "project" in kinds:
            self.projects = list(
                Project.objects.filter(entity__in=entities)
                .filter(Q(statuses__valid_to=None) | Q(statuses__valid_to__gte=timezone.localdate()), statuses__status="open")
                .order_by("code").values_list("pk", "entity_id", "code", "name").distinct()
            )  # fmt: skip
        if "resource" in kinds:
            self.people = list(
                Resource.objects.filter(engagements__entity__in=entities).order_by("code")
                .values_list("pk", "code", "name").distinct()
            )  # fmt: skip
        self.successors = _successors(cases)
        self.periods = _periods(cases)

    def records(self, case: ExceptionCase) -> list[Suggestion]:
        """Records whose code or name is near what the source said."""
        if case.rule not in ("project-unknown", "resource-unknown"):
            return []
        if case.detail.get("kind") == "project":
            candidates = [(pk, code, name) for pk, owner, code, name in self.projects if owner == case.entity_id]
        else:
            candidates = self.people
        near = sorted(
            (entry for pk, code, name in candidates if (entry := _nearness(case.detail, pk, code, name))[0] >= NEAR),
            key=lambda entry: (-entry[0], entry[2]),
        )[:SHOWN]
        alone = len([entry for entry in near if entry[0] >= SURE]) == 1
        return [
            Suggestion("map-code", code, {"record": str(pk)}, score, reasons, is_sure=alone and score >= SURE)
            for score, pk, code, reasons in near
        ]

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


def _nearness(said: Mapping[str, Any], pk: int, code: str, name: str) -> tuple[int, int, str, tuple[str, ...]]:
    """(score, record, code, reasons) of one candidate for what a source said."""
    by_code = fuzz.ratio(str(said.get("code") or "").casefold(), code.casefold()) if said.get("code") else 0.0
    by_name = (
        fuzz.token_sort_ratio(str(said.get("name") or "").casefold(), name.casefold()) if said.get("name") else 0.0
    )
    score = round(max(by_code, by_name))
    reasons = []
    if by_code >= NEAR:
        reasons.append(f"code {round(by_code)} % alike")
    if by_name >= NEAR:
        reasons.append(f"name {round(by_name)} % alike")
    if name:
        reasons.append(name)
    return score, pk, code, tuple(reasons)


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
