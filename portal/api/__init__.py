"""What every part of the API shares: who asks, in which pages, from which rows, and how a decision is taken once."""

from portal.api.acting import Acting, described
from portal.api.base import Endpoint, Pages, TokenAuthentication

__all__ = ["Acting", "Endpoint", "Pages", "TokenAuthentication", "described"]
