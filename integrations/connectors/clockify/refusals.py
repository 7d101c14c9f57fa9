"""What Clockify's words for no mean for us. The table is data; a connection's setting `refusals` goes before it.

Its texts are an assumption (`assumptions.py`); one that no pattern knows is a plain rejection in Clockify's words.
"""

from __future__ import annotations

from integrations.connectors.clockify import assumptions
from integrations.http.refusals import Pattern, narrowing, own_patterns, patterns, read_message

__all__ = ["Pattern", "narrow", "own_patterns"]

# Read from the top; the text matched is the message.
PATTERNS = patterns(*assumptions.REFUSALS)
narrow = narrowing(read_message, PATTERNS)
