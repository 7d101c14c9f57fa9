"""What a vendor's own words for a refusal mean to us: patterns over its codes and texts, a connection's own before the vendor's.

A text that no pattern knows is a plain rejection with the vendor's words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from integrations.errors import (
    REJECTION_CODES,
    ConnectorError,
    InDoubt,
    Malformed,
    Rejected,
    Unauthorised,
    Unavailable,
)


@dataclass(frozen=True, slots=True)
class Pattern:
    """Texts that mean one thing. `means` is a rejection code, or the word for one of the other errors."""

    match: re.Pattern[str]
    means: str


@dataclass(frozen=True, slots=True)
class Said:
    """What an error body says: the vendor's code, its text for people, and everything to match on."""

    code: str = ""
    detail: str = ""
    matched: str = ""


_KINDS: Mapping[str, type[ConnectorError]] = {
    "unavailable": Unavailable,
    "in-doubt": InDoubt,
    "unauthorised": Unauthorised,
}


def patterns(*rows: tuple[str, str]) -> tuple[Pattern, ...]:
    """A vendor's patterns, each as (what it means, what it matches); read from the top."""
    return tuple(Pattern(re.compile(match, re.IGNORECASE), means) for means, match in rows)


def own_patterns(rows: Sequence[Mapping[str, str]]) -> tuple[Pattern, ...]:
    """An account's own patterns from its settings: [{"match": "...", "means": "period-closed"}, ...]. Raises Malformed."""
    found = []
    for row in rows:
        means = row.get("means", "")
        if means not in REJECTION_CODES and means not in _KINDS:
            raise Malformed(f"The setting refusals has {means!r}; know {', '.join((*REJECTION_CODES, *_KINDS))}.")
        try:
            found.append(Pattern(re.compile(row["match"], re.IGNORECASE), means))
        except (re.error, KeyError) as error:
            raise Malformed(f"The setting refusals has a pattern that cannot be read: {error}.") from None
    return tuple(found)


def narrowed(error: ConnectorError, said: Said, known: Sequence[Pattern], *, writes: bool = True) -> ConnectorError:
    """The same error, named by what the vendor said: a rejection with its code, or one of the other kinds.

    Nothing is in doubt after a read, so what would be is merely not available.
    """
    if not said.matched or not isinstance(error, Rejected | Unauthorised):
        return error
    means = next((pattern.means for pattern in known if pattern.match.search(said.matched)), "rejected")
    named: ConnectorError
    if means == "in-doubt" and not writes:
        named = Unavailable(said.detail, status=error.status)
    elif means in _KINDS:
        named = _KINDS[means](said.detail, status=error.status)
    elif isinstance(error, Unauthorised):
        named = Unauthorised(said.detail, status=error.status)
    else:
        named = Rejected(said.detail, status=error.status, code=means, vendor_code=said.code)
    named.body, named.headers = error.body, error.headers
    return named


class Narrow(Protocol):
    """How one vendor's errors are named."""

    def __call__(self, error: ConnectorError, own: Sequence[Pattern] = (), *, writes: bool = True) -> ConnectorError:
        """The same error, named by what the vendor said; an account's own patterns go before the vendor's."""
        ...


def narrowing(read: Callable[[Any], Said], known: Sequence[Pattern]) -> Narrow:
    """How the errors of a vendor are named whose bodies are read so, by patterns of its own."""

    def narrow(error: ConnectorError, own: Sequence[Pattern] = (), *, writes: bool = True) -> ConnectorError:
        return narrowed(error, read(error.body), (*own, *known), writes=writes)

    return narrow


def read_message(body: Any) -> Said:
    """The words of a vendor that says no in a body with `message` and `code`; the text matched is the message."""
    told = body if isinstance(body, Mapping) else {}
    message = str(told.get("message") or "")
    return Said(str(told.get("code") or ""), message, message)
