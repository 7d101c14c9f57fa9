"""What the database refuses of a decision although nothing was found before it, in words: the last net under the plan.

The rule here: a refusal names the bill with its amounts, what would have become wrong and the way out, and nothing was decided.
Every constraint that can refuse a decision has its sentence; one that has none yet is named and logged, and is no failure.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.db import DatabaseError, transaction

from portal import figures
from portal.models import Invoice

log = logging.getLogger(__name__)
_errors = psycopg.errors
REFUSALS = (
    _errors.IntegrityError, _errors.DataError, _errors.DeadlockDetected, _errors.SerializationFailure, _errors.LockNotAvailable,
)  # fmt: skip
_LOOK = "Look at the bill again and decide anew."
_OFF = "Have the line taken off the bill in its system, or wait for the next version of it."
# By the constraint's name: what would have become wrong, and the way out.
SENTENCES = {
    "nothing_is_billed_twice": (
        "more of an hour, an expense or a milestone would stand billed than was delivered",
        "See on which other bill the work stands, and have one of them credited.",
    ),
    "no_more_is_credited_than_invoiced": (
        "more would be given back than was ever billed", "Have the credit note lowered to what stands billed."
    ),
    "a_balance_is_of_an_entry_or_a_milestone": ("a line of it would bill neither work nor a milestone", _OFF),
    "an_allocation_is_of_an_entry_or_a_milestone": ("a line of it would bill neither work nor a milestone", _OFF),
    "what_is_billed_has_a_quantity": (
        "a line of it bills nothing, or less than nothing",
        "Have it credited by a credit note; a bill gives nothing back.",
    ),
    "an_allocation_moves_something": ("a line of it gives back nothing at all", _OFF),
    "an_allocation_has_a_currency": (
        "a line of it has no currency", "Have the currency of the bill set in its system; it is read again."
    ),
    "a_version_of_a_bill_is_decided_once": ("somebody decided about the same version just now", _LOOK),
    "a_decision_about_a_bill_has_a_reason": ("it has no reason", "Say why it is decided so."),
    "an_approval_of_a_bill_has_a_person_and_a_moment": ("there is nothing that a second person agrees to", _LOOK),
    "what_ends_a_decision_has_a_person_and_a_reason": ("it would end without a person and a reason", _LOOK),
    "who_refuses_a_decision_did_not_make_it": (
        "who asked for it would be who refuses it", "Another controller of the entity refuses it, or you withdraw it."
    ),
    "who_approves_a_bill_did_not_decide_it": (
        "who asked for it would be who agrees to it", "Another controller of the entity agrees to it."
    ),
}  # fmt: skip
# By what a trigger says, where it is no constraint that refuses.
_SAID = [
    (
        r"allocation \d+ is of another entity", "a line of it bills work of another entity",
        "Have it billed in the entity that delivered it.",
    ),
    (
        r"entry (\d+) is not to be billed: its document stands billed as entry (\d+)",
        "entry {0} would be billed while another version of the same work stands billed as entry {1}",
        "Have the bill of entry {1} credited first.",
    ),
    (
        r"entry (\d+) \((\w+)\) is not to be billed",
        "entry {0} is {1}, and only what is posted, billable and not being reversed is billed",
        "Wait until the entry is proved in the books, or have its line taken off the bill.",
    ),
    (
        r"is no opposite of allocation", "what it gives back is other work, or in another currency, than what was billed",
        "Have the note written for the same work and in the currency of its invoice.",
    ),
    (r"takes back what itself takes a credit back", "a credit would be taken back a second time", _LOOK),
    (
        r"more is taken back of allocation", "more would be given back than is left of what it billed",
        "Have the credit note lowered to what stands billed.",
    ),
    (r"decision \d+ about a bill stays as it was made", "what was decided about it stays as it was", _LOOK),
]  # fmt: skip


@contextmanager
def in_words(refused: type[Exception], bill: Invoice) -> Iterator[None]:
    """One transaction; what the database refuses of it is raised as `refused` with a sentence. Every other error passes."""
    try:
        with transaction.atomic():
            yield
    except DatabaseError as error:
        cause = error.__cause__
        if not isinstance(cause, REFUSALS):
            raise
        log.warning("The database refused a decision about bill %s: %s", bill.pk, cause)
        why, way_out = _why(cause)
        raise refused(f"Nothing was decided about {_named(bill)}: {why}. {way_out}") from error


def _why(cause: psycopg.Error) -> tuple[str, str]:
    name, said = cause.diag.constraint_name or "", cause.diag.message_primary or str(cause)
    if name in SENTENCES:
        return SENTENCES[name]
    for pattern, why, way_out in _SAID:
        if found := re.search(pattern, said):
            return why.format(*found.groups()), way_out.format(*found.groups())
    if isinstance(cause, _errors.DataError):
        return "a figure of it is larger than any that is kept here", "Have the figure put right in its system."
    if not isinstance(cause, _errors.IntegrityError):
        return "somebody decided about the same hours in the same moment", "Decide once more in a moment."
    return (
        f"the database does not take it ({name.replace('_', ' ') or said})",
        "Tell whoever operates Tieout these words; the bill stays as it is until then.",
    )


def _named(bill: Invoice) -> str:
    found = Invoice.objects.select_related("current", "agreed").get(pk=bill.pk)
    amount = f"{figures.amount(found.current.total, found.current.currency)} {found.current.currency}"
    agreed = found.agreed
    if agreed is None or (agreed.total, agreed.currency) == (found.current.total, found.current.currency):
        return f"{found} over {amount}"
    return f"{found} over {amount}, where {figures.amount(agreed.total, agreed.currency)} {agreed.currency} were agreed"
