"""What the public documents of Dynamics 365 Finance leave open and we had to decide. Each is to be proved on a sandbox.

Everything here is listed in docs/connectors/dynamicsfinance.md; nothing else in the connector rests on a guess. Where
environments may differ, a setting of the connection replaces the value. Some readings have no value of their own:

- A journal cannot be posted over OData: no action for it is documented. People or a batch job post it, and we read `Posted`.
  `posts_within_hours` says how long it takes them.
- A posted journal keeps its lines (`DeleteLinesAfterPosting` No), and a line then bears in `TransactionID` the project
  transaction that it became. No setting: lines that are gone are a cause.
- Negative hours and negative expense amounts are taken: a reversal is a record of its own with the sign turned. No setting: one
  that is refused is a cause, and is taken back there.
- A resource of a journal has the personnel number of its worker, and an activity the id of its task. No setting: another number
  is the person's key in the crosswalk.
- A number sequence names new journals and expenses, and the answer to their creation says the number. No setting: a creation
  that names no number is in doubt.
- Of fiscal periods it is not told whether they are open. No setting: nothing is told that could be read.
- A free text invoice keeps its `InvoiceIdentifier` when it is posted; one of a negative amount is a credit note. No setting:
  our key stands on it as well.
- What is settled of an invoice is what posted lines of customer payment journals say that mark it by its number. No setting:
  nothing else tells it.
- A batch stops at its first failure, or answers every member; what it does not answer it did not carry out. No setting: what is
  not answered is looked up before it goes again.
- Reals are kept with six decimals. No setting: it is the vendor's type of number.
- Merging parties of the address book leaves the customer accounts of both. No setting: nothing is told that could be read.
- The texts of Infologs (`refusals.py`), but for those of an update conflict and of throttling. `refusals` names others.
"""

from __future__ import annotations

from decimal import Decimal

# Where our key stands: at the beginning of a text, and found by the wildcard that the documents describe. A field of its own,
# added by an extension of the entity, is named by the setting `key_fields`.
KEY_FIELDS = {"time": "Description", "expense": "AdditionalInformation"}
# Characters of a journal line's description, of which our key and a blank take 33.
DESCRIPTION_LIMIT = 60
# The same of an expense, whose field has no limit that is documented.
INFORMATION_LIMIT = 1000

# Lines of one journal; further ones go into the next.
LINE_LIMIT = 1000
# Members of one batch; the documents allow 5000.
BATCH = 50

# Hours and amounts are NUMERIC(32,6).
HOURS_TOLERANCE = Decimal("0.000001")
# A call that we lost can still be booked for so long: half an hour, twice what an interactive session may take.
UPSTREAM_TIMEOUT = 1800
# People, or a batch job, post journals and expense reports within so many hours; then it is a cause on the queue.
BOOKS_WITHIN_HOURS = 24

# Names of line properties, which are set-up of the customer.
LINE_PROPERTIES = {"billable": "Billable", "not_billable": "NonBill"}

# Posted project transactions, ours and others': one row each, named by `TransId`, whose kind is told by `ProjTransType`.
ACTUALS = "PSAActuals"
ACTUAL_KINDS = {"Hour": "time", "Cost": "expense", "Expense": "expense"}

# Stages of a project, lower case, in our words.
PROJECT_STAGES = {
    "created": "planned",
    "quotation": "planned",
    "estimated": "planned",
    "scheduled": "planned",
    "inprocess": "open",
    "onhold": "on_hold",
    "finished": "closed",
    "completed": "closed",
}

# What a customer's `OnHoldStatus` says of one who may no longer be sold to.
BLOCKED = ("All", "Never")
# The number of a free text invoice before it is posted (recorded).
UNPOSTED = "Not posted"
# Days that are written for none (recorded).
NO_DAYS = ("1900-01-01", "2154-12-31")

# An invoice draft and its lines bear our keys here; the field takes 32 characters, on a header and on a line.
DRAFT_KEY = "ExternalInvoiceId"
INVOICE_LINES, INVOICE_LINE_TEXT, INVOICE_MEMO = 1000, 1000, 60

# What no setting of a connection replaces, and why.
FIXED = {
    "INFORMATION_LIMIT": "ours to bound; the vendor names no limit",
    "HOURS_TOLERANCE": "the vendor's type of number, from its metadata",
    "ACTUALS, ACTUAL_KINDS": "the vendor's entity and enumeration; `read_actuals` leaves them out",
    "BLOCKED": "values of the vendor's enumeration",
    "UNPOSTED, NO_DAYS": "recorded of the vendor",
    "DRAFT_KEY": "the one free field of an invoice that is found again",
    "INVOICE_LINES, INVOICE_LINE_TEXT, INVOICE_MEMO": "ours to bound; a longer bill is split, a longer text refused",
}
