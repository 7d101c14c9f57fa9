"""How a call proves who makes it: OAuth 2.0 with a signed assertion (the default), or token-based OAuth 1.0a.

Oracle: OAuth 2.0 client credentials flow (section 162755359851); token-based authentication (section 157652390285), where
only HMAC-SHA256 is left and the realm is the account id in capitals.
"""

from __future__ import annotations

import time

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from oauthlib import oauth1

from integrations.errors import Unauthorised
from integrations.http import CLOCKS_DIFFER, Bearer, Http, Outgoing
from integrations.protocol import Account

TOKEN_PATH = "/services/rest/auth/oauth2/v1/token"  # noqa: S105 - a path
SCOPE = "rest_webservices"
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_SECONDS = 300  # the vendor takes up to an hour
_CURVES = {256: "ES256", 384: "ES384", 521: "ES512"}


def sign_in(account: Account, http: Http) -> None:
    """Let `http` sign its calls the way the account's setting `auth` says."""
    if account.settings.get("auth", "oauth2") == "tba":
        signed = TokenBased(account, http)
        http.auth, http.renew = signed, signed.clock_was_wrong
        return
    Bearer.sign_in(http, "NetSuite", TOKEN_PATH, Assertion(account, http).form)


class Assertion:
    """OAuth 2.0: what an access token is asked for with, signed with the account's key. A token is good for an hour."""

    def __init__(self, account: Account, http: Http) -> None:
        self._account = account
        self._http = http

    def form(self) -> dict[str, str]:
        """The form that asks for a token."""
        return {
            "grant_type": "client_credentials",
            "client_assertion_type": _ASSERTION_TYPE,
            "client_assertion": self._assertion(),
        }

    def _assertion(self) -> str:
        settings = self._account.settings
        key, algorithm = self._key()
        now = int(time.time() + self._http.ahead)  # by NetSuite's clock
        claims = {
            "iss": settings.get("client_id", ""),
            "scope": [SCOPE],
            "aud": self._http.base_url + TOKEN_PATH,
            "iat": now,
            "exp": now + _ASSERTION_SECONDS,
        }
        return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": settings.get("certificate_id", "")})

    def _key(self) -> tuple[RSAPrivateKey | EllipticCurvePrivateKey, str]:
        """The private key and the algorithm that goes with it; RS256 is not among those that NetSuite takes."""
        try:
            pem = self._account.secrets.get("private_key", "").replace("\\n", "\n")  # as environment variables carry it
            key = load_pem_private_key(pem.encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise Unauthorised("The secret private_key is not a PEM private key without a password.") from None
        if isinstance(key, RSAPrivateKey):
            return key, "PS256"
        if isinstance(key, EllipticCurvePrivateKey) and key.curve.key_size in _CURVES:
            return key, _CURVES[key.curve.key_size]
        raise Unauthorised("The secret private_key must be an RSA key, or an EC key on P-256, P-384 or P-521.")


class TokenBased:
    """OAuth 1.0a: every request signed with the consumer's and the token's secret; query parameters are signed as well.

    A signature is dated, and NetSuite takes none that is more than some minutes from its own clock: it is dated by that clock,
    as the last answer told it. Where an answer tells that we took it for another one, a refused call is signed once more.
    """

    def __init__(self, account: Account, http: Http) -> None:
        self._account = account
        self._http = http
        self._dated_by = http.ahead

    def __call__(self, request: Outgoing) -> None:
        """Sign a request."""
        settings, secrets = self._account.settings, self._account.secrets
        self._dated_by = self._http.ahead
        client = oauth1.Client(
            client_key=settings.get("consumer_key", ""),
            client_secret=secrets.get("consumer_secret", ""),
            resource_owner_key=settings.get("token_id", ""),
            resource_owner_secret=secrets.get("token_secret", ""),
            signature_method=oauth1.SIGNATURE_HMAC_SHA256,
            realm=self._account.realm.upper().replace("-", "_"),
            timestamp=str(int(time.time() + self._dated_by)),
        )
        _, headers, _ = client.sign(request.url, http_method=request.method)
        request.headers["Authorization"] = headers["Authorization"]

    def clock_was_wrong(self) -> bool:
        """Whether a refusal told another clock than the one by which the refused call was dated."""
        return abs(self._http.ahead - self._dated_by) >= CLOCKS_DIFFER
