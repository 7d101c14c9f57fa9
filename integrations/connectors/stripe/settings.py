"""What a Stripe connection is told: its key, the secrets of its webhooks, and how drafts are made."""

from __future__ import annotations

from integrations import account
from integrations.connectors.stripe import assumptions
from integrations.protocol import Setting

SETTINGS = (
    Setting(
        name="api_key",
        label="Secret key",
        help="A restricted key: read events, customers, invoices, payments and credit notes; write customers and invoices.",
        required=True,
        secret=True,
    ),
    Setting(
        name="webhook_secret",
        label="Signing secret of the webhook",
        help="whsec_… Further endpoints, and the new secret while one is rolled over: webhook_secret_2 and so on.",
        secret=True,
    ),
    Setting(name="page_size", label="Rows in a page", help="At most 100.", default=100, least=1, most=100),
    Setting(
        name="days_until_due",
        label="Days until a draft is due",
        help="Where the contract names no day.",
        default=30,
        least=0,
        most=366,
    ),
    Setting(
        name="tax_rates",
        label="Tax rates by our tax code",
        help='As {"VAT20": "txr_…"}. A line whose code is not here is refused before it is sent.',
        default={},
    ),
    Setting(
        name="automatic_tax",
        label="Stripe works the tax out",
        help="Stripe Tax, from the customer's address.",
        default=False,
    ),
    Setting(name="purchase_order_field", label="Custom field with the purchase order", default="Purchase order"),
    account.overlap_minutes(assumptions.OVERLAP_MINUTES),
    account.upstream_timeout(assumptions.UPSTREAM_TIMEOUT),
    Setting(
        name="refusals",
        label="Refusals",
        help='Words for no that we do not know, as [{"match": "tax id is missing", "means": "dimension-missing"}].',
        default=[],
    ),
)
