"""What Salesforce's public documents leave open and we had to decide. Each is to be proved on a sandbox org.

- Stamps are written by several servers and rows are committed late, so changes are read again some minutes back.
- `queryAll` shows merged and deleted rows while they are in the recycle bin, fifteen days; a firm reads more often than that.
- A daily limit that is used up comes back within a day; until then we ask again every quarter of an hour.
- A query locator that ended is begun anew from the last whole page.
- Read-only maintenance is answered with its own code, whatever the status.
"""

from __future__ import annotations

from datetime import timedelta

API_VERSION = "60.0"
OVERLAP = timedelta(minutes=15)
LIMIT_AGAIN = 900.0  # seconds

# Our word for a field of a project, and where an opportunity has it.
OPPORTUNITY = {"name": "Name", "customer": "AccountId", "manager": "OwnerId", "won": "IsWon"}
