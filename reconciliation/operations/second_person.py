"""Whether a fix is too large for one person. The rule here: what one person confirms within an hour counts together.

The limits are the entity's policy: entries, and amount by currency. Amounts of several currencies are never added; their
shares of the limits are.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.db.models import Q, QuerySet

from portal import figures, sql
from portal.models import LegalEntity
from reconciliation import policies
from reconciliation.fixes import FIXES
from reconciliation.models import Operation

REST = "*"  # the limit of a currency that is not named
LET_RUN = Q(state__in=[Operation.State.RUNNING, Operation.State.DONE]) | Q(state=Operation.State.CANCELLED, done__gt=0)


DECIDING = [code for code, fix in FIXES.items() if fix.decides]


def limits_of(entity_id: int) -> policies.Policy:
    """The entity's policy, with the limits that hold for what its people fix."""
    policy: Mapping[str, Any] = LegalEntity.objects.values_list("policy", flat=True).get(pk=entity_id)
    return policies.merged(policy)


def why(operation: Operation) -> str:
    """Why somebody else has to agree, in a sentence; empty when one person may decide."""
    fix = FIXES[operation.fix]
    if not fix.decides:
        return ""
    always = fix.second_person(operation.parameters)
    if always:
        return f"{always} A second person has to agree."
    limits = limits_of(operation.entity_id)
    alone = _exceeds([operation], limits)
    if alone:
        return f"{alone} A second person has to agree."
    lately = list(_lately(operation, limits.second_person_minutes))
    together = _exceeds([operation, *lately], limits)
    if lately and together:
        others = "one other fix" if len(lately) == 1 else f"{len(lately)} other fixes"
        return (
            f"Counted together with {others} of {operation.created_by} within {limits.second_person_minutes} minutes: "
            f"{together} A second person has to agree."
        )
    return ""


def _lately(operation: Operation, minutes: int) -> QuerySet[Operation]:
    """What the same person let run in the same entity, cancelled ones too, and nobody else has agreed to, of whatever kind.

    Only what decides something counts: who checks again or looks something up moves no money.
    """
    since = sql.rows("SELECT now() - make_interval(mins => %s)", [minutes])[0][0]
    return Operation.objects.filter(
        fix__in=DECIDING, entity_id=operation.entity_id, created_by_id=operation.created_by_id,
        confirmed_at__gte=since, decided_by=None,
    ).filter(LET_RUN).exclude(pk=operation.pk)  # fmt: skip


def _exceeds(operations: list[Operation], limits: policies.Policy) -> str:
    """The limit that these reach together, in words; empty when they stay below."""
    rows = sum(operation.total for operation in operations)
    if rows > limits.second_person_rows:
        return f"{rows:,} entries are more than the {limits.second_person_rows:,} that one person may decide."
    weights: dict[str, Decimal] = {}
    for operation in operations:
        for currency, sums in operation.preview.get("money", {}).items():
            weights[currency] = weights.get(currency, Decimal(0)) + Decimal(sums.get("weight", 0))
    if sum(weight / _limit(limits, currency) for currency, weight in weights.items()) <= 1:
        return ""
    amounts = [f"{figures.amount(weight, currency)} {currency}" for currency, weight in weights.items() if weight]
    largest = max(weights, key=lambda currency: weights[currency] / _limit(limits, currency))
    limit = f"{figures.amount(_limit(limits, largest), largest)} {largest}"
    return f"{' and '.join(amounts)} {'are' if len(amounts) > 1 else 'is'} more than the {limit} that one person may decide."


def _limit(limits: policies.Policy, currency: str) -> Decimal:
    default = policies.DEFAULT.second_person_amount[REST]
    return limits.second_person_amount.get(currency) or limits.second_person_amount.get(REST, default)
