"""The three headers that Harvest wants on every call: the token, the account, and who is calling."""

from __future__ import annotations

from integrations.errors import Unauthorised
from integrations.http import Outgoing
from integrations.protocol import Account


class HarvestAuth:
    """Signs requests with a personal access token. A call without a User-Agent is answered 400."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def __call__(self, request: Outgoing) -> None:
        """Add the headers; raises Unauthorised when the connection lacks its token or its account id."""
        token = self.account.secrets.get("token", "")
        account_id = str(self.account.settings.get("account_id") or self.account.realm)
        if not token or not account_id:
            missing = "its access token" if not token else "its account id"
            raise Unauthorised(f"Connection {self.account.code} has no Harvest {missing.removeprefix('its ')}.")
        contact = str(self.account.settings.get("contact") or "").strip()
        request.headers["Authorization"] = f"Bearer {token}"
        request.headers["Harvest-Account-Id"] = account_id
        request.headers["User-Agent"] = f"Tieout ({contact})" if contact else "Tieout"
