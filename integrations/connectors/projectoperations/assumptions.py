"""What the public documents of Project Operations and Dataverse leave open and we had to decide; to be proved on a sandbox.

Everything here is listed in docs/connectors/projectoperations.md; nothing else in the connector rests on a guess. Where
environments may differ, a setting of the connection replaces the value. Some readings have no value of their own:

- Lookups are written as `name@odata.bind`, in the case of their navigation properties. No setting: the vendor takes no other
  form.
- An application may create an entry that is submitted already; who approves it is set up in Project Operations. `written_as`
  says in which status.
- What approval made of an entry is a transaction origin that names the entry in `msdyn_origin` and the actual in
  `msdyn_transaction`, both by their GUIDs as text. `booked_when` says what counts.
- The application's user is in the time zone UTC, so that a day is not moved. No setting: the day is compared when it is read
  back.
- An actual of time is counted in hours. No setting: the hours are compared when they are read back.
- What is recalled once approved gets actuals of the opposite quantity, whose origin names the same entry, and can be deleted.
  No setting: the sum of both is what stands.
- A change of an invoice's line moves the stamp of the invoice. No setting: `overlap_minutes` reads again what is shown late,
  and drafts are looked at with every reading.
- The texts of plug-ins' refusals (`refusals.py`), which have one code for all. `refusals` names others.
- No page of the documents at hand lists the fields of an expense. No setting: one that is not there is a changed schema, and
  nothing is written.
"""

from __future__ import annotations

from decimal import Decimal

VERSION = "v9.2"

# `msdyn_duration` is minutes, by convention.
MINUTES = Decimal(60)
HOURS_TOLERANCE = Decimal("0.005")

# Statuses are documented; in which of them an entry is written is our choice.
WORK = 192350000
TIME_STATUSES = {
    192350000: "draft", 192350001: "returned", 192350002: "approved", 192350003: "submitted", 192350004: "recall requested",
}  # fmt: skip
EXPENSE_STATUSES = {
    192350000: "draft", 192350001: "submitted", 192350002: "approved", 192350003: "rejected", 192350004: "posted",
    192350005: "paid",
}  # fmt: skip
WRITTEN_AS = "submitted"
# What it says about an entry that nobody will approve as it stands.
TURNED_DOWN = {
    "returned": "Its approver returned it.",
    "rejected": "Its approver rejected it.",
    "recall requested": "Somebody asked for it to be recalled.",
}
BOOKED = ("approved", "posted", "paid")

# Project Operations makes an actual of what is approved, and hands it to Finance, within the hour.
BOOKS_WITHIN_HOURS = 1

# Transactions: the cost of an hour or an expense; the other kinds are sales of the same.
COST = 192350000
CLASSES = {192350000: "time", 192350001: "expense"}

# Documented: 100 characters. Of an expense's purpose the same is assumed.
MEMO_LIMIT = 100
# Dataverse ends an operation after two minutes; a gateway is allowed the double.
UPSTREAM_TIMEOUT = 240
# Members of one batch; the documents allow 1000, and count the time that they take.
BATCH = 20
# Stamps come from several servers; a change that was committed late is read again.
OVERLAP_MINUTES = 15
# A set does not count further than this.
COUNTED = 5000

# A bookable resource that is a person.
PEOPLE = (3, 5)  # user, contact is 2 and generic 1

# An account that was merged into another one is inactive, says so, and names the one that survives it.
MERGED, SURVIVOR = "merged", "masterid"

# Invoices: the state, and of a paid one the reason that says paid in part.
INVOICE_STATES = {0: "open", 1: "open", 2: "paid", 3: "voided"}
PARTLY = 100002
# Whether a project invoice has been confirmed; before that it is a draft.
DRAFTS = (192350000, 192350001)

# What no setting of a connection replaces, and why.
FIXED = {
    "VERSION": "the code is written for this version of the Web API",
    "MINUTES, HOURS_TOLERANCE": (
        "the unit in which the vendor's application shows durations; another one would falsify every hour that "
        "stands there"
    ),
    "WORK, TIME_STATUSES, EXPENSE_STATUSES": "documented values of the vendor's choices",
    "TURNED_DOWN, BOOKED": "our reading of those statuses; `booked_when` says what counts",
    "COST, CLASSES": "values of the vendor's choices",
    "COUNTED": "the vendor's own bound, documented",
    "PEOPLE": "values of the vendor's choice",
    "MERGED, SURVIVOR": "fields of the vendor's own table",
    "INVOICE_STATES, PARTLY, DRAFTS": "values of the vendor's choices",
}
