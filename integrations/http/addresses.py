"""Where we may connect to. A name is checked before it is looked up, and the peer's address after connecting.

The second check is what makes the first one proof against a name that changes its address in between: nothing is sent
to a peer that fails it. Loopback is for the sandbox and is allowed only where the caller says so.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from integrations.errors import Malformed, Unauthorised

_TRANSLATED = tuple(
    ipaddress.ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96")
)


class ForbiddenAddress(Unauthorised):
    """The connection points somewhere we do not go. Nothing was sent; an administrator has to mend its address."""


def check_url(url: str, *, hosts: Sequence[str], allow_loopback: bool) -> SplitResult:
    """Refuse a URL whose scheme, host, port or form is not ours to call; returns its parts.

    `hosts` are suffixes: `example.com` allows the host itself and everything under it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ForbiddenAddress(f"The address {url!r} cannot be read: {error}.") from None
    if parts.username is not None or parts.password is not None:
        raise ForbiddenAddress(f"The address of {host!r} carries a user name or password; keep credentials in secrets.")
    if not host or not host.isascii():
        raise ForbiddenAddress(f"The host {host!r} is not a plain ASCII host name; give its ASCII form.")
    if is_loopback_name(host):
        if not allow_loopback:
            raise ForbiddenAddress(f"The host {host!r} is this machine; allow loopback in the settings to use it.")
        if parts.scheme not in ("http", "https"):
            raise ForbiddenAddress(f"The scheme {parts.scheme!r} is not http or https.")
        return parts
    if parts.scheme != "https":
        raise ForbiddenAddress(f"The address of {host!r} uses {parts.scheme!r}; only https leaves this machine.")
    if port not in (None, 443):
        raise ForbiddenAddress(f"The address of {host!r} uses port {port}; only 443 is allowed.")
    if not is_among(host, hosts):
        raise ForbiddenAddress(
            f"The host {host!r} is not among this connector's hosts ({', '.join(hosts) or 'none'}); "
            "correct the connection's address or allow the host in the settings."
        )
    return parts


def is_among(host: str, hosts: Sequence[str]) -> bool:
    """Whether a host is one of these suffixes or stands under one of them."""
    return any(host == suffix or host.endswith("." + suffix) for suffix in (s.lstrip(".") for s in hosts))


def same_origin(base: str, url: str) -> None:
    """Refuse a link, such as the next page's, that leaves the account's own server with our credentials on it."""
    ours, theirs = urlsplit(base), urlsplit(url)
    if (ours.scheme, ours.hostname, ours.port) != (theirs.scheme, theirs.hostname, theirs.port):
        raise Malformed(f"The vendor linked to {theirs.hostname!r} while the account is at {ours.hostname!r}.")


def is_loopback_name(host: str) -> bool:
    """Whether a host is written as this machine. Short and hexadecimal spellings of addresses do not count."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_peer(address: str, *, allow_loopback: bool) -> None:
    """Refuse a connected peer that is not on the public internet (or this machine, where that is allowed)."""
    peer = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped is not None:
        peer = peer.ipv4_mapped
    if peer.is_loopback:
        if allow_loopback:
            return
    elif not (peer.is_multicast or peer.is_reserved or any(peer in net for net in _TRANSLATED)) and peer.is_global:
        return
    raise ForbiddenAddress(f"The host's address {peer} is not a public internet address; nothing was sent.")
