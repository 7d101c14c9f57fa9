"""What Clockify's words for no mean for us. The table is data; a connection's setting `refusals` goes before it.

Its texts are an assumption (`assumptions.py`); one that no pattern knows is a plain rejection in Clockify's words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from integrations.connectors.clockify import assumptions
from integrations.errors import ConnectorError
from integrations.http.refusals import Pattern, Said, narrowed, own_patterns, patterns

__all__ = ["Pattern", "narrow", "own_patterns"]

# Read from the top; the text matched is the message.
PATTERNS = patterns(*assumptions.REFUSALS)


def narrow(error: ConnectorError, own: Sequence[Pattern]) -> ConnectorError:
    """The same error, named by what Clockify said about a record that it was to make or change."""
    body = error.body if isinstance(error.body, Mapping) else {}
    message = str(body.get("message") or "")
    return narrowed(error, Said(str(body.get("code") or ""), message, message), (*own, *PATTERNS))
