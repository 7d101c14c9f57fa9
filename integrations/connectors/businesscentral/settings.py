"""What a Business Central connection is told: how to sign in, which journal is ours, and the environment's own words."""

from __future__ import annotations

from integrations import account
from integrations.connectors.businesscentral import assumptions
from integrations.http import entra
from integrations.protocol import Setting

SETTINGS = (
    *entra.SETTINGS,
    Setting(
        name="client_state",
        label="Client state of webhooks",
        secret=True,
        help="Chosen by you; Business Central sends it back with every notification.",
    ),
    Setting(
        name="currency", label="Currency of the company's books", help="ISO 4217.", required=True, shape="currency"
    ),
    Setting(
        name="custom_api",
        label="Custom API of the project journal",
        help="publisher/group/version of the page that is installed.",
        default=assumptions.CUSTOM_API,
        replaces=("CUSTOM_API",),
    ),
    Setting(
        name="fields",
        label="Fields of that page",
        help="Where the page names them otherwise.",
        default={},
        replaces=("FIELDS",),
        words=tuple(assumptions.FIELDS),
    ),
    Setting(
        name="journal",
        label="Project journal",
        help="Code of a journal that nobody else writes into.",
        default="TIEOUT",
    ),
    Setting(
        name="time_by",
        label="Where time goes",
        help="Time sheets need no page of an extension, and keep hours without rate or text; nothing is taken back there.",
        default=assumptions.JOURNAL,
        choices=(assumptions.JOURNAL, assumptions.SHEETS),
    ),
    Setting(
        name="accepts_unbillable",
        label="Accept hours that are not billable",
        help="For time sheets, which keep them like any other. Yes, where nobody bills by the time sheets.",
        default=False,
    ),
    Setting(
        name="hour_unit",
        label="Unit of hours",
        help="Code of the unit of measure that every resource knows. Journal lines name it; time sheets have to count in it.",
        default=assumptions.HOUR_UNIT,
        replaces=("HOUR_UNIT",),
    ),
    Setting(
        name="other_units",
        label="Hours of other units",
        help='Where entries of others count otherwise, as {"DAY": "8"}. In a unit that is not named nothing is taken for hours.',
        default={},
    ),
    Setting(name="batch_size", label="Lines in one journal", help="At most 100.", default=50, least=1, most=100),
    Setting(name="expenses", label="Expenses in the project journal", default=True),
    Setting(name="expense_account", label="Expense account", help="G/L account for expenses whose posting names none."),
    Setting(
        name="expense_type",
        label="Type of expense lines",
        help="As the page takes it: “G/L Account” where it wants it unescaped.",
        default=assumptions.EXPENSE_TYPE,
        replaces=("EXPENSE_TYPE",),
    ),
    Setting(
        name="cost_centre_dimension",
        label="Dimension of cost centres",
        help="Code, such as DEPARTMENT.",
        default="DEPARTMENT",
    ),
    Setting(
        name="invoice_account",
        label="Account of invoice lines",
        help="Number of the G/L account, item or resource of lines whose item is not mapped.",
    ),
    Setting(
        name="invoice_line_type",
        label="Type of invoice lines",
        default="Account",
        choices=("Account", "Item", "Resource"),
    ),
    Setting(
        name="project_dimension",
        label="Dimension of projects",
        help="Code of the dimension whose values are project numbers; empty: invoices name no project.",
    ),
    Setting(
        name="post_invoices",
        label="Post invoices",
        help="Post an approved invoice instead of leaving it as a draft.",
        default=False,
    ),
    Setting(
        name="bill_statuses",
        label="Statuses of invoices",
        help='Our status by Business Central\'s, as {"In Approval": "draft"}; draft, open, paid or voided.',
        default={},
        replaces=("BILL_STATUSES",),
    ),
    Setting(
        name="settled_by",
        label="What settles a bill",
        help='Our word by the type of a detailed ledger entry, as {"Payment Tolerance": "bank_fee"}; cash, discount, bank_fee, '
        "withholding, fx or write_off.",
        default={},
        replaces=("SETTLED_BY",),
    ),
    account.memo_limit(assumptions.MEMO_LIMIT),
    account.overlap_minutes(assumptions.OVERLAP_MINUTES),
    account.upstream_timeout(assumptions.UPSTREAM_TIMEOUT),
    Setting(name="page_size", label="Rows in a page", default=1000, least=1, most=20000),
    Setting(
        name="refusals",
        label="Refusals",
        help='The environment\'s own refusals, as [{"match": "budget is frozen", "means": "project-inactive"}].',
        default=[],
    ),
)
