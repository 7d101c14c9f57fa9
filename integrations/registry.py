"""Which connector speaks to which vendor, and how one is built for a connection.

The rule here: nothing registers itself; a connector that is not named in `CONNECTORS` does not exist. Credentials are read
where they lie at the moment of the call, and the half that is asked for is checked at the door.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from django.conf import settings

from integrations import pacing, vault
from integrations.errors import Unauthorised
from integrations.http import Http
from integrations.protocol import Account, Biller, ConnectorType, Drafting, Receiver, Recipient, Source, Target
from portal.models import Connection

CONNECTORS: dict[str, str] = {
    "businesscentral": "integrations.connectors.businesscentral.connector.BusinessCentralConnector",
    "clockify": "integrations.connectors.clockify.connector.ClockifyConnector",
    "dynamicsfinance": "integrations.connectors.dynamicsfinance.connector.DynamicsFinanceConnector",
    "files": "integrations.connectors.files.connector.FilesConnector",
    "harvest": "integrations.connectors.harvest.connector.HarvestConnector",
    "netsuite": "integrations.connectors.netsuite.connector.NetSuiteConnector",
    "projectoperations": "integrations.connectors.projectoperations.connector.ProjectOperationsConnector",
    "salesforce": "integrations.connectors.salesforce.connector.SalesforceConnector",
    "stripe": "integrations.connectors.stripe.connector.StripeConnector",
    "tempo": "integrations.connectors.tempo.connector.TempoConnector",
    "tryton": "integrations.connectors.tryton.connector.TrytonConnector",
}


class UnknownConnector(LookupError):
    """A connection names a connector that is not there."""


class WrongHalf(TypeError):
    """A connector was asked for the half that it does not have."""


def connector_type(name: str) -> ConnectorType:
    """The class of a connector. Raises UnknownConnector naming those that exist."""
    try:
        module, _, attribute = CONNECTORS[name].rpartition(".")
    except KeyError:
        raise UnknownConnector(
            f"There is no connector {name!r}; the connectors are {', '.join(sorted(CONNECTORS))}."
        ) from None
    return cast("ConnectorType", getattr(import_module(module), attribute))


def lines_on_a_bill(connector: str) -> int:
    """How many lines the system of a connector takes on one invoice draft, as the connector declares it."""
    return cast("Drafting", getattr(connector_type(connector), "drafting", Drafting())).lines


def source(connection: Connection) -> Source:
    """The connection as a source. Raises Unauthorised for a missing credential, WrongHalf for a mere target."""
    built = _build(connection)
    if not isinstance(built, Source):
        raise WrongHalf(f"Connection {connection.code} cannot be a source: {connection.connector} only takes postings.")
    return built


def target(connection: Connection) -> Target:
    """The connection as a target. Raises Unauthorised for a missing credential, WrongHalf for a mere source."""
    built = _build(connection)
    if not isinstance(built, Target):
        raise WrongHalf(f"Connection {connection.code} cannot be a target: {connection.connector} takes no postings.")
    return built


def recipient(connection: Connection) -> Recipient:
    """The connection as a system that is told master data. Raises Unauthorised or WrongHalf as above."""
    built = _build(connection)
    if not isinstance(built, Recipient):
        raise WrongHalf(f"Connection {connection.code} is told nothing: {connection.connector} takes no master data.")
    return built


def biller(connection: Connection) -> Biller:
    """The connection as a system that takes invoice drafts. Raises Unauthorised or WrongHalf as above."""
    built = _build(connection)
    if not isinstance(built, Biller):
        raise WrongHalf(f"Connection {connection.code} bills nothing: {connection.connector} takes no invoice drafts.")
    return built


def receiver(connection: Connection) -> Receiver:
    """The connection as something that the outbox sends to, in whichever way. Raises Unauthorised or WrongHalf as above."""
    if connection.is_target:
        return target(connection)
    return recipient(connection) if connection.is_recipient else biller(connection)


def account(connection: Connection) -> Account:
    """What the connector is told about the connection, credentials included. Raises Unauthorised for a missing one."""
    return Account(
        code=connection.code,
        base_url=connection.base_url,
        realm=connection.realm,
        zone=connection.zone,
        settings=connection.settings,
        secrets={name: _secret(connection, name, place) for name, place in connection.credentials.items()},
    )


def credential_problem(connection: Connection, name: str) -> str:
    """Why one credential cannot be read by this process, in a sentence; empty when it can. Its value is never told."""
    try:
        _secret(connection, name, connection.credentials.get(name) or {})
    except Unauthorised as missing:
        return str(missing)
    return ""


def _build(connection: Connection) -> Source | Receiver:
    return built(connector_type(connection.connector), account(connection))


def built(kind: ConnectorType, told: Account) -> Source | Receiver:
    """A connector for an account that may not stand yet."""
    hosts = (*getattr(kind, "hosts", ()), *settings.VENDOR_HOSTS)
    http = Http(
        told, hosts=hosts, allow_loopback=settings.ALLOW_LOOPBACK, rate=getattr(kind, "rate", None), pacer=pacing.pace
    )
    return kind(told, http)


def _secret(connection: Connection, name: str, place: Mapping[str, Any]) -> str:
    """One credential, read from where its place names it: kept here, in the environment or a file; its value is never told."""
    if number := place.get("stored"):
        try:
            return vault.read(number, connection.code, name)
        except vault.Sealed as closed:
            raise Unauthorised(
                f"Credential {name!r} of connection {connection.code} cannot be opened: {closed}."
            ) from None
    if variable := place.get("env"):
        value = os.environ.get(variable, "")
        where = f"environment variable {variable}"
    elif path := place.get("file"):
        where = f"file {path}"
        try:
            value = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Unauthorised(
                f"Credential {name!r} of connection {connection.code} cannot be read: {where}: {type(error).__name__}."
            ) from None
    else:
        raise Unauthorised(
            f"Credential {name!r} of connection {connection.code} names no secret kept here, no environment variable and no file."
        )
    if not value:
        raise Unauthorised(
            f"Credential {name!r} of connection {connection.code} is missing: {where} is empty or not set."
        )
    return value
