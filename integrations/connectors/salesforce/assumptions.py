"""What Salesforce's public documents leave open and we had to decide. Each is to be proved on a sandbox org.

- Stamps are written by several servers and rows are committed late, so changes are read again some minutes back.
  `overlap_minutes` says how many.
- `queryAll` shows merged and deleted rows while they are in the recycle bin, fifteen days; a firm reads more often than that.
  No setting: it is the vendor's own span.
- A daily limit that is used up comes back within a day; until then we ask again every quarter of an hour. `keep_calls` says how
  many are left to writing.
- A query locator that ended is begun anew from the last whole page. No setting: nothing is lost by it.
- Read-only maintenance is answered with its own code, whatever the status. `refusals` names others.
- How bills and payments stand is kept in three objects of an unmanaged package, ours to name; their external ids are unique.
  `invoice_object`, `payment_object` and `part_object` name others.
- An upsert of a record that is there answers its id, which API versions before 46 did not. `api_version` says which is spoken.
- A graph holds at most 500 requests, a call at most 75 graphs, and each graph is kept whole or not at all. No setting: bounds
  of the vendor's own.
- A call is cut off after ten minutes, so a lost one can no longer be booked then. `upstream_timeout` says how long.
- A connect that names a time in its advice is answered by then; a poll that is not ends by itself within two minutes. Messages
  of the Streaming API count as none of the day's calls. An event of a change names at most some hundred records.
  `listen_seconds` says how long a turn is.
- An upsert heeds no version of a record: the last write stands, and what others wrote is found when it is read back. No
  setting: nothing could be asked for.
"""

from __future__ import annotations

API_VERSION = "60.0"
OVERLAP_MINUTES = 15
LIMIT_AGAIN = 900.0  # seconds

COLLECTION = 200  # records in one collection
GRAPHS, NODES = 75, 500  # graphs in one call, and requests in all of them
ASKED = 100  # external ids in one query, whose length is limited
UPSTREAM_TIMEOUT = 660  # seconds
KEEP_CALLS = 500  # of a day's calls, which reading leaves to writing

LISTEN = 20  # seconds of a turn of listening; a session that is silent for 40 is ended by the vendor
POLL_ENDS = 120.0  # seconds; a poll that brings nothing is answered after 110
LISTEN_MOST = 100  # seconds, within which a poll is answered and a stream is still leased
POLL_PAUSE = 1.0  # seconds between two polls of which the first brought nothing
ASKED_ONE_BY_ONE = 50  # records of a stream that one turn names, above which their stream is read instead

# Our word for a field of a bill, a payment, or the part of a payment that settles one bill, and where the package has it.
INVOICE_OBJECT, PAYMENT_OBJECT, PART_OBJECT = "Billing_Invoice__c", "Billing_Payment__c", "Billing_Payment_Part__c"
EXTERNAL_ID = "External_Id__c"
INVOICE_FIELDS = {
    "customer": "Account__c",
    "number": "Number__c",
    "kind": "Kind__c",
    "status": "Status__c",
    "currency": "Currency__c",
    "net": "Net__c",
    "total": "Total__c",
    "balance": "Balance__c",
    "booked_on": "Issue_Date__c",
    "due_on": "Due_Date__c",
    "paid_on": "Paid_On__c",
    "projects": "Projects__c",
    "booked_in": "Booked_In__c",
}
PAYMENT_FIELDS = {
    "customer": "Account__c",
    "number": "Number__c",
    "kind": "Kind__c",
    "status": "Status__c",
    "currency": "Currency__c",
    "amount": "Amount__c",
    "booked_on": "Booked_On__c",
    "booked_in": "Booked_In__c",
}
PART_FIELDS = {"payment": "Payment__c", "invoice": "Invoice__c", "amount": "Amount__c"}

# Our word for a field of a project, and where an opportunity has it.
OPPORTUNITY = {"name": "Name", "customer": "AccountId", "manager": "OwnerId", "won": "IsWon"}

# What no setting of a connection replaces, and why.
FIXED = {
    "LIMIT_AGAIN": "ours to choose, and told by the answer where the vendor says it",
    "COLLECTION, GRAPHS, NODES, ASKED": "bounds of the vendor's, documented",
    "POLL_ENDS, LISTEN_MOST, POLL_PAUSE, ASKED_ONE_BY_ONE": (
        "ours to choose, so that a worker is never held longer than its lease"
    ),
}
