"""The other way out of the house: one session with an SFTP server, whose host key we knew before.

The rule that holds: nothing is said to a server, credentials least of all, before it has shown a key that the connection names.
Errors are named by what we do next, as `http` names them. A host is called only where the operator of this installation listed
it; it may stand in the firm's own network, but never on this machine unless that is allowed.
"""

from __future__ import annotations

import base64
import hashlib
import io
import ipaddress
import logging
import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import paramiko  # noqa: TID251 - the one place

from integrations.account import Account, Setting
from integrations.errors import ConnectorError, Unauthorised, Unavailable
from integrations.http.addresses import ForbiddenAddress, is_among, is_loopback_name
from integrations.http.deadlines import left

logging.getLogger("paramiko").setLevel(logging.WARNING)  # which tells every step of every session

PORT = 22
CONNECT_SECONDS, READ_SECONDS = 5.0, 55.0
SETTINGS: tuple[Setting, ...] = (
    Setting(name="user", label="SFTP user", help="For an address that begins with sftp://."),
    Setting(
        name="host_key",
        long=True,
        label="Host key of the SFTP server",
        help="As in known_hosts (“ssh-ed25519 AAAA…”) or as a fingerprint (“SHA256:…”); one per line while it is changed.",
    ),
    Setting(
        name="private_key",
        long=True,
        label="Private key",
        secret=True,
        help="OpenSSH or PEM without a password; Ed25519, EC, RSA.",
    ),
    Setting(name="password", label="Password", secret=True, help="Where the server takes no key."),
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where an sftp:// address leads."""

    host: str
    port: int
    path: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One plain file on the server. `modified` is in whole seconds, as SFTP tells it."""

    name: str
    size: int
    modified: int


class FileMissing(Unavailable):
    """The server has no such file or folder."""


def address_of(url: str, *, hosts: Sequence[str], allow_loopback: bool) -> Address:
    """Read an address and refuse one that is not ours to call."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or PORT
    except ValueError as error:
        raise ForbiddenAddress(f"The address {url!r} cannot be read: {error}.") from None
    if parts.username is not None or parts.password is not None:
        raise ForbiddenAddress(f"The address of {host!r} carries a user name or password; use the settings for them.")
    if is_loopback_name(host):
        if not allow_loopback:
            raise ForbiddenAddress(f"The host {host!r} is this machine; allow loopback in the settings to use it.")
    elif not host or not is_among(host, hosts):
        raise ForbiddenAddress(f"The host {host!r} is not allowed; add it to TIEOUT_VENDOR_HOSTS of this installation.")
    return Address(host, port, unquote(parts.path) or "/")


class Session:
    """One session; `with` ends it. Nothing is written but what `rename` and `make_folder` say."""

    def __init__(self, account: Account, address: Address, *, allow_loopback: bool) -> None:
        self._where = address.host
        connect = left(float(account.settings.get("connect_timeout") or CONNECT_SECONDS))
        self._read = left(float(account.settings.get("read_timeout") or READ_SECONDS))
        with self._told("reached"):
            sock = socket.create_connection((address.host, address.port), timeout=connect)
            _check_peer(sock, address.host, allow_loopback=allow_loopback)
            self._transport = paramiko.Transport(sock)
        try:
            with self._told("signed in to"):
                self._begin(account)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    def _begin(self, account: Account) -> None:
        known = [line.strip() for line in str(account.settings.get("host_key") or "").splitlines() if line.strip()]
        transport = self._transport
        transport.banner_timeout = transport.auth_timeout = self._read
        if kinds := [line.split()[0] for line in known if not line.startswith("SHA256:")]:
            options = transport.get_security_options()
            options.key_types = [name for name in options.key_types if _kind(name) in kinds] or options.key_types
        transport.start_client(timeout=self._read)
        shown = transport.get_remote_server_key()
        fingerprint = "SHA256:" + base64.b64encode(hashlib.sha256(shown.asbytes()).digest()).decode().rstrip("=")
        written = f"{shown.get_name()} {shown.get_base64()}"
        if not any(fingerprint == line or line.startswith(written) for line in known):
            told = (
                "another host key than the connection names" if known else "a host key, and the connection names none"
            )
            raise Unauthorised(
                f"{self._where} shows {told}: {fingerprint}. Compare it with its operator's and enter it as host_key."
            )
        user = str(account.settings.get("user") or "")
        if not user:
            raise Unauthorised(f"Connection {account.code} names no SFTP user.")
        if key := account.secrets.get("private_key"):
            transport.auth_publickey(user, _private_key(key))
        elif password := account.secrets.get("password"):
            transport.auth_password(user, password, fallback=False)
        else:
            raise Unauthorised(f"Connection {account.code} has neither a private key nor a password for SFTP.")
        client = paramiko.SFTPClient.from_transport(transport)
        if client is None:
            raise Unavailable(f"{self._where} opened no SFTP channel.")
        client.get_channel().settimeout(self._read)
        self._client = client

    def files(self, folder: str) -> list[Entry]:
        """The plain files directly in a folder; links are none."""
        with self._told(f"asked for {folder}"):
            found = self._client.listdir_attr(folder)
        return [
            Entry(item.filename, int(item.st_size or 0), int(item.st_mtime or 0))
            for item in found
            if stat.S_ISREG(item.st_mode or 0) and "/" not in item.filename
        ]

    def read(self, path: str, limit: int) -> bytes:
        """The first `limit` bytes of a file."""
        with self._told(f"asked for {path}"), self._client.open(path, "rb") as file:
            file.prefetch(min(limit, int(file.stat().st_size or 0)))
            content: bytes = file.read(limit)
            return content

    def entry(self, path: str) -> Entry:
        """A file as it is now."""
        with self._told(f"asked for {path}"):
            found = self._client.stat(path)
        return Entry(path.rsplit("/", 1)[-1], int(found.st_size or 0), int(found.st_mtime or 0))

    def has(self, path: str) -> bool:
        """Whether something has this name."""
        try:
            self.entry(path)
        except FileMissing:
            return False
        return True

    def rename(self, path: str, target: str) -> None:
        """Move a file; one that has the name already stays, and the call is refused."""
        with self._told(f"asked to move {path}"):
            self._client.rename(path, target)

    def make_folder(self, path: str) -> None:
        """Make a folder where there is none."""
        if not self.has(path):
            with self._told(f"asked to make {path}"):
                self._client.mkdir(path)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Whatever the library raises, named by what we do next."""
        try:
            yield
        except ConnectorError:
            raise
        except paramiko.AuthenticationException as error:
            raise Unauthorised(f"{self._where} does not take our credentials: {error}") from None
        except PermissionError:
            raise Unauthorised(f"{self._where} was {what}: we may not.") from None
        except FileNotFoundError:
            raise FileMissing(f"{self._where} was {what}: it is not there.") from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            reason = "no answer in time" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
            raise Unavailable(f"{self._where} could not be {what}: {reason}.") from None


def _check_peer(sock: socket.socket, host: str, *, allow_loopback: bool) -> None:
    """Refuse a name that leads to this machine or to no machine at all."""
    peer = ipaddress.ip_address(str(sock.getpeername()[0]).partition("%")[0])
    if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped is not None:
        peer = peer.ipv4_mapped
    is_here = peer.is_loopback or peer.is_unspecified
    if (is_here and not allow_loopback) or peer.is_link_local or peer.is_multicast:
        with suppress(OSError):
            sock.close()
        raise ForbiddenAddress(f"The host {host!r} leads to {peer}; nothing was said to it.")


def _kind(algorithm: str) -> str:
    """The kind of key that a signature algorithm uses: rsa-sha2-512 signs with an ssh-rsa key."""
    return "ssh-rsa" if algorithm.startswith("rsa-sha2-") else algorithm


def _private_key(text: str) -> Any:
    """A key from its text, as a file or an environment variable carries it; raises Unauthorised without showing it."""
    written = text.replace("\\n", "\n")
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        with suppress(paramiko.SSHException, ValueError, IndexError):
            return kind.from_private_key(io.StringIO(written))
    raise Unauthorised("The secret private_key is not an OpenSSH or PEM private key without a password.")
