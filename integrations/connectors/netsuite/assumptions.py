"""What the vendor's public documents leave open and we had to decide. Each is to be proved against a real account.

Everything here is listed in docs/connectors/netsuite.md; nothing else in the connector rests on a guess. Where accounts may
differ, a setting of the connection replaces the value. Some readings have no value of their own:

- SuiteQL's timebill and transaction have a column `externalid` (`statements.py`); a record that it does not show is asked for
  by REST as well. No setting: both ways are gone.
- SuiteQL's timebill.hours are decimal hours, while the record writes h:mm. No setting: the read-back tells at once where it is
  not so.
- A batch makes one task per record, in the records' order (`batches.py`). `batch_size` of 1 does without.
- Negative hours and negative expense amounts are taken: a reversal is a record of its own with the sign turned. No setting: one
  that is refused is a cause, and is taken back there.
- What was merged into another record is among the deleted ones, and nothing names the one that survives. No setting: nothing is
  told that could be read.
- The texts of refusals (`refusals.py`) are those of accounts in English, beside the names that the WSDL has for the same.
  `refusals` names others.
- A call that is refused for the account's limit, or by a page of maintenance, says no time to come again. No setting: it is
  tried again later and later.
- A time bill that is written is approved, or waits for it, as the account is set up. `time_defaults` may say otherwise.
"""

from __future__ import annotations

# SuiteQL shows timestamps in the account's own zone. Changes are read again this far back, more than a clock change takes.
OVERLAP_MINUTES = 70

# A call that takes longer than a quarter of an hour is ended by the vendor (documented), and books nothing after that.
UPSTREAM_TIMEOUT = 900

# `lastmodifieddate` exists on every table that we read, accountingperiod included, and is exact to the second.
MODIFIED = "lastmodifieddate"

# The lines of an expense report are transactionline rows with mainline F; their entity is the project or customer.
EXPENSE_LINES = "tl.mainline = 'F'"

# Memos: what the entry forms take. Longer texts are refused by the vendor.
MEMO_LIMIT = 4000
EXPENSE_MEMO_LIMIT = 999

# Reading an expense report that does not exist is answered with this text and 400 (recorded), not with 404.
ABSENT_TRANSACTION = "Transaction type specified is incorrect"

# Display texts of a project's status and billing type, as accounts in English show them; lower case.
PROJECT_STATUSES = {
    "closed": "closed",
    "not awarded": "closed",
    "pending": "planned",
    "awarded": "open",
    "in progress": "open",
    "on hold": "on_hold",
}
BILLING_TYPES = {
    "time and materials": "time_and_material",
    "fixed bid, interval": "fixed_fee",
    "fixed bid, milestone": "milestone",
    "charge-based": "time_and_material",
}

# What `deletedrecord.type` says for the records that we read, lower case without blanks.
DELETED_TYPES = {
    "customer": "customer",
    "job": "project",
    "project": "project",
    "projecttask": "task",
    "employee": "resource",
    "subsidiary": "entity",
    "department": "cost_centre",
    "accountingperiod": "period",
}

# Bills and payments: our stream, what SuiteQL's `transaction.type` says, and the REST record that is read whole. Invoices and
# payments are documented (their records, and `recordtype` in a published connector); the credit memo is read alike.
BILLING_STREAMS = (
    ("invoices", "CustInvc", "invoice"),
    ("credit-memos", "CustCred", "creditmemo"),
    ("payments", "CustPymt", "customerpayment"),
)

# Display texts of their status, as accounts in English show them; lower case. The letters have no public legend.
BILL_STATUSES = {
    "open": "open",
    "paid in full": "paid",
    "fully applied": "paid",
    "pending approval": "draft",
    "rejected": "draft",
    "voided": "voided",
}
PAYMENT_STATUSES = {
    "not deposited": "received",
    "deposited": "received",
    "payment posted": "received",
    "unapproved payment": "received",
    "bounced": "bounced",
    "rejected": "bounced",
    "voided": "voided",
}

# What an invoice is lessened by because it was paid in good time, beside the amount that is paid of it: a field of the SOAP
# record's line, which the published REST record of an account without such terms does not list. One without it told none.
DISCOUNT_TAKEN = "disc"

# Invoices that we draft: how many lines one takes, how long a line's text is, and the id of "Pending Approval". An account that
# does not route invoices for approval books them as open at once; the setting invoice_defaults may say otherwise.
INVOICE_LINES = 1000
INVOICE_LINE_TEXT = 4000
PENDING_APPROVAL = "1"

# What `deletedrecord.type` says for them.
DELETED_BILLS = {
    "invoice": "invoice", "custinvc": "invoice", "creditmemo": "credit_note", "custcred": "credit_note",
    "customerpayment": "payment", "payment": "payment", "custpymt": "payment",
}  # fmt: skip

# What no setting of a connection replaces, and why.
FIXED = {
    "MODIFIED, EXPENSE_LINES": "parts of the queries that the code is written around",
    "ABSENT_TRANSACTION": "recorded of the vendor; other words of an account are told by `refusals`",
    "DELETED_TYPES, DELETED_BILLS": "names of the vendor's record types; one that is not among them is left alone",
    "BILLING_STREAMS": "the vendor's record types, which the code reads each in its own way",
    "DISCOUNT_TAKEN": "the vendor's own name of it in its older record",
    "INVOICE_LINES, INVOICE_LINE_TEXT": "ours to bound; a longer bill is split, a longer text refused",
}
