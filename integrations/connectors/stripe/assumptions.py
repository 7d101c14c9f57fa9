"""What Stripe's public documents leave open and we had to decide. Each is to be proved against a real account.

Everything here is listed in docs/connectors/stripe.md; nothing else in the connector rests on a guess. Some have no value:

- The `Date` of an answer and `created` of events are of one clock; an object is never older than the last event that is listed.
  `overlap_minutes` reads again what is listed late.
- The item of a line (`ii_..`) names it from the draft to the finalised invoice. No setting: it is the vendor's own name of it.
- What a customer's balance contributed to an invoice is `ending_balance` less `starting_balance`. No setting: it is the
  vendor's arithmetic; a total that does not come out is a cause.
- `amount` of a line is before discounts and exclusive tax; `discount_amounts` and inclusive taxes are in it. No setting: it is
  the vendor's arithmetic; a total that does not come out is a cause.
- A lost dispute leaves the invoice paid in Stripe; we say of the payment that the bank took it back. No setting: it is our word
  for what is told.
- `effective_at` may lie before or after the day on which a draft is made, and `due_date` must not be checked by us. No setting:
  a day that is refused is a cause.
- A list of the invoices of a customer shows one at once that was made before it was asked for; Search does not, and is not
  used. No setting: `upstream_timeout` says how long a lost one is looked for.
"""

from __future__ import annotations

from datetime import timedelta

# Events may be listed some time after the moment that they bear; this far back they are read again.
OVERLAP_MINUTES = 10

# Events are kept for 30 days. A cursor that is older than this reads the lists as well.
REACH = timedelta(days=29)

# `created` of events has whole seconds: what changed in this very second may change again under one stamp.
SETTLED_SECONDS = 1

# Amounts are in the currency's minor unit (docs.stripe.com/currencies). These have none, and these have three decimals; the
# others have two, also those of which ISO 4217 says otherwise (ISK, UGX).
ZERO_DECIMALS = frozenset(
    "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split()  # noqa: SIM905 - a table
)
THREE_DECIMALS = frozenset(("BHD", "JOD", "KWD", "OMR", "TND"))

# What an amount must be a multiple of in minor units where that is more than one; documented of charges, assumed of invoices.
STEPS = {"BHD": 10, "JOD": 10, "KWD": 10, "OMR": 10, "TND": 10, "ISK": 100, "UGX": 100}

# Largest amount in minor units.
LARGEST_AMOUNT = 99_999_999

# Lines on one invoice: documented of items.
INVOICE_LINES = 250

# Characters. Metadata is documented (50 names, 500 characters each); the texts of invoices are not.
METADATA_LIMIT = 500
LINE_TEXT_LIMIT = 500
MEMO_LIMIT = 1500
CUSTOM_FIELD_LIMIT = 140

# Seconds after which a request that we lost can no longer be carried out.
UPSTREAM_TIMEOUT = 300

# An answer under a known idempotency key bears this header.
REPLAYED = "idempotent-replayed"

# Keys that are tried one after the other, where what stands under the first ones is a refusal or a failure.
TRIES = 5

# What no setting of a connection replaces, and why.
FIXED = {
    "REACH": "the vendor keeps events for 30 days, documented",
    "SETTLED_SECONDS": "stamps have whole seconds, and nothing shorter is safe",
    "ZERO_DECIMALS, THREE_DECIMALS, STEPS, LARGEST_AMOUNT": (
        "the vendor's own table of currencies; a setting that is wrong would bill a hundredfold"
    ),
    "INVOICE_LINES, METADATA_LIMIT, LINE_TEXT_LIMIT, MEMO_LIMIT, CUSTOM_FIELD_LIMIT": (
        "bounds of the vendor's, the same for every account; what is longer is refused by it as well"
    ),
    "REPLAYED": "the vendor's header, documented",
    "TRIES": "ours to choose",
}
