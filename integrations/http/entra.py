"""Microsoft's sign-in, which its products share: a token by client credentials, had at Entra for the product's own address.

Microsoft: OAuth 2.0 client credentials flow. The token is asked for at another address than the API's, and ends within the hour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from integrations.account import Account, Setting
from integrations.errors import Unauthorised
from integrations.http.bearer import Bearer
from integrations.http.client import Http

HOSTS = ("login.microsoftonline.com",)
SETTINGS = (
    Setting(name="tenant", label="Entra tenant", help="Id or domain of the tenant.", required=True),
    Setting(name="client_id", label="Client id", help="Of the Entra application.", required=True),
    Setting(name="client_secret", label="Client secret", secret=True, required=True),
    Setting(name="login_url", label="Address of Entra", default="https://login.microsoftonline.com"),
)


def sign_in(account: Account, http: Http, resource: str, declared: Sequence[Setting] = SETTINGS) -> None:
    """Let `http` sign its calls with a token of the account's Entra application, good for `resource` (no slash at its end)."""
    login = http.at(str(account.setting("login_url", declared)), HOSTS)

    def form() -> Mapping[str, str]:
        given = {
            "client_id": str(account.settings.get("client_id") or ""),
            "client_secret": account.secrets.get("client_secret", ""),
        }
        missing = next((name for name, value in given.items() if not value), "")
        if missing:
            raise Unauthorised(f"Connection {account.code} has no {missing} for Entra.")
        return {"grant_type": "client_credentials", "scope": f"{resource}/.default", **given}

    tenant = str(account.settings.get("tenant") or "")
    Bearer.sign_in(http, "Entra", f"/{tenant}/oauth2/v2.0/token", form, at=login)
