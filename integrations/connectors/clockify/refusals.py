"""What Clockify's words for no mean for us. The table is data; a connection's setting `refusals` goes before it.

Its texts are an assumption (`assumptions.py`); one that no pattern knows is a plain rejection in Clockify's words.
"""

from __future__ import annotations

from collections.abc import Sequence

from integrations.connectors.clockify import assumptions
from integrations.errors import ConnectorError
from integrations.http.refusals import Pattern, narrowed_by_message, own_patterns, patterns

__all__ = ["Pattern", "narrow", "own_patterns"]

# Read from the top; the text matched is the message.
PATTERNS = patterns(*assumptions.REFUSALS)


def narrow(error: ConnectorError, own: Sequence[Pattern]) -> ConnectorError:
    """The same error, named by what Clockify said about a record that it was to make or change."""
    return narrowed_by_message(error, (*own, *PATTERNS))
