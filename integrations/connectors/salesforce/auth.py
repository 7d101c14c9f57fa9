"""How a call proves who makes it: a token for client credentials, or for a JWT that our key signed. Asked for on My Domain.

Salesforce's answer names no end of a token; it is asked for anew every hour, and once when a call is answered 401.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from integrations.connectors.salesforce.settings import SETTINGS
from integrations.errors import Unauthorised
from integrations.http import Bearer, Http
from integrations.protocol import Account

TOKEN_PATH = "/services/oauth2/token"  # noqa: S105 - a path
_JWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_JWT_SECONDS = 180


def sign_in(account: Account, http: Http) -> None:
    """Let `http` sign its calls the way the account's setting `auth` says."""

    def form() -> Mapping[str, str]:
        if account.setting("auth", SETTINGS) == "jwt":
            return {"grant_type": _JWT, "assertion": _assertion(account, http.ahead)}
        secret = account.secrets.get("client_secret", "")
        if not secret:
            raise Unauthorised(f"Connection {account.code} has no client_secret for Salesforce.")
        client = str(account.settings.get("client_id") or "")
        return {"grant_type": "client_credentials", "client_id": client, "client_secret": secret}

    Bearer.sign_in(http, "Salesforce", TOKEN_PATH, form)


def _assertion(account: Account, ahead: float) -> str:
    """What our key signs. It ends by Salesforce's clock, which is so many seconds ahead of ours."""
    claims = {
        "iss": str(account.settings.get("client_id") or ""),
        "sub": str(account.settings.get("username") or ""),
        "aud": str(account.setting("audience", SETTINGS)),
        "exp": int(time.time() + ahead) + _JWT_SECONDS,
    }
    try:
        pem = account.secrets.get("private_key", "").replace("\\n", "\n")  # as environment variables carry it
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Unauthorised("The secret private_key is not a PEM private key without a password.") from None
    if not isinstance(key, RSAPrivateKey):
        raise Unauthorised("The secret private_key must be an RSA key; Salesforce takes RS256.")
    return jwt.encode(claims, key, algorithm="RS256")
