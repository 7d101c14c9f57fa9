"""What a NetSuite connection is told: how to sign in, how much at once, and the account's own ids and words."""

from __future__ import annotations

from integrations import account
from integrations.connectors.netsuite import assumptions
from integrations.protocol import Setting

SETTINGS = (
    Setting(
        name="auth",
        label="Sign-in",
        help="OAuth 2.0 with a certificate, or token-based.",
        default="oauth2",
        choices=("oauth2", "tba"),
    ),
    Setting(name="client_id", label="Client id", help="Of the integration record; OAuth 2.0."),
    Setting(name="certificate_id", label="Certificate id", help="Of the uploaded certificate; OAuth 2.0."),
    Setting(
        name="private_key",
        long=True,
        label="Private key",
        help="PEM without a password, RSA (signs PS256) or EC (ES256, ES384, ES512); OAuth 2.0.",
        secret=True,
    ),
    Setting(name="consumer_key", label="Consumer key", help="Of the integration record; token-based."),
    Setting(name="consumer_secret", label="Consumer secret", help="Token-based.", secret=True),
    Setting(name="token_id", label="Token id", help="Of the access token; token-based."),
    Setting(name="token_secret", label="Token secret", help="Token-based.", secret=True),
    Setting(
        name="hook_secret", label="Hook secret", help="Shared with a SuiteScript that reports changes.", secret=True
    ),
    Setting(
        name="batch_size",
        label="Records in one call",
        help="1 books synchronously, one by one; 2 to 100 book by asynchronous batch.",
        default=1,
        least=1,
        most=100,
    ),
    Setting(
        name="concurrency",
        label="Calls at once",
        help="Leave one of the account's calls to others.",
        default=4,
        least=1,
        most=100,
    ),
    Setting(
        name="async_deadline",
        label="Wait for a batch",
        help="Seconds; what is not done by then is in doubt.",
        default=60,
        least=1,
        most=3600,
    ),
    Setting(name="expenses", label="Expense reports", help="Whether the account has the feature.", default=True),
    Setting(name="service_item", label="Service item", help="Item id for time whose posting names none."),
    Setting(
        name="expense_category", label="Expense category", help="Category id for expenses whose posting names none."
    ),
    Setting(
        name="currencies", label="Currencies", help='NetSuite currency ids by ISO code, as {"EUR": "4"}.', default={}
    ),
    Setting(name="time_defaults", label="More time bill fields", help="JSON laid under every time bill.", default={}),
    Setting(
        name="expense_defaults", label="More expense report fields", help="JSON laid under every report.", default={}
    ),
    Setting(
        name="expense_line_defaults", label="More expense line fields", help="JSON laid under every line.", default={}
    ),
    Setting(
        name="project_statuses",
        label="Project statuses",
        help='Our status by the account\'s text, as {"Delivering": "open"}.',
        default={},
        replaces=("PROJECT_STATUSES",),
    ),
    Setting(
        name="billing_types",
        label="Billing types",
        help='Our billing model by the account\'s text, as {"T&M": "time_and_material"}.',
        default={},
        replaces=("BILLING_TYPES",),
    ),
    Setting(
        name="bill_statuses",
        label="Statuses of bills",
        help='Our status by the account\'s text, as {"Offen": "open"}; draft, open, paid or voided.',
        default={},
        replaces=("BILL_STATUSES",),
    ),
    Setting(
        name="payment_statuses",
        label="Statuses of payments",
        help='Our status by the account\'s text, as {"Storniert": "voided"}; received, bounced or voided.',
        default={},
        replaces=("PAYMENT_STATUSES",),
    ),
    Setting(
        name="posting_column",
        label="Line field that names a posting",
        help="A field of item lines that holds our key or the id of the time bill, e.g. custcol_tieout_posting.",
    ),
    Setting(name="invoice_item", label="Invoice item", help="Item id of drafted invoice lines; else the service item."),
    Setting(
        name="invoice_defaults",
        label="More invoice fields",
        help="JSON laid under every drafted invoice.",
        default={},
        replaces=("PENDING_APPROVAL",),
    ),
    Setting(
        name="invoice_line_defaults",
        label="More invoice line fields",
        help="JSON laid under every drafted line.",
        default={},
    ),
    account.memo_limit(assumptions.MEMO_LIMIT),
    Setting(
        name="expense_memo_limit",
        label="Longest text of expenses",
        help="Characters of an expense's memo that are sent.",
        default=assumptions.EXPENSE_MEMO_LIMIT,
        least=1,
        most=4000,
        replaces=("EXPENSE_MEMO_LIMIT",),
    ),
    account.overlap_minutes(assumptions.OVERLAP_MINUTES),
    account.upstream_timeout(assumptions.UPSTREAM_TIMEOUT),
    Setting(name="page_size", label="Rows in a page", help="At most 1000.", default=1000, least=1, most=1000),
    Setting(
        name="refusals",
        label="Refusals",
        help='The account\'s own refusals, as [{"match": "budget is frozen", "means": "project-inactive"}].',
        default=[],
    ),
)
