"""Rules about what an hour costs: there is an agreed rate, the source says the same, in the contract's currency."""

from __future__ import annotations

from portal.money import is_currency
from reconciliation import pricing
from reconciliation.facts.records import Draft
from reconciliation.facts.tables import Facts
from reconciliation.pricing import figure
from reconciliation.rules.base import TIME, Finding, rule, who


def _scope(entry: Draft) -> tuple[str, str]:
    """What the entry is priced under: key and words."""
    if entry.contract is not None:
        return f"contract:{entry.contract.id}", f"contract {entry.contract.code}"
    return (
        f"project:{entry.project.id if entry.project else 0}",
        f"project {entry.project.code if entry.project else ''}",
    )


@rule(
    "currency-mismatch",
    title="Currency differs from the contract's",
    subject="contract",
    waivable=False,
    can_be_off=True,
    remedies=("use-contract-rate", "amend-rate-card", "hand-back"),
    cases=(42,),
)
def currency_mismatch(entry: Draft, facts: Facts) -> Finding | None:
    """Money is in the contract's currency; two currencies are never compared or converted without a stored rate."""
    if entry.project is None:
        return None
    key, under = _scope(entry)
    wanted = pricing.agreed_currency(entry)
    if entry.kind == "expense":
        if not is_currency(entry.currency):
            sentence = f"“{entry.currency}” is not an ISO 4217 currency; the source must correct it."
            return Finding(
                sentence=sentence,
                subject_key=f"{key}:{entry.currency}",
                cause=sentence,
                detail={"value": entry.currency},
            )
        if entry.currency == wanted or not entry.is_billable or entry.policy.expense_foreign_currency:
            return None
        stated, what = entry.currency, "The expense"
    elif not entry.is_billable:
        return None
    elif entry.says_rate is not None and entry.says_currency not in ("", wanted) and entry.rate_source != "contract":
        stated, what = entry.says_currency, "The source's rate"
    elif entry.agreed is not None and entry.agreed.currency != wanted and entry.rate_source != "source":
        stated, what = entry.agreed.currency, f"The agreed rate ({entry.agreed.version})"
    else:
        return None
    return Finding(
        sentence=f"{what} is in {stated}, and {under} is billed in {wanted}; agree a rate in {wanted}, or correct the source.",
        subject_key=f"{key}:{stated}",
        cause=f"{what} is in {stated}, and {under} is billed in {wanted}.",
        detail={"value": stated, "expected": wanted, "contract_id": entry.contract.id if entry.contract else None},
    )


@rule(
    "rate-missing",
    title="No agreed rate",
    subject="rate",
    waivable=False,
    remedies=("amend-rate-card", "accept-source-rate", "make-non-billable", "hand-back"),
    cases=(33, 34),
    kinds=TIME,
)
def rate_missing(entry: Draft, facts: Facts) -> Finding | None:
    """Billed hours have an agreed rate for the person's role on the work date. A missing one is never zero."""
    if entry.rate is not None or not entry.is_billable or entry.project is None or entry.engagement is None:
        return None
    if entry.agreed is not None:
        return None  # one in another currency: currency-mismatch says so
    key, under = _scope(entry)
    role = entry.role
    role_name = role.name if role else "no role"
    guess = pricing.estimate(entry, facts)
    detail = {
        "contract_id": entry.contract.id if entry.contract else None,
        "project_id": entry.project.id,
        "role_id": role.id if role else None,
        "resource_id": entry.engagement.resource_id,
        "source_rate": str(entry.says_rate) if entry.says_rate is not None else None,
        "currency": entry.currency,
    }
    if guess is not None:
        detail["estimate"], detail["estimate_basis"] = str(guess[0]), guess[1]
    return Finding(
        sentence=f"There is no agreed rate for {who(entry)} as {role_name} under {under} on {entry.work_date}; add it to the "
        "rate card, or accept the source's rate.",
        subject_key=f"{key}:role:{role.id if role else 0}",
        cause=f"There is no agreed rate for {role_name} under {under}.",
        detail=detail,
    )


@rule(
    "rate-mismatch",
    title="Source's rate differs from the agreed one",
    subject="rate",
    remedies=("use-contract-rate", "accept-source-rate", "amend-rate-card", "waive", "hand-back"),
    cases=(35, 36),
    kinds=TIME,
)
def rate_mismatch(entry: Draft, facts: Facts) -> Finding | None:
    """The rate that the source states is the agreed one, within the tolerance. The contract's rate is what is booked."""
    says, rate = entry.says_rate, entry.rate
    if says is None or rate is None or says == rate or entry.rate_source or entry.agreed is None:
        return None
    if entry.says_currency not in ("", entry.currency):
        return None
    allowed = pricing.tolerance(entry)
    if abs(says - rate) <= allowed:
        return None
    key, under = _scope(entry)
    role = entry.role.name if entry.role else ""
    within = f", tolerance {figure(allowed)}" if allowed else ""
    return Finding(
        sentence=f"Rate {figure(says)} {entry.currency} differs from the agreed {figure(rate)} {entry.currency} (rate card "
        f"{entry.rate_version}, {role.lower()}{within}).",
        subject_key=f"{key}:role:{entry.role.id if entry.role else 0}:{figure(says)}:{figure(rate)}",
        cause=f"{entry.source.name} uses {figure(says)} {entry.currency} for {role} under {under}; agreed are {figure(rate)} "
        f"{entry.currency} ({entry.rate_version}).",
        detail={
            "value": str(says),
            "expected": str(rate),
            "currency": entry.currency,
            "rate_id": entry.rate_id,
            "rate_version": entry.rate_version,
            "contract_id": entry.contract.id if entry.contract else None,
            "role_id": entry.role.id if entry.role else None,
        },
    )
