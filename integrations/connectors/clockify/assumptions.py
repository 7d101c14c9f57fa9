"""What we assume of Clockify without a source for it; to be tried on a live account, and changed here only.

- Money is in hundredths of the currency, whatever the currency's own minor unit; `total` of an expense as well. No setting: it
  would falsify every amount.
- A withdrawn approval still lists its entries. Where it does not, the nightly sweep finds them missing. No setting: both are
  understood.
- A record that is gone is answered 404, or 400 with code 501 as it is documented for projects. No setting: both are understood.
- Over the limit the status is 429; it comes without Retry-After. No setting: both are understood.
- Only PENDING, APPROVED and WITHDRAWN_APPROVAL can be listed. An entry whose approval was rejected, or that left its approval,
  is then in no list; asked for by name it is a draft. No setting: these are the lists that there are.
- Stamps of approvals have whole seconds. No setting: finer stamps are read as well.
- Clients, projects and tasks are changed by PUT at their own address, and archived by `archived`; the documents at hand name
  the making only. A list shows archived records as well. No setting: the read-back tells what was not kept.
- A project that is read names its people under `memberships`, each with their `hourlyRate` there. No setting: the read-back
  tells what is not there.
- The English texts of refusals: which of them say that a field was demanded or is known no more (`REFUSALS`). `refusals` names
  others.
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
UPSTREAM_TIMEOUT = 120  # seconds after which a call that we lost can no longer be carried out
SETTLED_SECONDS = 1  # an approval that changed in this very second may change again under the same stamp
_GONE_CODE = 501

# What no setting of a connection replaces, and why.
FIXED = {
    "LISTED_STATES": "the code walks exactly these lists",
    "SETTLED_SECONDS": "stamps have whole seconds, and nothing shorter is safe",
}


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
