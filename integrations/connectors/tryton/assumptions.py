"""What we take for granted of Tryton beyond its documents. Each was seen on a running 8.0; what other versions do is told.

- A list in one `create` is written wholly or not at all, and every error of a call means that nothing of it was written. No
  setting: it was seen so.
- `timesheet.line.uuid` is unique and takes what we write. From 8.2 on calls from outside may not write it. No setting: the
  server's version is asked for.
- Stamps are those of the transaction's start, so what was written by a long one is seen late; `OVERLAP_MINUTES` is read again.
  `overlap_minutes` says how far.
- An open invoice may have less to pay although its stamp did not move, and a payment may be unlinked from its invoice without a
  stamp. What is open is therefore looked at with every reading. No setting: it is looked at either way.
- A description is one line of text; where ours has several, they are parted by blanks. No setting: what is sent is what is
  compared.
- A credit to a receivable account in a journal of type cash is a payment, and in one of type write-off a write-off. No setting:
  types of the vendor's own journals.
"""

from __future__ import annotations

OVERLAP_MINUTES = 15  # read again before the cursor, for what a long transaction wrote late
UPSTREAM_TIMEOUT = 300  # seconds; Tryton sets no limit of its own, and whoever runs it knows its proxy's
LAST_WITH_KEYS = (8, 0)  # the last version in which a line's uuid may be written from outside
MEMO_LIMIT = 1000  # characters; Tryton sets no limit of its own
DETAIL_LIMIT = 500  # characters of an error that are kept; its third part can be 100 KB of field definitions

# The method of a project in our word for how it is billed.
BILLING_MODELS = {"timesheet": "time_and_material", "effort": "fixed_fee", "progress": "fixed_fee"}

# The state of an invoice in our word; one that is posted with less to pay than its total is paid in part.
BILL_STATUSES = {
    "draft": "draft",
    "validated": "draft",
    "posted": "open",
    "paid": "paid",
    "cancelled": "voided",
}
HOUR = "h"  # the symbol of the unit in which hours are billed

# What no setting of a connection replaces, and why.
FIXED = {
    "LAST_WITH_KEYS": "the vendor's own version, read from the server",
    "DETAIL_LIMIT": "ours to choose",
    "BILLING_MODELS, BILL_STATUSES": "selections in the vendor's published source",
    "HOUR": "the vendor's own unit, loaded with its data",
}
