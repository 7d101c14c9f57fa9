"""What was booked by hand in the target, past Tieout: it is left out here once that is proved, or once a second person agrees.

The rule here: a document's number counts only when the target's own statement holds it with the same figures, and proves one
entry. Without a number it is a person's word, and a second one has to agree whatever the amount.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms

from portal.models import LedgerEntry, Receipt, State, StatementLine
from reconciliation import validation
from reconciliation.fixes.base import Fix, FixForm, Work
from reconciliation.models import Operation

SAID = "handled outside"  # how the reason begins, so that such entries are counted apart


class NumberForm(FixForm):
    """The target's own number of the document that was booked by hand."""

    number = forms.CharField(
        label="Document in the target",
        required=False,
        max_length=120,
        help_text="Looked up in the target's statement, with day, hours and amount. Without it a second person has to agree.",
    )


class HandledOutside(Fix):
    """Somebody booked it in the target by hand."""

    code = "handled-outside"
    label = "Handled outside"
    help = "Leaves entries out for good, because they were booked in the target by hand. It is counted apart."
    form_class = NumberForm
    states = frozenset({State.HELD, State.REJECTED})

    @classmethod
    def second_person(cls, _parameters: Mapping[str, Any]) -> str:
        """Without a document nothing proves it."""
        return "" if _number(_parameters) else "No document of the target proves that it was booked."

    @classmethod
    def refuses(cls, parameters: Mapping[str, Any], count: int) -> str:
        """A document proves one entry."""
        number = _number(parameters)
        return f"Document {number} proves one entry; choose the one that it is about." if number and count > 1 else ""

    def apply(self, work: Work, entry_ids: Sequence[int]) -> None:
        """Leave them out, with the document that proves it."""
        number = _number(work.parameters)
        if number:
            for entry in LedgerEntry.objects.filter(pk__in=entry_ids):
                _must_prove(number, entry)
        said = f"{SAID}, {f'document {number}' if number else 'without a document'}: {work.reason}"
        validation.exclude(entry_ids, by=work.user, reason=said)


def _number(parameters: Mapping[str, Any]) -> str:
    return str(parameters.get("number") or "").strip()


def _must_prove(number: str, entry: LedgerEntry) -> None:
    """Raise ValueError unless the target's statement holds the document, equal to the entry and proving nothing else."""
    line = StatementLine.objects.filter(
        connection=entry.target_id, entity=entry.entity_id, kind=entry.kind, number=number, gone_at=None
    ).first()
    if line is None:
        raise ValueError(
            f"The statement of {entry.target} holds no document {number} for this entity; read the statement again, or leave "
            "the number empty and let a second person agree."
        )
    told = (
        ("day", entry.work_date, line.work_date),
        ("hours", entry.hours, line.hours),
        ("amount", entry.amount, line.amount),
    )
    different = [
        f"{name} {ours} here, {theirs} there"
        for name, ours, theirs in told
        if None not in (ours, theirs) and ours != theirs
    ]
    if different:
        raise ValueError(f"Document {number} is not this entry: {'; '.join(different)}.")
    if Receipt.objects.filter(connection=entry.target_id, number=number).exists():
        raise ValueError(f"Document {number} already proves another entry that was posted.")
    used = Operation.objects.filter(
        fix=HandledOutside.code, parameters__number=number, rows__result="done", rows__entry__target=entry.target_id
    )
    if used.exclude(rows__entry=entry.pk).exists():
        raise ValueError(f"Document {number} was named for another entry before.")
