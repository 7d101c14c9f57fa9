"""What a Tryton connection is told: which database and user, and the firm's own words."""

from __future__ import annotations

from integrations import account
from integrations.connectors.tryton import assumptions
from integrations.protocol import Setting

SETTINGS = (
    Setting(name="database", label="Database", help="The name of the database on the server.", required=True),
    Setting(name="user", label="User", help="Login of a technical user of that company.", required=True),
    Setting(name="password", label="Password", secret=True, required=True),
    Setting(
        name="batch_size",
        label="Lines in one call",
        help="They are written wholly or not at all.",
        default=100,
        least=1,
        most=1000,
    ),
    Setting(
        name="accepts_unbillable",
        label="Accept hours that are not billable",
        help="Refused as usual, because Tryton invoices each line of a work at its list price. Yes, where the works never are.",
        default=False,
    ),
    account.memo_limit(assumptions.MEMO_LIMIT),
    account.overlap_minutes(assumptions.OVERLAP_MINUTES),
    account.upstream_timeout(assumptions.UPSTREAM_TIMEOUT),
    Setting(name="page_size", label="Rows in a page", default=200, least=1, most=1000),
    Setting(
        name="customers",
        label="Which parties are customers",
        help='As a domain of Tryton, such as [["categories.name", "=", "Customer"]]. Employees and the company never are.',
        default=[],
    ),
    Setting(
        name="project_statuses",
        label="Statuses of projects",
        help='In our words, as {"On hold": "on_hold"}. One with a progress of 100 % is closed, every other one open.',
        default={},
    ),
    Setting(
        name="refusals",
        label="Refusals",
        help='The firm\'s own refusals, as [{"match": "budget is frozen", "means": "project-inactive"}].',
        default=[],
    ),
)
