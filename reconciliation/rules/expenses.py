"""Rules about expenses: an amount, a receipt, within policy, with the right tax."""

from __future__ import annotations

from decimal import Decimal

from portal.money import is_currency, round_money
from reconciliation.facts.records import Draft, normal
from reconciliation.facts.tables import Facts
from reconciliation.pricing import figure
from reconciliation.rules.base import EXPENSE, Finding, rule, who


def _finding(entry: Draft, sentence: str, key: str, cause: str, **detail: object) -> Finding:
    return Finding(
        sentence=sentence,
        subject_key=key,
        cause=cause,
        detail={"category": entry.category, "value": str(entry.gross), "currency": entry.currency, **detail},
    )


@rule(
    "expense-amount-invalid",
    title="Expense amount is zero or negative",
    subject="source",
    remedies=("hand-back", "waive"),
    cases=(9,),
    kinds=EXPENSE,
)
def expense_amount_invalid(entry: Draft, facts: Facts) -> Finding | None:
    """An expense is more than nothing."""
    gross = entry.gross or Decimal(0)
    if gross > 0:
        return None
    return _finding(
        entry,
        f"The expense of {who(entry)} on {entry.work_date} is {figure(gross)} {entry.currency}; expected is more than 0.",
        str(entry.source_id),
        f"Expenses of {entry.source.name} are zero or negative.",
    )


@rule(
    "expense-receipt-missing",
    title="Expense without a receipt",
    subject="resource",
    remedies=("hand-back", "waive"),
    kinds=EXPENSE,
)
def expense_receipt_missing(entry: Draft, facts: Facts) -> Finding | None:
    """Above the policy's amount, an expense has a receipt."""
    limit = entry.policy.receipt_above
    if entry.receipt_reference or (entry.gross or Decimal(0)) <= limit:
        return None
    person = str(entry.resource.id) if entry.resource else normal(who(entry))
    above = f" above {figure(limit)} {entry.entity.currency}" if limit else ""
    return _finding(
        entry,
        f"The {entry.category} expense of {figure(entry.gross or Decimal(0))} {entry.currency} of {who(entry)} on "
        f"{entry.work_date} has no receipt; one is needed{above}.",
        person,
        f"Expenses of {who(entry)} have no receipt.",
    )


@rule(
    "expense-over-policy",
    title="Expense is above the policy",
    subject="category",
    remedies=("make-non-billable", "waive", "hand-back"),
    kinds=EXPENSE,
)
def expense_over_policy(entry: Draft, facts: Facts) -> Finding | None:
    """An expense stays within the limit of its category, where the entity has one, in the entity's currency."""
    limits = entry.policy.expense_limits
    limit = limits.get(entry.category, limits.get("*"))
    if limit is None or entry.gross is None or (entry.currency == entry.entity.currency and entry.gross <= limit):
        return None
    if entry.currency != entry.entity.currency:
        comparison = (
            f"is in {entry.currency}, and the limit of {figure(limit)} is in {entry.entity.currency}; compare by hand"
        )
    else:
        comparison = (
            f"is above the limit of {figure(limit)} {entry.entity.currency}; bill less, or waive with the approval"
        )
    return _finding(
        entry,
        f"The {entry.category} expense of {figure(entry.gross)} {entry.currency} of {who(entry)} on {entry.work_date} "
        f"{comparison}.",
        normal(entry.category),
        f"{entry.category} expenses are above the policy.",
        expected=str(limit),
    )


@rule(
    "expense-tax-wrong",
    title="Expense has the wrong tax",
    subject="tax",
    remedies=("hand-back", "waive"),
    cases=(88,),
    kinds=EXPENSE,
)
def expense_tax_wrong(entry: Draft, facts: Facts) -> Finding | None:
    """The tax code is one of the entity's, and the tax is what its rate makes of the gross amount."""
    codes, gross, tax = entry.policy.tax_codes, entry.gross or Decimal(0), entry.tax_amount
    if tax is not None and (tax < 0 or tax > gross):
        return _finding(
            entry,
            f"The tax of {figure(tax)} {entry.currency} is not within the expense of {figure(gross)} {entry.currency}.",
            entry.tax_code,
            "Taxes of expenses are not within their amounts.",
            tax=str(tax),
        )
    if not codes or (not entry.tax_code and tax is None):
        return None
    if entry.tax_code not in codes:
        return _finding(
            entry,
            f"Tax code “{entry.tax_code}” is not one of {entry.entity.code}; expected is one of {', '.join(sorted(codes))}.",
            entry.tax_code,
            f"Tax code “{entry.tax_code}” is not one of {entry.entity.code}.",
        )
    if tax is None or not is_currency(entry.currency):
        return None
    percent = codes[entry.tax_code]
    expected = round_money(gross * percent / (100 + percent), entry.currency)
    if abs(tax - expected) <= entry.policy.tax_tolerance:
        return None
    return _finding(
        entry,
        f"Tax {figure(tax)} {entry.currency} differs from {figure(expected)} {entry.currency}, which {entry.tax_code} "
        f"({percent.normalize():f} %) makes of {figure(gross)} gross.",
        entry.tax_code,
        f"Taxes under {entry.tax_code} are not {percent.normalize():f} %.",
        tax=str(tax),
        expected=str(expected),
    )
