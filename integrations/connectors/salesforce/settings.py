"""What a Salesforce connection is told: how to sign in, and which object and fields are a project."""

from __future__ import annotations

from integrations import account
from integrations.connectors.salesforce import assumptions
from integrations.protocol import Setting

SETTINGS = (
    Setting(
        name="auth",
        label="Sign-in",
        help="Client credentials of a connected app with a run-as user, or a JWT that its key signs.",
        default="client_credentials",
        choices=("client_credentials", "jwt"),
    ),
    Setting(name="client_id", label="Consumer key", required=True),
    Setting(name="client_secret", label="Consumer secret", secret=True, help="For client credentials."),
    Setting(
        name="private_key", long=True, label="Private key", secret=True, help="PEM, RSA, without a password; for JWT."
    ),
    Setting(name="username", label="User name", help="Of the user whom a JWT stands for."),
    Setting(
        name="audience",
        label="Audience of the JWT",
        default="https://login.salesforce.com",
        choices=("https://login.salesforce.com", "https://test.salesforce.com"),
    ),
    Setting(name="api_version", label="API version", default=assumptions.API_VERSION, replaces=("API_VERSION",)),
    Setting(
        name="multi_currency", label="Several currencies", help="Whether records have CurrencyIsoCode.", default=False
    ),
    Setting(name="currency", label="Currency of the org", help="ISO 4217, where it has one only.", shape="currency"),
    Setting(name="account_number", label="Field with a customer's code", help="Such as AccountNumber; empty: the id."),
    Setting(
        name="project_object",
        label="Object that is a project",
        help="One. Where deals and objects of your own are projects, a second connection to the org reads the other.",
        default="Opportunity",
    ),
    Setting(
        name="project_fields",
        label="Fields of that object",
        help="Which field of it says what.",
        default=assumptions.OPPORTUNITY,
        replaces=("OPPORTUNITY",),
        words=("code", "name", "customer", "manager", "status", "starts_on", "ends_on", "won"),
    ),
    Setting(
        name="project_statuses",
        label="Project statuses",
        help='Our status by the org\'s, as {"Live": "open"}.',
        default={},
    ),
    Setting(
        name="invoice_object", label="Object of bills", default=assumptions.INVOICE_OBJECT, replaces=("INVOICE_OBJECT",)
    ),
    Setting(
        name="payment_object",
        label="Object of payments",
        default=assumptions.PAYMENT_OBJECT,
        replaces=("PAYMENT_OBJECT",),
    ),
    Setting(
        name="part_object",
        label="Object of what a payment settles",
        default=assumptions.PART_OBJECT,
        replaces=("PART_OBJECT",),
    ),
    Setting(
        name="invoice_fields",
        label="Fields of bills",
        help="Where the org names them otherwise.",
        default=assumptions.INVOICE_FIELDS,
        replaces=("INVOICE_FIELDS",),
        words=tuple(assumptions.INVOICE_FIELDS),
    ),
    Setting(
        name="payment_fields",
        label="Fields of payments",
        help="Where the org names them otherwise.",
        default=assumptions.PAYMENT_FIELDS,
        replaces=("PAYMENT_FIELDS",),
        words=tuple(assumptions.PAYMENT_FIELDS),
    ),
    Setting(
        name="part_fields",
        label="Fields of what a payment settles",
        help="Where the org names them otherwise.",
        default=assumptions.PART_FIELDS,
        replaces=("PART_FIELDS",),
        words=tuple(assumptions.PART_FIELDS),
    ),
    Setting(
        name="external_id_field",
        label="External id field",
        help="Of those three objects; a text that is external id and unique.",
        default=assumptions.EXTERNAL_ID,
        replaces=("EXTERNAL_ID",),
    ),
    Setting(
        name="external_id_prefix",
        label="Beginning of external ids",
        help="Where two Tieouts tell one org.",
        default="tieout",
    ),
    Setting(
        name="keep_calls",
        label="Calls kept for writing",
        help="Of a day's calls; a reading ends after its page when fewer are left.",
        default=assumptions.KEEP_CALLS,
        least=0,
        most=1000000,
        replaces=("KEEP_CALLS",),
    ),
    Setting(
        name="webhook_secret",
        label="Secret of hints",
        secret=True,
        help="What a flow of the org puts into X-Tieout-Secret when it tells us that a record moved.",
    ),
    Setting(
        name="channels",
        label="Channels of hints",
        help="For the stream hints: /data/AccountChangeEvent = changes, or /event/Deal_Moved__e = Opportunity.Deal_Id__c, "
        "where the field of the platform event holds the record's id.",
        default={},
    ),
    Setting(
        name="listen_seconds",
        label="Seconds of listening",
        help="How long a reading of hints listens; a worker waits with it.",
        default=assumptions.LISTEN,
        least=1,
        most=110,
        replaces=("LISTEN",),
    ),
    account.overlap_minutes(assumptions.OVERLAP_MINUTES),
    account.upstream_timeout(assumptions.UPSTREAM_TIMEOUT),
    Setting(
        name="refusals",
        label="Refusals",
        help='The org\'s own refusals, as [{"match": "frozen", "means": "unavailable"}].',
        default=[],
    ),
)
