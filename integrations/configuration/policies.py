"""Policies in the document: given in place, or by the name of one of the [policies] tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from integrations.configuration.document import Document, plain
from portal.importing.problems import Unreadable
from reconciliation.changes import tables


def named(document: Document) -> dict[str, dict[str, Any]]:
    """The [policies] tables by name; what is wrong with one is noted once, where it stands."""
    section = document.content.get("policies", {})
    if not isinstance(section, Mapping):
        document.problem("policies", section, "is not a table; write each policy as [policies.NAME].")
        return {}
    found = {}
    for name, values in section.items():
        try:
            found[name] = of(values)
        except Unreadable as error:
            document.problem(f"policies.{name}", "", str(error))
            found[name] = {}
    return found


def of(value: Any, known: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """A policy as it is stored. Raises Unreadable naming every setting that will not do."""
    if isinstance(value, str) and known is not None:
        if value not in known:
            raise Unreadable(f"is not the name of a policy; the file has {', '.join(sorted(known)) or 'none'}.")
        return dict(known[value])
    if not isinstance(value, Mapping):
        raise Unreadable("is not a policy; expected a table of settings or the name of one of [policies].")
    return tables.policy(plain(value))
