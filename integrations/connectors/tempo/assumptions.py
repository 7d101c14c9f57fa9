"""What we assume of Tempo without a source for it; to be tried on a live account, and changed here only.

- A rejected timesheet is reported OPEN again; an account that says REJECTED is understood as well. No setting: both are
  understood.
- Stamps have whole seconds where they show none, so what changed in this very second may change again under one stamp. No
  setting: finer stamps are read as well.
- `GET /4/periods` answers its list under `periods`, a list of subscriptions stands under `results`. No setting: both are
  understood.
- The account of a worklog is its work attribute `_Account_`, whose value is the account's key. `account_attribute` names
  another.
- Tempo-Timestamp is signed and not understood: whether it counts seconds or milliseconds is not documented. No setting: it is
  signed with the rest, and nothing rests on it.
- A row of the paper trail names the worklog by `entityId`, which is its `tempoWorklogId`. `read_deletions` leaves it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from integrations.errors import Unavailable
from portal.records import SourceStatus

SETTLED_SECONDS = 1  # seconds that a stamp is old before what bears it is taken for whole
ACCOUNT_ATTRIBUTE = "_Account_"  # the work attribute of a worklog that names its account

# Tempo's status of a worklog's approval in our word.
STATUSES = {
    "OPEN": SourceStatus.DRAFT,
    "IN_REVIEW": SourceStatus.SUBMITTED,
    "APPROVED": SourceStatus.APPROVED,
    "REJECTED": SourceStatus.REJECTED,
}

# What no setting of a connection replaces, and why.
FIXED = {
    "SETTLED_SECONDS": "stamps have whole seconds, and nothing shorter is safe",
    "STATUSES": "what counts as approved is not left to a setting; a word that is not among them stops its worklog and says so",
}


def periods(body: Any) -> list[Mapping[str, Any]]:
    """The approval periods in an answer, each with `from` and `to`. Raises Unavailable where it holds no list of them."""
    if not isinstance(body, Mapping) or not isinstance(body.get("periods", body.get("results")), list):
        raise Unavailable("Tempo answered something that is not a list to /4/periods.")
    return _listed(body, "periods")


def subscriptions(body: Any) -> list[Mapping[str, Any]]:
    """The webhook subscriptions in an answer."""
    return body if isinstance(body, list) else _listed(body, "results")


def _listed(body: Any, name: str) -> list[Mapping[str, Any]]:
    items = body.get(name, body.get("results")) if isinstance(body, Mapping) else None
    return list(items) if isinstance(items, list) else []
