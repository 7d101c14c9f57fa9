"""The outbox's hand-written SQL, by theme: slots, attempts, what is due, what entries say, and what proves them.

The rule here: one statement per question whatever the number of rows, and every moment is the database's.
"""

from __future__ import annotations

from integrations.sql.clock import clock
from integrations.sql.outbound.attempts import (
    abandon_attempts,
    accepted_lately,
    close_attempts,
    close_lines,
    deaths,
    open_attempts,
)
from integrations.sql.outbound.due import (
    Standing,
    asked_for,
    asked_only,
    drafts_to_read_again,
    due_in,
    expired,
    named,
    old_doubts,
    published_to_read_again,
    standing_of,
    superseded,
    to_read_again,
)
from integrations.sql.outbound.entries import (
    About,
    about,
    documents_of,
    entities_over,
    publications_among,
    queue_of,
    stopped_for_their_key,
    strangers,
    waiting_on,
)
from integrations.sql.outbound.proofs import beside, numbers_alike, taken_numbers, write_read_backs
from integrations.sql.outbound.said import booked_by, draft_lines, drafted_by, owed_by
from integrations.sql.outbound.slots import free_slots, lay_out_slots, renew_slots, take_slots

__all__ = [
    "About",
    "Standing",
    "abandon_attempts",
    "about",
    "accepted_lately",
    "asked_for",
    "asked_only",
    "beside",
    "booked_by",
    "clock",
    "close_attempts",
    "close_lines",
    "deaths",
    "documents_of",
    "draft_lines",
    "drafted_by",
    "drafts_to_read_again",
    "due_in",
    "entities_over",
    "expired",
    "free_slots",
    "lay_out_slots",
    "named",
    "numbers_alike",
    "old_doubts",
    "open_attempts",
    "owed_by",
    "publications_among",
    "published_to_read_again",
    "queue_of",
    "renew_slots",
    "standing_of",
    "stopped_for_their_key",
    "strangers",
    "superseded",
    "take_slots",
    "taken_numbers",
    "to_read_again",
    "waiting_on",
    "write_read_backs",
]
