"""A connection against what its connector declares: halves, address, settings, credentials.

The rule here: a mistake is found when it is written and not at night, and a secret is only ever named.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings

from integrations import registry, sftp, vault
from integrations.configuration.document import shown
from integrations.connectors.files import options
from integrations.connectors.files.places import is_remote, path_of
from integrations.errors import ConnectorError
from integrations.http.addresses import check_url
from integrations.protocol import Account, ConnectorType, Setting
from portal import field_owners
from portal.importing.load import Load
from portal.importing.tables import Row
from portal.models import Connection
from reconciliation import policies as policy_settings
from reconciliation import publishing

_TIMEOUTS = ("connect_timeout", "read_timeout", "total_timeout")
_TOLD = ("provisions", "subscribes")
_ROTATED = re.compile(r"_(previous|\d+)$")


def check(load: Load, rows: Sequence[Row]) -> None:
    """Every connection against its connector: halves, address, settings, credentials."""
    for row in rows:
        kind = registry.connector_type(row.values["connector"])
        will_be = partial(row.will_be, model=Connection)
        for role, verb in (("source", "pull"), ("target", "push"), ("recipient", "publish"), ("biller", "make_draft")):
            if role in row.values["roles"] and not hasattr(kind, verb):
                load.problem(row, "roles", role, f"is not something that {kind.name} can be.")
        _check_address(load, row, kind, will_be("base_url"))
        _check_settings(load, row, kind, will_be("settings"))
        _check_told(load, row, kind, will_be("settings"))
        _check_credentials(load, row, kind, will_be("credentials"))
        if kind.name == "files" and not row.is_bad:
            _check_files(load, row)


def _check_told(load: Load, row: Row, kind: ConnectorType, given: Mapping[str, Any]) -> None:
    """What a recipient is told: kinds that its connector takes, and none to a connection that is no recipient."""
    is_recipient = "recipient" in row.values["roles"]
    taken = getattr(kind, "publishes", {})
    named = 0
    for name, kinds in (("provisions", publishing.PROVISIONED), ("subscribes", publishing.SUBSCRIBED)):
        value = given.get(name)
        if value is None:
            continue
        known = [str(one) for one in kinds if one in taken]
        if not isinstance(value, list) or set(value) - set(known):
            expected = f"expected some of {', '.join(known)}" if known else f"{kind.name} takes none"
            load.problem(row, f"settings.{name}", shown(value), f"is not a list of kinds of master data; {expected}.")
        elif own := sorted(set(value) & {str(one) for one in given.get("owns") or ()}):
            load.problem(
                row, f"settings.{name}", own[0],
                "is owned by this very connection, which would be told its own words again; take it out of owns or from here.",
            )  # fmt: skip
        elif value and not is_recipient:
            load.problem(
                row, f"settings.{name}", shown(value),
                'is told to a recipient only; add "recipient" to the roles of the connection.',
            )  # fmt: skip
        named += len(value)
    if is_recipient and not named:
        load.problem(
            row, "roles", "recipient",
            "is told nothing: name kinds of master data under settings.provisions or settings.subscribes.",
        )  # fmt: skip


def _check_address(load: Load, row: Row, kind: ConnectorType, base_url: str) -> None:
    hosts = getattr(kind, "hosts", None)
    try:
        if hosts is not None:
            allowed = (*hosts, *settings.VENDOR_HOSTS)
            check_url(base_url, hosts=allowed, allow_loopback=settings.ALLOW_LOOPBACK)
            return
        if is_remote(base_url):
            sftp.address_of(base_url, hosts=settings.VENDOR_HOSTS, allow_loopback=settings.ALLOW_LOOPBACK)
            return
        folder = path_of(base_url) if base_url else None
    except ConnectorError as error:
        load.problem(row, "base_url", base_url, f"will not do. {error}")
        return
    if folder is not None and not folder.is_absolute():
        load.problem(row, "base_url", base_url, "is not a whole path; expected one such as /srv/tieout/inbox/de.")
    elif folder is not None and not folder.is_dir():
        load.warn(row, "base_url", base_url, "is not a folder yet; it is read once it is there.")


def _check_settings(load: Load, row: Row, kind: ConnectorType, given: Mapping[str, Any]) -> None:
    declared = {setting.name: setting for setting in kind.settings}
    target_keys = policy_settings.of_target(given) if "target" in row.values["roles"] else {}
    for name, value in given.items():
        setting = declared.get(name)
        if setting is not None:
            _check_setting(load, row, setting, value)
        elif name in _TOLD:
            continue  # checked with the roles
        elif name in _NUMBERS:
            _NUMBERS[name](load, row, name, value)
        elif name == "owns":
            for sentence in field_owners.problems(value):
                load.problem(row, "settings.owns", "", f"will not do: {sentence}")
        elif name not in target_keys:
            known = [one.name for one in kind.settings if not one.secret]
            load.problem(row, f"settings.{name}", "", f"is not a setting of {kind.name}; it has {', '.join(known)}.")
    for sentence in policy_settings.problems(
        {name: value for name, value in target_keys.items() if name not in declared}
    ):
        load.problem(row, "settings", "", f"will not do: {sentence}")
    for setting in declared.values():
        if setting.required and not setting.secret and given.get(setting.name) in (None, ""):
            load.problem(row, f"settings.{setting.name}", "", f"is missing; {kind.name} needs it ({setting.label}).")


def _check_setting(load: Load, row: Row, setting: Setting, value: Any) -> None:
    if setting.secret:
        load.problem(row, f"settings.{setting.name}", "", "is a secret; name where it lies under credentials instead.")
    elif objection := setting.objection(value):
        load.problem(row, f"settings.{setting.name}", shown(value), objection)


def _check_seconds(load: Load, row: Row, name: str, value: Any) -> None:
    try:
        fits = not isinstance(value, bool) and 0 < float(value) <= 3600
    except (TypeError, ValueError):
        fits = False
    if not fits:
        load.problem(row, f"settings.{name}", shown(value), "is not a number of seconds up to 3600.")


def _check_count(load: Load, row: Row, name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        load.problem(row, f"settings.{name}", shown(value), "is not a whole number of 1 or more.")


_NUMBERS = {**dict.fromkeys(_TIMEOUTS, _check_seconds), "lines_on_a_bill": _check_count}


def _check_credentials(load: Load, row: Row, kind: ConnectorType, given: Mapping[str, Any]) -> None:
    secrets = {setting.name: setting for setting in kind.settings if setting.secret}
    for name, where in given.items():
        if name not in secrets and _ROTATED.sub("", name) not in secrets:
            expected = ", ".join(secrets) or "none"
            load.problem(row, f"credentials.{name}", "", f"is not a secret of {kind.name}; it has {expected}.")
        elif isinstance(where, Mapping) and set(where) == {"stored"}:
            if vault.find(where["stored"], str(row.values["code"]), name) is None:
                load.problem(row, f"credentials.{name}", "", "is not kept here for this connection; type it once more.")
        elif (wrong := lies_nowhere(where)) is not None:
            load.problem(row, f"credentials.{name}", "", wrong)
        elif (absent := not_there_yet(where)) is not None:
            load.warn(row, f"credentials.{name}", "", absent)
    is_used = row.will_be("is_active", Connection)  # one that is switched off signs in nowhere
    for name, setting in secrets.items():
        if setting.required and name not in given and is_used:
            load.problem(row, f"credentials.{name}", "", f"is missing; {kind.name} needs it ({setting.label}).")


def lies_nowhere(where: Any) -> str | None:
    """Why this does not name the place of a secret; None when it does."""
    if (
        isinstance(where, Mapping)
        and len(where) == 1
        and set(where) <= {"env", "file"}
        and all(isinstance(name, str) and name for name in where.values())
    ):
        return None
    return 'does not name where a secret lies; expected { env = "VARIABLE" } or { file = "/run/secrets/name" }.'


def not_there_yet(where: Mapping[str, str]) -> str | None:
    """A word of warning when the secret cannot be read by this process; None when it can."""
    if "env" in where:
        return None if os.environ.get(where["env"]) else f"the environment variable {where['env']} is not set here."
    return None if Path(where["file"]).is_file() else f"the file {where['file']} is not there."


def _check_files(load: Load, row: Row) -> None:
    """The columns, formats and words of a files connection, as the connector itself reads them."""
    try:
        options.Options.of(
            Account(
                code=row.values["code"],
                base_url=row.will_be("base_url", Connection),
                zone=row.will_be("zone", Connection),
                settings=row.will_be("settings", Connection),
            )
        )
    except ConnectorError as error:
        load.problem(row, "settings", "", f"will not do. {error}")
