"""What a connection to Dynamics 365 Finance is told: how to sign in, which journal is ours, and the customer's own set-up."""

from __future__ import annotations

from integrations import account
from integrations.connectors.dynamicsfinance import assumptions
from integrations.http import entra
from integrations.protocol import Setting

SETTINGS = (
    *entra.SETTINGS,
    Setting(
        name="journal",
        label="Hour journal",
        help="Name of a project hour journal that is for Tieout alone.",
        default="TIEOUT",
    ),
    Setting(
        name="line_limit",
        label="Lines in one journal",
        help="Further ones go into the next.",
        default=assumptions.LINE_LIMIT,
        least=1,
        most=10000,
        replaces=("LINE_LIMIT",),
    ),
    Setting(
        name="batch_size",
        label="Lines in one call",
        help="At most 5000.",
        default=assumptions.BATCH,
        least=1,
        most=5000,
        replaces=("BATCH",),
    ),
    Setting(
        name="posts_within_hours",
        label="Hours until posting",
        help="How long journals and expense reports take to be posted; later it is a cause on the queue.",
        default=assumptions.BOOKS_WITHIN_HOURS,
        least=1,
        most=720,
        replaces=("BOOKS_WITHIN_HOURS",),
    ),
    Setting(name="category", label="Hour category", help="Of hours whose posting names none."),
    Setting(name="expense_category", label="Expense category", help="Of expenses whose posting names none."),
    Setting(name="expenses", label="Expenses", help="Whether expenses are written.", default=True),
    Setting(name="payment_method", label="Payment method of expenses"),
    Setting(
        name="revenue_account",
        label="Revenue account",
        help="Main account of lines of invoice drafts that name no billing code.",
    ),
    Setting(
        name="line_properties",
        label="Line properties",
        help='Their names, as {"billable": "Billable", "not_billable": "NonBill"}.',
        default=assumptions.LINE_PROPERTIES,
        replaces=("LINE_PROPERTIES",),
    ),
    Setting(
        name="dimension_format",
        label="Form of dimensions",
        help="How a cost centre is written among the default dimensions, as -{cost_centre}--. Without it none is sent.",
    ),
    Setting(
        name="key_fields",
        label="Fields of our key",
        help='Fields of their own for it, as {"time": "TieoutKey", "expense": "TieoutKey"}; else it begins a text.',
        default={},
        replaces=("KEY_FIELDS",),
    ),
    Setting(
        name="description_limit",
        label="Length of a line's description",
        default=assumptions.DESCRIPTION_LIMIT,
        least=1,
        most=1000,
        replaces=("DESCRIPTION_LIMIT",),
    ),
    Setting(name="read_actuals", label="Read posted project transactions", help="Those of others, too.", default=True),
    Setting(name="calendar", label="Fiscal calendar", help="Whose periods are read.", default="Fiscal"),
    Setting(name="cost_centre_dimension", label="Dimension of cost centres", default="CostCenter"),
    Setting(
        name="project_stages",
        label="Project stages",
        help='The customer\'s own in our words, as {"userdefined1": "on_hold"}.',
        default={},
        replaces=("PROJECT_STAGES",),
    ),
    Setting(
        name="bills_from", label="Bills from", help="First day of invoices and payments that are read, as 2026-01-01."
    ),
    account.upstream_timeout(assumptions.UPSTREAM_TIMEOUT),
    Setting(name="page_size", label="Rows in a page", help="At most 10000.", default=1000, least=1, most=10000),
    Setting(
        name="refusals",
        label="Refusals",
        help='The environment\'s own refusals, as [{"match": "budget is frozen", "means": "project-inactive"}].',
        default=[],
    ),
)
