"""The only way out of the house: every call to a vendor goes through `Http`, and only here is `requests` imported.

The rule that holds: which HTTP outcome is which error is decided once, in `outcomes.py`, and named by what we do next.
Addresses are checked before and after connecting (`addresses.py`, `transport.py`), calls are paced per account
(`pacing.py`), and what went over the wire can be kept as evidence without its secrets (`recording.py`).
"""

from integrations.http.addresses import ForbiddenAddress
from integrations.http.client import Auth, Http, TokenCache
from integrations.http.outcomes import Response
from integrations.http.pacing import Rate
from integrations.http.recording import Exchange, recording
from integrations.http.transport import Outgoing

__all__ = ["Auth", "Exchange", "ForbiddenAddress", "Http", "Outgoing", "Rate", "Response", "TokenCache", "recording"]
