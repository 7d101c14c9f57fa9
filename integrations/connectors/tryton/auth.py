"""How a call proves who makes it: a session, had once by password for all workers of this process.

Tryton ends a session after its `max_age`, or when the user signs out everywhere; it then answers 401 and has done nothing, so a
new session is had and the call is made once more. Wrong passwords are counted: after five, a login is told to wait.
"""

from __future__ import annotations

import base64
from typing import Any

from integrations.connectors.tryton.settings import SETTINGS
from integrations.errors import Rejected, Unauthorised
from integrations.http import Http, Outgoing, TokenCache
from integrations.protocol import Account

LIFETIME = 24 * 3600.0  # seconds; well within Tryton's thirty days
_sessions = TokenCache()


class Session:
    """Signs requests with a session of the account's user."""

    def __init__(self, account: Account, http: Http) -> None:
        self._account = account
        self._http = http

    @classmethod
    def sign_in(cls, account: Account, http: Http) -> None:
        """Let `http` sign its calls with such a session."""
        session = cls(account, http)
        http.auth, http.renew = session, session.renew

    def __call__(self, request: Outgoing) -> None:
        """Put the session on a request."""
        key = _sessions.get(self._http.identity, self._obtain)
        self._http.conceal(key)
        request.headers["Authorization"] = f"Session {key}"

    def renew(self) -> bool:
        """Drop a session that was refused; the next request asks for another."""
        _sessions.drop(self._http.identity)
        return True

    def _obtain(self) -> tuple[str, float]:
        login, password = str(self._account.setting("user", SETTINGS) or ""), self._account.secrets.get("password", "")
        if not login or not password:
            raise Unauthorised(f"Connection {self._account.code} has no user and password for Tryton.")
        body = {"id": 1, "method": "common.db.login", "params": [login, {"password": password}, "en"]}
        path = f"/{self._account.setting('database', SETTINGS)}/rpc/"
        try:
            told = self._http.request("POST", path, json=body, writes=False, auth=False, secret=_token).body
        except Rejected as refused:
            raise Unauthorised(f"Tryton gave us no session: {refused.detail}", status=refused.status) from None
        token = _token(told)
        if not token:
            raise Unauthorised(
                "Tryton asks for more than a password to sign in; give the technical user a password only."
            )
        written = f"{login}:{told['result'][0]}:{token}"
        return base64.b64encode(written.encode()).decode(), LIFETIME


def _token(told: Any) -> str:
    """The session key in the answer to a login; empty where there is none."""
    result = told.get("result") if isinstance(told, dict) else None
    good = isinstance(result, list) and len(result) >= 2 and isinstance(result[1], str)
    return str(result[1]) if good and result is not None else ""
