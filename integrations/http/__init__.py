"""The only way out of the house: every call to a vendor goes through `Http`, and only here is `requests` imported.

The rule that holds: which HTTP outcome is which error is decided once, in `outcomes.py`, and named by what we do next.
Addresses are checked before and after connecting (`addresses.py`, `transport.py`), calls are paced per account
(`pacing.py`), what went over the wire can be kept as evidence without its secrets (`recording.py`), and what a vendor's
webhook must prove is compared in one place (`signatures.py`).
"""

from integrations.http.addresses import ForbiddenAddress
from integrations.http.bearer import CLOCKS_DIFFER, Bearer
from integrations.http.client import Auth, Http, TokenCache
from integrations.http.deadlines import within
from integrations.http.outcomes import Response, plain
from integrations.http.pacing import PUSH_SECONDS, Deadline, Rate
from integrations.http.recording import Exchange, recording
from integrations.http.signatures import check_shared_secret
from integrations.http.transport import Outgoing

__all__ = [
    "CLOCKS_DIFFER",
    "PUSH_SECONDS",
    "Auth",
    "Bearer",
    "Deadline",
    "Exchange",
    "ForbiddenAddress",
    "Http",
    "Outgoing",
    "Rate",
    "Response",
    "TokenCache",
    "check_shared_secret",
    "plain",
    "recording",
    "within",
]
