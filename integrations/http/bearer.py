"""A bearer token that ends: had once for all workers of this process, and had again when the vendor no longer takes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from integrations.errors import Rejected, Unauthorised
from integrations.http.client import Http, TokenCache
from integrations.http.outcomes import Response
from integrations.http.transport import Outgoing

CLOCKS_DIFFER = (
    60.0  # seconds between the vendor's clock and what we took for it, from which a sign-in is tried once more
)
_tokens = TokenCache()


class Bearer:
    """Signs requests with an access token. `vendor` is named in sentences, `ask` asks for a token at `http`.

    `ask` returns the form that is posted to `path`; it is called for every token, so that what it signs is fresh.
    """

    def __init__(
        self, http: Http, vendor: str, path: str, ask: Callable[[], Mapping[str, str]], at: Http | None = None
    ):
        self._http = http
        self._vendor = vendor
        self._path = path
        self._ask = ask
        self._at = at or http

    @classmethod
    def sign_in(
        cls, http: Http, vendor: str, path: str, ask: Callable[[], Mapping[str, str]], at: Http | None = None
    ) -> None:
        """Let `http` sign its calls with such a token; `at` is where it is asked for, when that is another address."""
        bearer = cls(http, vendor, path, ask, at)
        http.auth, http.renew = bearer, bearer.renew

    def __call__(self, request: Outgoing) -> None:
        """Put the account's token on a request."""
        token = _tokens.get(self._http.identity, self._obtain)
        self._http.conceal(token)
        request.headers["Authorization"] = f"Bearer {token}"

    def renew(self) -> bool:
        """Drop a token that was refused; the next request asks for another."""
        _tokens.drop(self._http.identity)
        return True

    def _obtain(self) -> tuple[str, float]:
        before = self._at.ahead
        try:
            answer = self._token()
        except Rejected as refused:
            if abs(self._at.ahead - before) < CLOCKS_DIFFER:
                raise self._refused(refused) from None
            try:  # what was asked may have been dated by our clock, and the refusal tells the vendor's
                answer = self._token()
            except Rejected as again:
                raise self._refused(again) from None
        body = answer.body if isinstance(answer.body, dict) else {}
        token, seconds = body.get("access_token"), body.get("expires_in", 3600)
        if not isinstance(token, str) or not token:
            raise Unauthorised(f"{self._vendor}'s token answer holds no access_token.", status=answer.status)
        return token, float(seconds)

    def _token(self) -> Response:
        return self._at.request("POST", self._path, data=self._ask(), writes=False, auth=False)

    def _refused(self, refused: Rejected) -> Unauthorised:
        return Unauthorised(f"{self._vendor} gave us no token: {refused.detail}", status=refused.status)
