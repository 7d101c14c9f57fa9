"""What a connection to Project Operations is told: how to sign in, and how entries are written there."""

from __future__ import annotations

from integrations import account
from integrations.connectors.projectoperations import assumptions
from integrations.http import entra
from integrations.protocol import Setting

SETTINGS = (
    *entra.SETTINGS,
    Setting(
        name="written_as",
        label="Status in which entries are written",
        help="Draft, where a flow of yours submits them.",
        default=assumptions.WRITTEN_AS,
        choices=("draft", "submitted"),
        replaces=("WRITTEN_AS",),
    ),
    Setting(
        name="booked_when",
        label="When an entry counts as booked",
        help="When its actual is there, or when that is journalized in Finance.",
        default="actual",
        choices=("actual", "journalized"),
    ),
    Setting(
        name="books_within_hours",
        label="Hours until it is booked",
        help="How long approval and actuals take; later it is a cause on the queue.",
        default=assumptions.BOOKS_WITHIN_HOURS,
        least=1,
        most=720,
        replaces=("BOOKS_WITHIN_HOURS",),
    ),
    Setting(name="expenses", label="Expenses", help="Whether expenses are written.", default=True),
    Setting(name="role", label="Role", help="GUID of the role of hours whose posting names none."),
    Setting(name="expense_category", label="Expense category", help="GUID, of expenses whose posting names none."),
    Setting(
        name="currencies",
        label="Currencies",
        help='GUIDs of the currencies of expenses, as {"USD": "…"}.',
        default={},
    ),
    Setting(
        name="batch_size",
        label="Entries in one call",
        help="At most 1000.",
        default=assumptions.BATCH,
        least=1,
        most=1000,
        replaces=("BATCH",),
    ),
    Setting(name="concurrency", label="Calls at once", help="At most 50.", default=4, least=1, most=50),
    account.memo_limit(assumptions.MEMO_LIMIT),
    account.overlap_minutes(assumptions.OVERLAP_MINUTES),
    account.upstream_timeout(assumptions.UPSTREAM_TIMEOUT),
    Setting(name="page_size", label="Rows in a page", help="At most 5000.", default=1000, least=1, most=5000),
    Setting(
        name="refusals",
        label="Refusals",
        help='The environment\'s own refusals, as [{"match": "budget is frozen", "means": "project-inactive"}].',
        default=[],
    ),
)
