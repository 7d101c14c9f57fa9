"""Every table of master data, in the order in which one needs the other."""

from __future__ import annotations

from portal.importing.domains.currencies import EXCHANGE_RATES
from portal.importing.domains.customers import CONTRACTS, CUSTOMERS, PURCHASE_ORDERS
from portal.importing.domains.groups import COST_CENTRES, ENTITIES, INTERCOMPANY, PERIODS
from portal.importing.domains.mappings import ALIASES, CROSSWALKS
from portal.importing.domains.people import ENGAGEMENTS, RESOURCES, ROLES
from portal.importing.domains.projects import APPROVAL_STEPS, ASSIGNMENTS, MILESTONES, PROJECT_STATUSES, PROJECTS, TASKS
from portal.importing.domains.rates import RATE_CARDS, RATES
from portal.importing.tables import Table
from portal.models import Connection, User

TABLES = (
    ENTITIES,
    PERIODS,
    COST_CENTRES,
    CUSTOMERS,
    CONTRACTS,
    PURCHASE_ORDERS,
    ROLES,
    RESOURCES,
    ENGAGEMENTS,
    PROJECTS,
    PROJECT_STATUSES,
    APPROVAL_STEPS,
    ASSIGNMENTS,
    TASKS,
    MILESTONES,
    RATE_CARDS,
    RATES,
    EXCHANGE_RATES,
    INTERCOMPANY,
    CROSSWALKS,
    ALIASES,
)

# Pointed at, and set by other means
USERS = Table(name="users", noun="a user", model=User, key=("username",), lookup=("username",))
CONNECTIONS = Table(name="connections", noun="a connection", model=Connection)
KNOWN = (USERS, CONNECTIONS)

__all__ = ["CONNECTIONS", "ENTITIES", "KNOWN", "PERIODS", "TABLES", "USERS"]
