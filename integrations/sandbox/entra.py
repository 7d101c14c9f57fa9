"""Microsoft's sign-in, which its stand-ins share: tokens by client credentials for a product's address, good for a while."""

from __future__ import annotations

import secrets
import time
from typing import Any
from urllib.parse import parse_qsl

from integrations.sandbox.vendor import Request, Response

TOKEN_PATH = "/oauth2/v2.0/token"  # noqa: S105 - a path, below the tenant's


class Entra:
    """The applications of one tenant and the tokens that they hold.

    Settings: `secrets` (client id → secret), `token_seconds`, `forget_tokens`.
    """

    def __init__(self, client_id: str, client_secret: str) -> None:
        self._known = {client_id: client_secret}
        self._tokens: dict[str, float] = {}
        self.defaults()

    def defaults(self) -> None:
        """One application, and nobody is signed in."""
        self.secrets = dict(self._known)
        self.token_seconds = 3600.0
        self._tokens.clear()

    def configure(self, rest: dict[str, Any]) -> None:
        """Take the settings that are the sign-in's, and leave the others."""
        self.secrets = dict(rest.pop("secrets", self.secrets))
        self.token_seconds = float(rest.pop("token_seconds", self.token_seconds))
        if rest.pop("forget_tokens", False):
            self._tokens.clear()

    def token(self, request: Request) -> Response:
        """A token, for whoever knows the secret and asks for one address; one with a doubled slash is none."""
        form = dict(parse_qsl(request.body.decode()))
        scope = form.get("scope", "")
        good = (
            form.get("grant_type") == "client_credentials" and scope.endswith("/.default") and "//.default" not in scope
        )
        if not good or self.secrets.get(form.get("client_id", "")) != form.get("client_secret"):
            return Response(
                401, {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret."}
            )
        made = secrets.token_hex(24)
        self._tokens[made] = time.monotonic() + self.token_seconds
        return Response(body={"token_type": "Bearer", "expires_in": int(self.token_seconds), "access_token": made})

    def admits(self, request: Request) -> bool:
        """Whether a call bears a token that is still good, or is there to ask for one."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return asks(request) or (scheme == "Bearer" and self._tokens.get(token, 0.0) >= time.monotonic())


def asks(request: Request) -> bool:
    """Whether a call asks for a token."""
    return request.path.endswith(TOKEN_PATH)
