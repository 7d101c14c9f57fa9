"""What we assume of Harvest without a source for it; to be tried on a live account, and changed here only.

- Approving or un-approving an entry may leave its `updated_at` as it was. So the days of the open window are read again on a
  schedule, and a day whose entries changed is filed with a later revision. `window_days` and `reread_hours` say which and how
  often.
- A deleted entry does not appear under `updated_since`. So deletions are found by sweeping ids (`present`). No setting: the
  sweep finds them either way.
- An account without `approval_status` in its replies says by `is_closed` or `locked_reason` that an entry was approved. No
  setting: both are understood.
- A throttled call may be answered 503 instead of 429, as version 1 did. No setting: both are understood.
- The address of a person's day in the web application. `web_address` names the application.
- The English texts of refusals: which of them say that a field was demanded or is known no more (`REFUSALS`). `refusals` names
  others.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

# What its words for no mean, read from the top.
REFUSALS = (
    ("schema-changed", r"can't be blank|\bis (required|not permitted)|\bunknown (field|attribute|parameter)"),
    ("text-invalid", r"\bis too long\b|\bcharacters\b|\bis invalid\b"),
)

# Stamps have whole seconds: what was changed in this very second may change again under the same stamp.
UPSTREAM_TIMEOUT = 120  # seconds after which a call that we lost can no longer be carried out
SETTLED_SECONDS = 1

# What no setting of a connection replaces, and why.
FIXED = {
    "SETTLED_SECONDS": "stamps have whole seconds, and nothing shorter is safe",
}


def approval_status(entry: Mapping[str, Any]) -> str:
    """How far an entry has come: `unsubmitted`, `submitted` or `approved`, also for replies from before that field."""
    stated = entry.get("approval_status")
    if stated:
        return str(stated)
    if entry.get("is_closed") or "approved" in str(entry.get("locked_reason") or "").lower():
        return "approved"
    return "unsubmitted"


def day_page(web_address: str, day: date, user_id: str) -> str:
    """Where a person sees the entries of one user and day."""
    return f"{web_address.rstrip('/')}/time/day/{day:%Y/%m/%d}/{user_id}" if web_address else ""
