"""Master data: the firm's own record of entities, customers, contracts, projects, people and rates, whatever the vendor.

The rule here: what depends on a day carries a closed range of days (`valid_from` to `valid_to`, empty for no end), and two
ranges of the same thing never overlap; the database refuses it. Every change leaves history with a reason.
"""

from __future__ import annotations

from portal.models.master_data.customers import (
    BillingModel,
    Contract,
    Customer,
    Invoiced,
    InvoiceSchedule,
    PurchaseOrder,
    invoice_day_fits,
)
from portal.models.master_data.entities import AccountingPeriod, CostCentre, LegalEntity
from portal.models.master_data.names import Alias, Crosswalk
from portal.models.master_data.people import Engagement, Resource, Role
from portal.models.master_data.projects import ApprovalStep, Milestone, Project, ProjectStatus, Task
from portal.models.master_data.ranges import during, history_of, same, same_text
from portal.models.master_data.rates import IntercompanyRelation, Rate, RateCard

__all__ = [
    "AccountingPeriod",
    "Alias",
    "ApprovalStep",
    "BillingModel",
    "Contract",
    "CostCentre",
    "Crosswalk",
    "Customer",
    "Engagement",
    "IntercompanyRelation",
    "InvoiceSchedule",
    "Invoiced",
    "LegalEntity",
    "Milestone",
    "Project",
    "ProjectStatus",
    "PurchaseOrder",
    "Rate",
    "RateCard",
    "Resource",
    "Role",
    "Task",
    "during",
    "history_of",
    "invoice_day_fits",
    "same",
    "same_text",
]
