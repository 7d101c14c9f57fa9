"""Who is calling. Credentials are registered through the control plane; a call without good ones is answered 401.

OAuth 2.0: a client assertion signed by a registered key is exchanged for a token good for an hour. Token-based: OAuth 1.0a
with HMAC-SHA256, verified here from the standard (RFC 5849) and not with the library that the caller may use.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import jwt

from integrations.sandbox.netsuite.errors import standard
from integrations.sandbox.store import Store
from integrations.sandbox.vendor import Request, Response

TOKEN_PATH = "/services/rest/auth/oauth2/v1/token"  # noqa: S105 - a path
ALGORITHMS = ["PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_CLOCK_SECONDS = 300
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


class Authority:
    """The credentials and tokens of this account, judged by its own clock."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._now = now
        self._certificates = store.collection("certificates")
        self._consumers = store.collection("token_credentials")
        self._tokens = store.collection("access_tokens")
        self._nonces: set[str] = set()
        self.token_seconds = 3600

    def register(self, data: Mapping[str, Any]) -> None:
        """Take `certificates` (id, client_id, public_key) and `token_credentials` (the four parts and the realm)."""
        for item in data.get("certificates", ()):
            self._certificates[item["id"]] = dict(item)
        for item in data.get("token_credentials", ()):
            self._consumers[f"{item['consumer_key']}/{item['token_id']}"] = dict(item)

    def forget_tokens(self) -> None:
        """Every access token that was given out is worth nothing any more."""
        self._tokens.clear()

    def issue(self, request: Request) -> Response:
        """Exchange a client assertion for an access token."""
        form = dict(parse_qsl(request.body.decode()))
        if form.get("grant_type") != "client_credentials" or form.get("client_assertion_type") != _ASSERTION_TYPE:
            return Response(400, {"error": "unsupported_grant_type"})
        assertion = form.get("client_assertion", "")
        try:
            header = jwt.get_unverified_header(assertion)
            certificate = self._certificates[header["kid"]]
            claims = jwt.decode(
                assertion,
                certificate["public_key"],
                algorithms=ALGORITHMS,
                audience=request.url,
                issuer=certificate["client_id"],
                options={"require": ["iss", "scope", "aud", "iat", "exp"], "verify_exp": False, "verify_iat": False},
            )
        except (jwt.PyJWTError, KeyError, ValueError):
            return Response(400, {"error": "invalid_grant"})
        scope = claims["scope"] if isinstance(claims["scope"], list) else str(claims["scope"]).split()
        now = self._now().timestamp()
        is_dated = claims["iat"] <= now + _CLOCK_SECONDS and now < claims["exp"] <= claims["iat"] + 3600
        if "rest_webservices" not in scope or not is_dated:
            return Response(400, {"error": "invalid_grant"})
        token = secrets.token_urlsafe(48)
        self._tokens[token] = {"until": now + self.token_seconds}
        return Response(200, {"access_token": token, "expires_in": self.token_seconds, "token_type": "Bearer"})

    def refusal(self, request: Request) -> Response | None:
        """None for a call with good credentials, else the vendor's 401."""
        kind, _, rest = request.headers.get("Authorization", "").partition(" ")
        if kind == "Bearer":
            token = self._tokens.get(rest)
            return None if token and token["until"] > self._now().timestamp() else standard(401)
        if kind == "OAuth":
            return None if self._signed(request, rest) else standard(401)
        return standard(401)

    def _signed(self, request: Request, header: str) -> bool:
        given = {name: unquote(value) for name, value in _PARAMETER.findall(header)}
        consumer = self._consumers.get(f"{given.get('oauth_consumer_key')}/{given.get('oauth_token')}")
        if consumer is None or given.get("realm") != consumer["realm"]:
            return False
        if given.get("oauth_signature_method") != "HMAC-SHA256" or given.get("oauth_nonce", "") in self._nonces:
            return False
        if abs(self._now().timestamp() - int(given.get("oauth_timestamp") or 0)) > _CLOCK_SECONDS:
            return False
        expected = signature(request.method, request.url, given, consumer["consumer_secret"], consumer["token_secret"])
        if not hmac.compare_digest(expected, given.get("oauth_signature", "")):
            return False
        self._nonces.add(given["oauth_nonce"])
        return True


def signature(method: str, url: str, given: Mapping[str, str], consumer_secret: str, token_secret: str) -> str:
    """The HMAC-SHA256 signature of RFC 5849, section 3.4, over the method, the address and every parameter but the realm."""
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    pairs += [(k, v) for k, v in given.items() if k not in ("realm", "oauth_signature")]
    encoded = sorted((quote(k, safe="~"), quote(v, safe="~")) for k, v in pairs)
    joined = "&".join(f"{k}={v}" for k, v in encoded)
    address = f"{parts.scheme.lower()}://{(parts.netloc).lower()}{parts.path}"
    base = "&".join(quote(part, safe="~") for part in (method.upper(), address, joined))
    key = f"{quote(consumer_secret, safe='~')}&{quote(token_secret, safe='~')}"
    return base64.b64encode(hmac.new(key.encode(), base.encode(), hashlib.sha256).digest()).decode()
