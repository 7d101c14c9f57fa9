"""What Business Central's public documents leave open and we had to decide. Each is to be proved on a sandbox environment.

Everything here is listed in docs/connectors/businesscentral.md; nothing else in the connector rests on a guess. Where
environments may differ, a setting of the connection replaces the value. Some readings have no value of their own:

- API v2.0 has no project journal. A custom API page has to be installed, as Microsoft's documents suggest; its sets and fields
  are ours to name, and the ones that we ask for stand here. Its field with our key is unique over lines and entries.
  `custom_api` and `fields` name others.
- Posting a journal posts every line that stands in it, or none. No setting: the steps of a push rest on it.
- The allowed posting dates are one range, which begins or ends within a month and never does both: days between two closed days
  of a month are closed. No setting: it saves calls only; an open day between two closed ones is refused and can be re-posted.
- A resource of the journal has the number of its employee. No setting: another number of a person is its key in the crosswalk.
- The fields of a line are taken in the order in which it names them: its work type, which may bring a unit, before its unit,
  and that before its quantity and prices, which are those of one unit. No setting: a page that takes them otherwise refuses the
  line, or it reads back different.
- One of a choice of values is written with `_xHHHH_` for what no name may hold (`In_x0020_Review`, `_x0020_` for none), as is
  seen on running environments and not in the documents. What is read is taken either way; `expense_type` says how the one that
  we write is written.
- A set states its size where `$count=true` asks for it. No setting: a set that states none is read to its last page.
- The page of sales invoices keeps an invoice's id when it is posted, and states amounts in the invoice's own currency. No
  setting: what stands under another id is found by our key.
- A payment may leave the stamp of its invoice as it was, and an application that of its credit memo, so what is open of both is
  looked at with every reading. No setting: it is looked at either way.
- An invoice is made with its lines and its dimensions in one request, which a batch of one keeps whole. No setting: what were
  left behind would be found by its key.
- An external document number is a Code of 35, which is kept in capitals; the second description of a line is a text of 50. No
  setting: lengths of the vendor's own tables.
- A posted invoice is found by the external document number of its draft. No setting: it is the one field of ours that an
  invoice keeps.
- API v2.0 shows no posted payment. The custom page may bring them (`PAYMENTS`) with the invoices that each is applied to.
  `custom_api` names it.
- Time registration entries behave as the product's published source has it: any number of them for one day, made Open, each
  found again under its id until its sheet is archived, in the base unit of the resource. A time sheet is one person's week from
  Monday, and is archived as a whole. No setting: it is the vendor's own code; `time_by` does without.
- Time registration entries are listed by their days for all people, as the published source has it. A recording of a running
  environment refuses a list without its employee (*You must specify a parent ID*). No setting: the connection test asks for such
  a list, and where it is refused nothing is sent; `time_by` does without.
- The texts of refusals are those of an environment in English. `refusals` names others.
- A customer that was merged into another one is deleted, and nothing that is read names the one that survives. No setting:
  nothing is told that could be read.
"""

from __future__ import annotations

from datetime import timedelta

# The custom API: publisher, group and version; its sets.
CUSTOM_API = "tieout/finance/v1.0"
JOURNALS, LINES, ENTRIES, TASKS = (
    "projectJournals", "projectJournalLines", "projectLedgerEntries", "projectTasks",
)  # fmt: skip
JOURNAL, SHEETS = "project journal", "time sheets"  # where time goes
SHEETS_SPAN = timedelta(days=69)  # between the first and the last day of a list of time registration entries
PAYMENTS, APPLIED = "customerPaymentEntries", "applications"  # payments, and the invoices of each
POST = "Microsoft.NAV.post"  # the bound action that posts a journal or an invoice

# The field of an invoice's line that bears our key, and how many lines a draft has at most: ours to bound, the vendor names none.
LINE_KEY = "description2"
INVOICE_LINES = 500

# Our word for a field of a line or an entry, and the page's.
FIELDS = {
    "key": "externalId",
    "journal": "journalCode",
    "project": "projectNumber",
    "task": "projectTaskNumber",
    "type": "type",
    "number": "number",
    "day": "postingDate",
    "unit": "unitOfMeasureCode",
    "quantity": "quantity",
    "cost": "unitCost",
    "price": "unitPrice",
    "billable": "chargeable",
    "currency": "currencyCode",
    "cost_centre": "dimension1Code",
    "work_type": "workTypeCode",
    "memo": "description",
    "entry": "entryNumber",
}
TIME_TYPE = "Resource"
# The type of a line that is an expense, "G/L Account", as it is escaped on the way.
EXPENSE_TYPE = "G_x002F_L_x0020_Account"
# The unit of measure of an hour. A line that names none counts in the base unit of its resource.
HOUR_UNIT = "HOUR"

# A description of a journal line, and what BC keeps of hours.
MEMO_LIMIT = 100
# Stamps come from several servers; a change that was committed late is read again.
OVERLAP_MINUTES = 15
# An operation is cut off after eight minutes, a gateway after ten.
UPSTREAM_TIMEOUT = 660

# Sets for which a subscription can be made, by our stream. Projects cannot be subscribed to.
SUBSCRIBED = {"customers": "customers", "employees": "employees", "sales_invoices": "salesInvoices"}

# BC's status of a sales invoice, lower case, in our word; an open one with less than its total left is paid in part.
BILL_STATUSES = {
    "": "draft",
    "draft": "draft",
    "in review": "draft",
    "open": "open",
    "paid": "paid",
    "canceled": "voided",
    "corrective": "voided",
}

# What a part of a payment is, by the type of the detailed customer ledger entry, lower case, in our word; none is the payment
# itself. Gains and losses of exchange, and what corrects them, are booked in the currency of the books alone: of the invoice
# they settle nothing, and their amount is zero. A tolerance is what the books give up of a bill.
SETTLED_BY = {
    "": "cash",
    "application": "cash",
    "payment discount": "discount",
    "payment discount tolerance": "discount",
    "payment tolerance": "write_off",
    "appln. rounding": "fx",
    "realized gain": "fx",
    "realized loss": "fx",
    "unrealized gain": "fx",
    "unrealized loss": "fx",
    "correction of remaining amount": "fx",
}
PARTS_OF_A_TYPE = (
    " (vat excl.)",
    " (vat adjustment)",
)  # a discount or tolerance is booked in two, where VAT is adjusted

# What no setting of a connection replaces, and why.
FIXED = {
    "JOURNALS, LINES, ENTRIES, TASKS, PAYMENTS, APPLIED": (
        "the extension that brings the page is written to these names, as its page in our documents has them"
    ),
    "JOURNAL, SHEETS": "our words for the choices of `time_by`",
    "SHEETS_SPAN": "the vendor's own bound, from its published source",
    "POST": "the vendor's name of the action, documented",
    "LINE_KEY": "no other text of a line is free and shown again",
    "INVOICE_LINES": "ours to bound; a longer bill is split",
    "PARTS_OF_A_TYPE": "options of the vendor's own table",
    "TIME_TYPE": "an option of the vendor's own table",
    "SUBSCRIBED": "the sets that the vendor documents for subscriptions",
}
