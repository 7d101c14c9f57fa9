"""What we assume of Clockify without a source for it; to be tried on a live account, and changed here only.

- Money is in hundredths of the currency, whatever the currency's own minor unit; `total` of an expense as well.
- A withdrawn approval still lists its entries. Where it does not, the nightly sweep finds them missing.
- A record that is gone is answered 404, or 400 with code 501 as it is documented for projects.
- Over the limit the status is 429; it comes without Retry-After.
- Only PENDING, APPROVED and WITHDRAWN_APPROVAL can be listed. An entry whose approval was rejected, or that left its
  approval, is then in no list; asked for by name it is a draft.
- Stamps of approvals have whole seconds.
- Clients, projects and tasks are changed by PUT at their own address, and archived by `archived`; the documents at hand name
  the making only. A list shows archived records as well.
- A project that is read names its people under `memberships`, each with their `hourlyRate` there.
- The English texts of refusals: which of them say that a field was demanded or is known no more (`REFUSALS`).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

# What its words for no mean, read from the top.
REFUSALS = (
    (
        "schema-changed",
        r"\bis required\b|(can't|cannot|must not) be (null|blank|empty)|\bunrecognized (field|property)",
    ),
    ("text-invalid", r"\bcharacters\b"),
)

LISTED_STATES = ("APPROVED", "WITHDRAWN_APPROVAL", "PENDING")
SETTLED_SECONDS = 1  # an approval that changed in this very second may change again under the same stamp
_GONE_CODE = 501


def major(minor: Decimal) -> Decimal:
    """An amount in major units from one in Clockify's units."""
    return minor / 100


def minor(major_units: str) -> int:
    """An amount in Clockify's units. Raises ValueError where it has more than two decimals: nothing is rounded in silence."""
    amount = Decimal(major_units) * 100
    if amount != amount.to_integral_value():
        raise ValueError(major_units)
    return int(amount)


def is_gone(status: int | None, body: Any) -> bool:
    """Whether an error means that the record does not exist, and not that something else went wrong."""
    if status in (404, 410):
        return True
    if status != 400 or not isinstance(body, Mapping) or body.get("code") != _GONE_CODE:
        return False
    said = str(body.get("message") or "").lower()
    return "doesn't belong" in said or "not found" in said or "does not exist" in said
