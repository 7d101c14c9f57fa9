"""Remedies that are not a fix of entries: something has to be put right elsewhere, and the entries follow by themselves.

Each says what to change, who may, and where; once it is changed, every entry that it touches is validated again.
"""

from __future__ import annotations

ADVICE: dict[str, str] = {
    "add-crosswalk": "Tell Tieout the target's key of this record: add a row to crosswalks.csv and import it. An admin may.",
    "add-intercompany": "Record that the two entities work for each other: add a row to intercompany.csv. A controller may.",
    "add-purchase-order": "Record the customer's purchase order: add a row to purchase_orders.csv. A controller may.",
    "add-route": "Say which target these documents are owed to: add a route to the configuration. An admin may.",
    "amend-rate-card": "Agree and record the rate: add a row to rates.csv, with zero where the work is free. A controller may.",
    "correct-in-target": "Correct the record in the target, where it is booked, and reconcile again. Its bookkeeper may.",
    "extend-engagement": "Record where the person works on these days: add a row to engagements.csv. An admin may.",
    "open-period": "Open the accounting period in the target and here, or post in an open one. The calendar owner may.",
    "raise-cap": "Agree a higher limit with the customer and change it in contracts.csv. A controller may.",
    "raise-purchase-order": "Ask the customer for a higher purchase order and record it. A controller may.",
    "read-again": "Nothing is lost: the cursor stands. Ask the vendor why it stops short; the stream is read again by itself.",
    "release-stream": "If the silence is right, release the stream on its connection's page. An operator may.",
    "renew-credentials": "Put new credentials where the connection reads them and test it. An admin may.",
    "set-cost-centre": "Give the person's engagement or the project a cost centre of its entity. An admin may.",
}
