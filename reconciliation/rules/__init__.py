"""Rules: what must hold before an entry may be posted, in the order in which finance reads them.

The rule here: `RULES` is explicit and ordered; a rule that is not in it does not run. `EVERY` adds the causes that are found
elsewhere, so that each case's code has one description.
"""

from reconciliation.rules import (
    approvals,
    billing,
    budgets,
    expenses,
    hours,
    outside,
    people,
    periods,
    posted,
    projects,
    rates,
    targets,
)
from reconciliation.rules.base import Finding, Rule
from reconciliation.rules.outside import UNSETTLED

RULES: tuple[Rule, ...] = (
    approvals.not_approved,
    posted.changed_after_posting,
    projects.project_unknown,
    people.resource_unknown,
    projects.project_closed,
    projects.task_required,
    projects.customer_inactive,
    people.resource_inactive,
    people.resource_wrong_entity,
    people.intercompany_missing,
    people.intercompany_unpriced,
    people.cost_centre_missing,
    approvals.approval_conflict,
    approvals.approver_is_worker,
    approvals.approver_not_in_chain,
    hours.hours_out_of_range,
    hours.day_over_limit,
    hours.worked_on_day_off,
    hours.overlap,
    hours.duplicate_suspected,
    expenses.expense_amount_invalid,
    expenses.expense_receipt_missing,
    expenses.expense_over_policy,
    expenses.expense_tax_wrong,
    rates.currency_mismatch,
    rates.rate_missing,
    rates.rate_mismatch,
    periods.period_missing,
    periods.period_closed,
    targets.target_wrong_entity,
    targets.text_not_acceptable,
    targets.crosswalk_missing,
    budgets.retainer_exceeded,
    budgets.purchase_order_missing,
    budgets.purchase_order_exceeded,
    budgets.cap_exceeded,
)
EVERY: tuple[Rule, ...] = (*RULES, *outside.OUTSIDE, *billing.BILLING)
BY_CODE: dict[str, Rule] = {rule.code: rule for rule in EVERY}
CHECKED: frozenset[str] = frozenset(rule.code for rule in RULES)  # what a re-check can find and clear
STANDING: frozenset[str] = frozenset(rule.code for rule in RULES if not rule.can_be_off)
BILLED: frozenset[str] = frozenset(rule.code for rule in billing.BILLING)
THEMES: dict[str, str] = {
    "approvals": "Approvals",
    "posted": "Changed after posting",
    "projects": "Projects and customers",
    "people": "People",
    "hours": "Hours",
    "expenses": "Expenses",
    "rates": "Rates and currencies",
    "periods": "Accounting periods",
    "targets": "What the target needs",
    "budgets": "Purchase orders and caps",
    "outside": "Targets, sources and comparisons",
    "billing": "Bills and payments",
}  # a theme is a module of rules; its name as finance reads it


def theme_of(code: str) -> str:
    """The theme that a rule belongs to; what a rule found that there is no more is found outside of them."""
    rule = BY_CODE.get(code)
    if rule is not None and rule.check is not None:
        return rule.check.__module__.rpartition(".")[2]
    return "billing" if code in BILLED else "outside"


__all__ = [
    "BILLED",
    "BY_CODE",
    "CHECKED",
    "EVERY",
    "RULES",
    "STANDING",
    "THEMES",
    "UNSETTLED",
    "Finding",
    "Rule",
    "theme_of",
]
