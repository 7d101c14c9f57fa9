"""Judging drafts: what each would book, which rules stop it, and how hours that pass a limit or a retainer are split.

The rule here: judging writes nothing. Admission, re-validation, the question at the door and every dry-run judge by the same
code, so a preview's numbers are the result's numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from decimal import Decimal
from operator import attrgetter

from portal.ledger import Figures
from reconciliation import pricing
from reconciliation.cases import NewHold
from reconciliation.facts import Draft, Facts, Standing
from reconciliation.rules import RULES, Finding, Rule, budgets, targets
from reconciliation.rules.base import Check

SPLIT_AT_CAP = "split-at-cap"
_BUDGETS = frozenset(rule.code for rule in budgets.BUDGETS)


@dataclass(slots=True)
class Judged:
    """One draft, what stops it, and the rest that was split off where it passed a limit."""

    draft: Draft
    findings: list[tuple[Rule, Finding]] = field(default_factory=list)
    rest: Judged | None = None

    @property
    def passes(self) -> bool:
        """Whether no rule stops it."""
        return not self.findings


class Judge:
    """Applies the rules that run, route by route. The budgets are asked last, and in the order of the work dates."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._active: dict[tuple[int, str], list[tuple[Rule, Check]]] = {}

    def rules_for(self, draft: Draft) -> list[tuple[Rule, Check]]:
        """The rules of the draft's kind that its policy lets run, the budgets apart."""
        wanted = (draft.route.id, draft.kind)
        active = self._active.get(wanted)
        if active is None:
            off = draft.policy.rules_off
            active = self._active[wanted] = [
                (rule, rule.check)
                for rule in RULES
                if rule.check is not None
                and draft.kind in rule.kinds
                and rule.code not in _BUDGETS
                and not (rule.can_be_off and rule.code in off)
            ]
        return active

    def prepare(self, draft: Draft) -> None:
        """Price a draft and say it in the target's words."""
        pricing.price(draft, self.facts)
        targets.address(draft, self.facts)

    def judge(self, draft: Draft, next_part: int) -> Judged:
        """Ask every rule about a prepared draft; split it where it passes a limit, or what its retainer pays for."""
        left = budgets.left_of_retainer(draft, self.facts) if self.facts.left_of_retainer else None
        if left is None or draft.hours is None:
            return self._judge(draft, next_part)
        if draft.is_booked:
            if not draft.is_beyond:
                budgets.draw(draft, self.facts)
            return self._judge(draft, next_part)
        is_within = draft.hours <= left
        if not is_within and (not left or not draft.policy.split_at_cap):
            self._say_beyond(draft, is_beyond=True)
            return self._judge(draft, next_part)
        rest = None if is_within else _beyond(draft, left, next_part)
        self._say_beyond(draft, is_beyond=False)
        judged = self._judge(draft, next_part)
        if not judged.passes:  # it draws on nothing yet, so nothing of it is beyond
            if rest is not None:
                draft.hours, draft.tags = draft.hours + (rest.hours or Decimal(0)), draft.tags[:-1]
            return judged
        budgets.draw(draft, self.facts)
        if rest is not None:
            self._say_beyond(rest, is_beyond=True)
            judged.rest = self._judge(rest, next_part, may_split=False)
        return judged

    def _say_beyond(self, draft: Draft, *, is_beyond: bool) -> None:
        """Price a draft anew where it is beyond its retainer and was not, or the other way round."""
        if draft.is_beyond == is_beyond:
            return
        draft.is_beyond = is_beyond
        draft.rate, draft.rate_id, draft.rate_version, draft.amount, draft.agreed = None, None, "", None, None
        draft.missing_keys, draft.target_keys = [], {}
        self.prepare(draft)

    def _judge(self, draft: Draft, next_part: int, *, may_split: bool = True) -> Judged:
        facts = self.facts
        findings = []
        for rule, check in self.rules_for(draft):
            finding = check(draft, facts)
            if finding is not None and not self._is_waived(draft, rule):
                findings.append((rule, finding))
        if findings:
            return Judged(draft, findings)
        if draft.is_billable and (facts.left_of_contract or facts.left_of_purchase_order):
            return self._within_budgets(draft, next_part, may_split=may_split)
        return Judged(draft)

    def _is_waived(self, draft: Draft, rule: Rule) -> bool:
        waivers = self.facts.waivers
        return bool(waivers) and rule.waivable and (draft.document_id, draft.version, draft.part, rule.code) in waivers

    def _within_budgets(self, draft: Draft, next_part: int, *, may_split: bool) -> Judged:
        amount = draft.amount or Decimal(0)
        stops = [
            rule
            for rule in budgets.BUDGETS
            if rule.code not in draft.policy.rules_off and not self._is_waived(draft, rule)
        ]
        left = budgets.left_for(draft, self.facts) if stops else None
        found = [(rule, finding) for rule in stops if (finding := rule(draft, self.facts)) is not None]
        if not found:
            budgets.take(draft, self.facts, amount)
            return Judged(draft)
        rest = _split(draft, left, next_part) if left is not None and may_split else None
        if rest is None:
            return Judged(draft, found)
        budgets.take(draft, self.facts, draft.amount or Decimal(0))
        held = [(rule, finding) for rule in stops if (finding := rule(rest, self.facts)) is not None]
        return Judged(draft, rest=Judged(rest, held))


def _split(draft: Draft, left: Decimal, next_part: int) -> Draft | None:
    """Cut a draft at what is left of a limit: it keeps the part below, the rest is returned. Their hours and cents add up."""
    if not draft.policy.split_at_cap or draft.kind != "time" or draft.hours is None or draft.amount is None:
        return None
    hours = pricing.hours_within(draft, left)
    if not 0 < hours < draft.hours:
        return None
    below = pricing.reprice(draft, hours)
    if below is None:
        return None
    rest = copy(draft)
    rest.entry_id, rest.part = 0, next_part
    rest.tags = [*draft.tags, SPLIT_AT_CAP]
    rest.hours, rest.amount = draft.hours - hours, draft.amount - below
    draft.tags = [*draft.tags, SPLIT_AT_CAP]
    draft.hours, draft.amount = hours, below
    return rest


def _beyond(draft: Draft, left: Decimal, next_part: int) -> Draft:
    """Cut a draft at what its retainer pays for yet: it keeps the hours within, the rest is returned."""
    rest = copy(draft)
    rest.entry_id, rest.part = 0, next_part
    rest.tags = [*draft.tags, SPLIT_AT_CAP]
    rest.hours = (draft.hours or Decimal(0)) - left
    draft.hours, draft.tags = left, [*draft.tags, SPLIT_AT_CAP]
    return rest


def figures_of(draft: Draft, generation: int = 0) -> Figures:
    """What the ledger entry of a draft books."""
    return Figures(
        document_id=draft.document_id,
        version=draft.version,
        part=draft.part,
        generation=generation,
        kind=draft.kind,
        entity_id=draft.entity_id,
        source_id=draft.source_id,
        target_id=draft.route.target.id,
        project_id=draft.project.id if draft.project is not None else None,
        contract_id=draft.contract.id if draft.contract is not None else None,
        customer_id=draft.customer.id if draft.customer is not None else None,
        task_id=draft.task.id if draft.task is not None else None,
        resource_id=draft.resource.id if draft.resource is not None else None,
        role_id=draft.role.id if draft.role is not None else None,
        cost_centre_id=draft.cost_centre.id if draft.cost_centre is not None else None,
        purchase_order_id=draft.purchase_order.id if draft.purchase_order is not None and draft.is_billable else None,
        period_id=draft.period.id if draft.period is not None else None,
        work_date=draft.work_date,
        post_on=draft.post_on,
        hours=draft.hours,
        rate=draft.rate,
        rate_used_id=draft.rate_id,
        rate_version=draft.rate_version,
        amount=draft.amount,
        currency=draft.currency,
        is_billable=draft.is_billable,
        is_cost_only=draft.is_cost_only,
        tags=draft.tags,
        category=draft.category,
        tax_code=draft.tax_code,
        receipt_reference=draft.receipt_reference,
        memo=draft.memo,
        target_keys=draft.target_keys,
    )


def figures_again(entry: Standing) -> Figures:
    """What an entry books, as it stands on the ledger."""
    return Figures(
        document_id=entry.document_id,
        version=entry.version,
        part=entry.part,
        generation=entry.generation,
        kind=entry.kind,
        entity_id=entry.entity_id,
        source_id=entry.source_id,
        target_id=entry.target_id,
        reverses_id=entry.reverses_id,
        project_id=entry.project_id,
        contract_id=entry.contract_id,
        customer_id=entry.customer_id,
        task_id=entry.task_id,
        resource_id=entry.resource_id,
        role_id=entry.role_id,
        cost_centre_id=entry.cost_centre_id,
        purchase_order_id=entry.purchase_order_id,
        period_id=entry.period_id,
        work_date=entry.work_date,
        post_on=entry.post_on,
        hours=entry.hours,
        rate=entry.rate,
        rate_used_id=entry.rate_used_id,
        rate_version=entry.rate_version,
        amount=entry.amount,
        currency=entry.currency,
        is_billable=entry.is_billable,
        is_cost_only=entry.is_cost_only,
        tags=entry.tags,
        category=entry.category,
        tax_code=entry.tax_code,
        receipt_reference=entry.receipt_reference,
        memo=entry.memo,
        target_keys=entry.target_keys,
    )


_COMPARED = (
    "project_id", "contract_id", "customer_id", "task_id", "resource_id", "role_id", "cost_centre_id", "purchase_order_id",
    "period_id", "work_date", "post_on", "hours", "rate", "rate_used_id", "rate_version", "amount", "currency", "is_billable",
    "is_cost_only", "category", "tax_code", "receipt_reference", "memo",
)  # fmt: skip
_BOOKED = (
    "project_id", "task_id", "resource_id", "work_date", "rate", "currency", "is_billable", "category", "tax_code",
    "receipt_reference", "memo",
)  # fmt: skip


_compared, _booked = attrgetter(*_COMPARED), attrgetter(*_BOOKED, "amount")


def differing(entry: Standing, figures: Figures) -> set[str]:
    """In what an entry would book something else than it says now; empty where it says the same."""
    stands, would = _compared(entry), _compared(figures)
    names = (
        set()
        if stands == would
        else {n for n, one, other in zip(_COMPARED, stands, would, strict=True) if one != other}
    )
    if dict(entry.target_keys) != dict(figures.target_keys):
        names.add("target_keys")
    if sorted(entry.tags) != sorted(figures.tags):
        names.add("tags")
    return names


def books_otherwise(entry: Standing, figures: Figures) -> bool:
    """Whether what the target holds of an entry would be something else; where it is posted on does not count."""
    return bool(_booked(entry) != _booked(figures))


def is_booked_already(draft: Draft, booked: Sequence[Standing]) -> bool:
    """Whether what stands in the target's books for the document, all parts together, is just what the draft says."""
    if not booked or any(entry.target_id != draft.route.target.id for entry in booked):
        return False
    figures = figures_of(draft)
    if any(getattr(entry, name) != getattr(figures, name) for entry in booked for name in _BOOKED):
        return False
    hours = sum((entry.hours or Decimal(0) for entry in booked), Decimal(0))
    money = sum((entry.amount or Decimal(0) for entry in booked), Decimal(0))
    return hours == (draft.whole_hours or Decimal(0)) and money == (draft.amount or Decimal(0))


def holds_of(judged: Judged, entry_id: int) -> list[NewHold]:
    """The holds that a judged entry gets under its id."""
    draft = judged.draft
    return [
        NewHold(
            entry_id=entry_id,
            rule=rule.code,
            entity_id=draft.entity_id,
            subject_type=finding.subject_type or rule.subject,
            subject_key=finding.subject_key,
            sentence=finding.sentence,
            cause=finding.cause,
            detail=finding.detail,
            connection_id=finding.connection_id,
            regression_days=draft.policy.regression_days,
        )
        for rule, finding in judged.findings
    ]


def reason_of(judged: Judged) -> str:
    """Why an entry is held, or that it passed, for its transition."""
    if judged.findings:
        return "; ".join(rule.title for rule, _ in judged.findings)
    return "every rule passes"
