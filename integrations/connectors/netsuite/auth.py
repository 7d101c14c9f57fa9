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

from integrations.errors import Rejected, Unauthorised
from integrations.http import Http, Outgoing, TokenCache
from integrations.protocol import Account

TOKEN_PATH = "/services/rest/auth/oauth2/v1/token"  # noqa: S105 - a path
SCOPE = "rest_webservices"
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_SECONDS = 300  # the vendor takes up to an hour
_CURVES = {256: "ES256", 384: "ES384", 521: "ES512"}

_tokens = TokenCache()


def sign_in(account: Account, http: Http) -> None:
    """Let `http` sign its calls the way the account's setting `auth` says."""
    if account.settings.get("auth", "oauth2") == "tba":
        http.auth = TokenBased(account)
        return
    bearer = Bearer(account, http)
    http.auth, http.renew = bearer, bearer.renew


class Bearer:
    """OAuth 2.0: an access token good for an hour, had for an assertion signed with the account's key."""

    def __init__(self, account: Account, http: Http) -> None:
        self._account = account
        self._http = http

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
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": _ASSERTION_TYPE,
            "client_assertion": self._assertion(),
        }
        try:
            answer = self._http.request("POST", TOKEN_PATH, data=form, writes=False, auth=False)
        except Rejected as refused:
            raise Unauthorised(f"NetSuite refused our assertion: {refused.detail}", status=refused.status) from None
        body = answer.body if isinstance(answer.body, dict) else {}
        token, seconds = body.get("access_token"), body.get("expires_in", 3600)
        if not isinstance(token, str) or not token:
            raise Unauthorised("NetSuite's token answer holds no access_token.", status=answer.status)
        return token, float(seconds)

    def _assertion(self) -> str:
        settings = self._account.settings
        key, algorithm = self._key()
        now = int(time.time())
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
    """OAuth 1.0a: every request signed with the consumer's and the token's secret; query parameters are signed as well."""

    def __init__(self, account: Account) -> None:
        settings, secrets = account.settings, account.secrets
        self._client = oauth1.Client(
            client_key=settings.get("consumer_key", ""),
            client_secret=secrets.get("consumer_secret", ""),
            resource_owner_key=settings.get("token_id", ""),
            resource_owner_secret=secrets.get("token_secret", ""),
            signature_method=oauth1.SIGNATURE_HMAC_SHA256,
            realm=account.realm.upper().replace("-", "_"),
        )

    def __call__(self, request: Outgoing) -> None:
        """Sign a request."""
        _, headers, _ = self._client.sign(request.url, http_method=request.method)
        request.headers["Authorization"] = headers["Authorization"]
