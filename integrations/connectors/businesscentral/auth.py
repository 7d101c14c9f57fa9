"""What proves a webhook of Business Central: the state that we chose for it."""

from __future__ import annotations

from integrations.http import check_shared_secret
from integrations.protocol import Account

RESOURCE = "https://api.businesscentral.dynamics.com"  # for which Entra's tokens are asked
STATE_SECRETS = "client_state"


def check_state(account: Account, state: object) -> None:
    """Compare a notification's state with every active one; raises Unauthorised."""
    check_shared_secret(account, {"clientState": str(state or "")}, "clientState", STATE_SECRETS)
