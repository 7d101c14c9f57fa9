"""What every part of the read API shares: who asks, in which pages, from which rows."""

from portal.api.base import Endpoint, Pages, TokenAuthentication

__all__ = ["Endpoint", "Pages", "TokenAuthentication"]
