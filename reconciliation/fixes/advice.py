"""Remedies that are not a fix of entries: something has to be put right elsewhere, and the entries follow by themselves.

Each says what to change, who may, and where; once it is changed, every entry that it touches is validated again.
"""

from __future__ import annotations

ADVICE: dict[str, str] = {
    "accept-drift": "Leave it as the system has it, with a reason, on the record's page under Published. An operator may.",
    "adopt-drift": "Take what the system holds as ours: a change set, begun on the record's page under Published.",
    "confirm-twin": "Say that it is the same record, on its page under Published; its key is then added by a change set.",
    "send-draft-again": "Put it right there, then send the draft again on the proposal's page. Finance may.",
    "withdraw-proposal": "Withdraw the proposal on its page, and prepare it anew without what may not be billed. Finance may.",
    "send-again": "Put it right here or there, then send it again on the record's page under Published. An operator may.",
    "add-crosswalk": "Tell Tieout the target's key of this record, by a change set.",
    "add-intercompany": "Record that the two entities work for each other, by a change set.",
    "add-purchase-order": "Record the customer's purchase order, by a change set.",
    "add-route": "Say which target these documents are owed to: add a route to the configuration. An admin may.",
    "amend-rate-card": "Agree and record the rate, with zero where the work is free, by a change set.",
    "ask-for-hours": "Ask these people, or look whether the source still answers; what arrives closes it by itself.",
    "apply-payment": "Apply the money to the bills that it is for, or keep it as the customer's credit, in its system.",
    "correct-bill": "Correct the bill in the system that keeps it; it is read again by itself. Its bookkeeper may.",
    "correct-in-target": "Correct the record in the target, where it is booked, and reconcile again. Its bookkeeper may.",
    "ask-for-it": "Ask the customer for what was held back; the case ends when it is paid or written off. Finance may.",
    "credit-bill": "Credit one of the bills, for these hours, in the system that keeps it. Its bookkeeper may.",
    "decide-bill": "Open the bill and decide: adopt what its system says, have what was agreed or approved restored, or "
    "correct by a credit note.",
    "extend-engagement": "Record where the person works on these days, by a change set.",
    "name-hours": "Open the credit note and say which hours it gives back, or that it lowers the price alone. An analyst may.",
    "plan-the-books": "Plan what follows: each entry reversed and booked anew, agreed to by somebody else. Finance may.",
    "open-period": "Open the accounting period in the target and here, or post in an open one. The calendar owner may.",
    "price-intercompany": "Agree a price list in the lender's currency and name it in the relation, by a change set.",
    "raise-cap": "Agree a higher limit with the customer and change the contract, by a change set.",
    "raise-retainer": "Agree more hours a month with the customer, or what is billed beyond, and change the contract.",
    "raise-purchase-order": "Ask the customer for a higher purchase order and record it, by a change set.",
    "propose-credit": "Credit these hours on the bill, in the system that keeps it; that ends this. Its bookkeeper may.",
    "re-apply-credit": "Apply it to the bill that it is of, in the system that keeps both, or agree that it applies credits.",
    "read-again": "Nothing is lost: the cursor stands. Ask the vendor why it stops short; the stream is read again by itself.",
    "read-bills": "The part is kept. It is tied by itself once the bill is read; ask its system why it does not show it.",
    "read-payments": "Read the payments of this system again, or have another one applied; what is short is written off there.",
    "release-stream": "If the silence is right, release the stream on its connection's page. An operator may.",
    "renew-credentials": "Put new credentials where the connection reads them and test it. An admin may.",
    "renew-webhooks": "The schedule reads what they would tell. Each night tries again; the connection's page says what fails.",
    "settle-difference": "Credit the difference, or invoice it, in the system that keeps the bill; that closes this by itself.",
    "unapply-payment": "Take the payment off the bill, or credit the bill instead of voiding it; in the system that keeps it.",
    "write-off": "Write the rest off in the bill's system, to the account of its reason; it is read again. Its bookkeeper may.",
    "set-cost-centre": "Give the person's engagement or the project a cost centre of its entity. An admin may.",
}

CHANGES: dict[str, tuple[str, str]] = {
    "add-crosswalk": ("crosswalk", "add"),
    "add-intercompany": ("intercompany", "add"),
    "add-purchase-order": ("purchase_order", "add"),
    "add-route": ("route", "add"),
    "amend-rate-card": ("rate", "add"),
    "extend-engagement": ("engagement", "add"),
    "open-period": ("period", "change"),
    "price-intercompany": ("intercompany", "change"),
    "raise-cap": ("contract", "change"),
    "raise-retainer": ("contract", "change"),
    "raise-purchase-order": ("purchase_order", "change"),
    "set-cost-centre": ("engagement", "change"),
}  # those that are done by a change set: of which kind of record, and whether one is added or changed
