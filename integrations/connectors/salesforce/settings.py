"""What a Salesforce connection is told: how to sign in, and which object and fields are a project."""

from __future__ import annotations

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
    Setting(name="private_key", label="Private key", secret=True, help="PEM, RSA, without a password; for JWT."),
    Setting(name="username", label="User name", help="Of the user whom a JWT stands for."),
    Setting(
        name="audience",
        label="Audience of the JWT",
        default="https://login.salesforce.com",
        choices=("https://login.salesforce.com", "https://test.salesforce.com"),
    ),
    Setting(name="api_version", label="API version", default=assumptions.API_VERSION),
    Setting(
        name="multi_currency", label="Several currencies", help="Whether records have CurrencyIsoCode.", default=False
    ),
    Setting(name="currency", label="Currency of the org", help="ISO 4217, where it has one only."),
    Setting(name="account_number", label="Field with a customer's code", help="Such as AccountNumber; empty: the id."),
    Setting(name="project_object", label="Object that is a project", default="Opportunity"),
    Setting(
        name="project_fields",
        label="Fields of that object",
        help="Our word to its field: code, name, customer, manager, status, starts_on, ends_on, won.",
        default=assumptions.OPPORTUNITY,
    ),
    Setting(
        name="project_statuses",
        label="Project statuses",
        help='Our status by the org\'s, as {"Live": "open"}.',
        default={},
    ),
    Setting(
        name="refusals",
        label="Refusals",
        help='The org\'s own refusals, as [{"match": "frozen", "means": "unavailable"}].',
        default=[],
    ),
)
