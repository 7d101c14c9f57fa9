"""Connections that come by file: which account at which vendor and with which settings, and never a secret.

The rule here: a file holds no secret and no place of one. A connection that lacks what it signs in with comes in switched off,
its row says what must still be given on its page, and until then nothing is read from it or sent to it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, MutableMapping, Sequence

from integrations import registry
from integrations.protocol import ConnectorType, Setting, holds_hints
from portal.importing.sheets import Sheet, plain
from portal.importing.tables import Filed
from portal.models import Connection

USUAL_SECONDS = "900"
_ROLES = ("source", "target", "recipient", "biller")
_SECRET = re.compile(r"(^|_)(credentials?|passwords?|secrets?|tokens?|api_?keys?|private_?keys?)(_|$)")


def _squeezed(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.casefold())


def _connector(said: str) -> str:
    """The code of a connector from how people write its vendor: `Business Central` is `businesscentral`."""
    return _squeezed(said) if _squeezed(said) in registry.CONNECTORS else said


def _secrets(connector: str) -> list[Setting]:
    if connector not in registry.CONNECTORS:
        return []
    return [one for one in registry.connector_type(connector).settings if one.secret]


def _objection(sheet: Sheet) -> str:
    """Why a file is not even kept: it holds what nobody writes into one."""
    for at, heading in enumerate(sheet.header):
        if _SECRET.search(plain(heading)) and any(cells[at].strip() for _, cells in sheet.rows):
            return (
                f"The column “{heading}” holds secrets, and files are kept as they come. Take the column out, upload the file "
                "again, and give the secrets on the page of each connection. Where it was sent around, have them changed."
            )
    for line, cells in sheet.rows:
        if name := _secret_among(cells):
            return (
                f"Line {line} holds “{name}” among its settings, which is a secret, and files are kept as they come. "
                "Take it out, upload the file again, and give it on the page of the connection."
            )
    return ""


def _secret_among(cells: Sequence[str]) -> str:
    """The first secret that a row gives among its settings.

    What the row's connector declares is what it is declared to be; a name that it does not know is judged by its words. The
    columns are not matched yet, so a cell that could name a connector does.
    """
    kinds = [registry.connector_type(name) for cell in cells if (name := _connector(cell)) in registry.CONNECTORS]
    declared = sorted(
        (one for kind in kinds for one in kind.settings), key=lambda one: one.secret
    )  # a secret has the last word
    is_secret = {one.name: one.secret for one in declared}
    named = (name for cell in cells for name in _named_in(cell))
    return next((name for name in named if is_secret.get(name, bool(_SECRET.search(plain(name))))), "")


def _named_in(cell: str) -> Iterator[str]:
    """The settings that a cell gives values to; none where it is no table."""
    if not cell.lstrip().startswith("{"):
        return
    try:
        told = json.loads(cell)
    except ValueError:
        yield from re.findall(r'"([A-Za-z_]+)"\s*:', cell)
        return
    yield from (name for name, value in told.items() if value)


def _complete(rows: Sequence[MutableMapping[str, str]]) -> Iterator[tuple[int, str, str]]:
    """Say of each row what the file need not: the code of its connector, the roles that stand, and that it is not used yet."""
    codes = [row.get("code", "") for row in rows]
    standing = {one.code: one for one in Connection.objects.filter(code__in=codes)}
    for index, row in enumerate(rows):
        row["connector"] = _connector(row.get("connector", ""))
        one = standing.get(row.get("code", ""))
        if one is not None:
            for role in _ROLES:
                row.setdefault(role, "true" if getattr(one, f"is_{role}") else "false")
        lacks = _lacking(row["connector"], row.get("base_url", ""), one)
        if lacks:
            row["active"] = "false"
            yield (
                index, "active",
                f"is “no” until {lacks} given on the page of the connection, and its test stays open. No file holds a secret.",
            )  # fmt: skip


def _lacking(connector: str, address: str, standing: Connection | None) -> str:
    """What an account still signs in with, as the subject of a sentence and its verb; empty where it has what it needs."""
    declared, given = _secrets(connector), standing.credentials if standing else {}
    needed = [one.label for one in declared if one.required and one.name not in given]
    if needed:
        return f"{' and '.join(needed)} {'is' if len(needed) == 1 else 'are'}"
    may_need = [one.label for one in declared] if standing is None and "://" in address else []
    return f"what it signs in with ({', '.join(may_need)}) is" if may_need else ""


def _besides(rows: Sequence[Mapping[str, object]]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """What is read of a new source: everything that its connector has, every quarter of an hour, as its form proposes."""
    for row in rows:
        connector = str(row.get("connector", ""))
        if str(row.get("source", "")).lower() not in ("true", "yes", "1") or connector not in registry.CONNECTORS:
            continue
        kind: ConnectorType = registry.connector_type(connector)
        for name in getattr(kind, "streams", ()):
            if not holds_hints(kind, name):
                told = {"connection": str(row["code"]), "name": str(name), "every_seconds": USUAL_SECONDS}
                yield "stream", told


FILED = Filed(left_out=frozenset({"credentials"}), objection=_objection, complete=_complete, besides=_besides)
