"""Facts: everything a batch needs to know to be validated, loaded once for all its entries."""

from reconciliation.facts.calendar import place, takes_postings
from reconciliation.facts.load import SENT, drafts_of, give_routes, load, load_prices, name, standing_entry
from reconciliation.facts.records import Draft, Standing, normal
from reconciliation.facts.tables import Facts

__all__ = [
    "SENT",
    "Draft",
    "Facts",
    "Standing",
    "drafts_of",
    "give_routes",
    "load",
    "load_prices",
    "name",
    "normal",
    "place",
    "standing_entry",
    "takes_postings",
]
