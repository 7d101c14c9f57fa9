"""How a call proves who makes it: an Entra token by client credentials; and a webhook, by the state that we chose for it.

Microsoft: automation APIs using service-to-service authentication. The token is asked for at Entra, at another address than the
API's, and ends within the hour.
"""

from __future__ import annotations

from collections.abc import Mapping

from integrations.connectors.businesscentral.settings import SETTINGS
from integrations.errors import Unauthorised
from integrations.http import Bearer, Http, check_shared_secret
from integrations.protocol import Account

LOGIN_HOSTS = ("login.microsoftonline.com",)
SCOPE = "https://api.businesscentral.dynamics.com/.default"
STATE_SECRETS = "client_state"


def sign_in(account: Account, http: Http) -> None:
    """Let `http` sign its calls with a token of the account's Entra application."""
    login = http.at(str(account.setting("login_url", SETTINGS)), LOGIN_HOSTS)

    def form() -> Mapping[str, str]:
        given = {
            "client_id": str(account.settings.get("client_id") or ""),
            "client_secret": account.secrets.get("client_secret", ""),
        }
        missing = next((name for name, value in given.items() if not value), "")
        if missing:
            raise Unauthorised(f"Connection {account.code} has no {missing} for Entra.")
        return {"grant_type": "client_credentials", "scope": SCOPE, **given}

    tenant = str(account.settings.get("tenant") or "")
    Bearer.sign_in(http, "Entra", f"/{tenant}/oauth2/v2.0/token", form, at=login)


def check_state(account: Account, state: object) -> None:
    """Compare a notification's state with every active one; raises Unauthorised."""
    check_shared_secret(account, {"clientState": str(state or "")}, "clientState", STATE_SECRETS)
