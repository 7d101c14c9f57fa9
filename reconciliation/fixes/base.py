"""What every fix is, and how one looks at what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms

from portal import access, sql
from portal.models import GrantRole, State, User

if TYPE_CHECKING:
    from reconciliation.models import ExceptionCase


@dataclass(frozen=True, slots=True)
class Work:
    """What one fix is asked to do: by whom, why, with what, and for which cause."""

    user: User
    reason: str
    parameters: Mapping[str, Any]
    case: ExceptionCase | None
    entity_id: int

    @property
    def actor(self) -> str:
        """The name that transitions carry."""
        return self.user.get_username()


class FixForm(forms.Form):
    """The value a fix needs. `case` and `user` narrow its choices to what the person may see."""

    def __init__(self, *args: Any, case: ExceptionCase | None, user: User, **options: Any) -> None:
        super().__init__(*args, **options)
        self.case = case
        self.user = user

    def parameters(self) -> dict[str, Any]:
        """The cleaned values as JSON keeps them."""
        return {name: getattr(value, "pk", value) for name, value in self.cleaned_data.items()}


class Fix:
    """One thing a person can do about held entries."""

    code: ClassVar[str]
    label: ClassVar[str]  # a verb phrase, as on the button
    help: ClassVar[str]  # what it does, in a sentence
    form_class: ClassVar[type[FixForm]] = FixForm
    roles: ClassVar[frozenset[GrantRole]] = access.FIXERS
    key: ClassVar[str] = ""  # its action of the keyboard, where it has one of its own
    needs_reason: ClassVar[bool] = True
    states: ClassVar[frozenset[State]] = frozenset({State.HELD})  # of the entries it can be used on
    takes_back: ClassVar[bool] = False  # what comes of it on the ledger is a reversal
    decides: ClassVar[bool] = True  # money moves by a person's judgement, so that much of it takes a second person
    asks_source: ClassVar[bool] = False  # somebody at the source has to act, and has to be told
    leaves_held: ClassVar[bool] = False  # done means noted: the entries stay held until somebody else acts

    def title(self, work: Work, count: int) -> str:
        """What is done to how many entries, as the operation's page is headed."""
        return f"{self.label}: {count} {'entry' if count == 1 else 'entries'}"

    @classmethod
    def second_person(cls, _parameters: Mapping[str, Any]) -> str:
        """Why a second person has to agree whatever the amount, in a sentence; empty for most."""
        return ""

    @classmethod
    def refuses(cls, _parameters: Mapping[str, Any], _count: int) -> str:
        """Why it cannot be used with these parameters on so many entries, in a sentence; empty for most."""
        return ""

    def prepare(self, work: Work) -> None:
        """What is done once for the whole operation, before its first row; nothing for most."""

    def apply(self, work: Work, entry_ids: Sequence[int]) -> None:
        """Do it to some entries, inside the caller's transaction."""
        raise NotImplementedError


ASKED = {
    "nothing": "The target is asked now; what it holds is adopted, and nothing is sent.",
    "book_again": "The target is asked once more; if it holds nothing, it goes again under a new key.",
    "leave_out": "The target is asked once more; if it holds nothing, it is left out for good.",
    "taken_back": "The target is asked now; if it holds the record no more, the entry and its reversal leave the ledger.",
}  # what an open question to the target means for its entry, by what is decided for its absence


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """Where one entry's document stands after a fix."""

    passes: bool
    sentence: str
    successor_id: int | None
    hours: Decimal
    amount: Decimal | None
    currency: str
    project: str = ""  # its code


def outcomes(entry_ids: Sequence[int]) -> dict[int, RowOutcome]:
    """For each entry, where the newest live entry of its document and target stands, in words; one statement.

    An entry without a live successor has been withdrawn, which counts as passing: nothing is held any more. Every look-up
    goes by its one key (`OFFSET 0` keeps it apart), whatever the statistics: without them, as for rows of this very transaction,
    the database would read all entries of the target anew for each of these.
    """
    found = sql.rows(
        """
        SELECT e.id, n.id, n.state, coalesce(n.hours, 0), n.amount, n.currency, n.waits_on, h.sentences, EXISTS (
                 SELECT 1 FROM (SELECT id FROM portal_ledgerentry WHERE reverses_id = n.id OFFSET 0) r
                  CROSS JOIN LATERAL (SELECT state FROM portal_ledgerstate WHERE entry_id = r.id OFFSET 0) rs
                  WHERE rs.state <> 'cancelled'),
               (SELECT q.if_absent FROM reconciliation_targetquestion q
                 WHERE q.answered_at IS NULL AND (q.entry_id = e.id OR q.entry_id = e.reverses_id AND q.if_absent = 'taken_back')
                 LIMIT 1),
               coalesce(p.code, '')
          FROM portal_ledgerentry e
          LEFT JOIN LATERAL (
            SELECT x.id, s.state, s.waits_on, x.hours, x.amount, x.currency, x.project_id
              FROM (SELECT o.* FROM portal_ledgerentry o WHERE o.document_id = e.document_id OFFSET 0) x
             CROSS JOIN LATERAL (SELECT state, waits_on FROM portal_ledgerstate WHERE entry_id = x.id OFFSET 0) s
             WHERE x.target_id = e.target_id
               AND (x.reverses_id IS NULL) = (e.reverses_id IS NULL) AND s.state NOT IN ('cancelled', 'reversed')
             ORDER BY x.version DESC, x.generation DESC, (s.state = 'held') DESC, x.part LIMIT 1
          ) n ON true
          LEFT JOIN LATERAL (
            SELECT string_agg(hold.sentence, ' ' ORDER BY hold.id) AS sentences
              FROM reconciliation_hold hold WHERE hold.entry_id = n.id AND hold.closed_at IS NULL
          ) h ON true
          LEFT JOIN portal_project p ON p.id = n.project_id
         WHERE e.id = ANY(%s)""",
        [list(entry_ids)],
    )
    result = {}
    for entry_id, live_id, state, hours, amount, currency, waits_on, sentences, taken_back, asked, project in found:
        if live_id is None:
            result[entry_id] = RowOutcome(True, "Not owed any more.", None, Decimal(0), None, "")
            continue
        passes = state not in (State.HELD, State.REJECTED)
        if asked:
            sentence = ASKED[asked]
        elif not passes:
            sentence = sentences or f"Still {State(state).label.lower()}."
        elif taken_back:
            sentence = f"{State(state).label}; its reversal is on its way."
        elif waits_on.startswith("reversal:"):
            sentence = "Passes; waits until the reversal is receipted."
        elif waits_on:
            sentence = f"Passes; waits on {waits_on.replace(':', ' ').replace('_', ' ')}."
        else:
            sentence = "Will be posted." if state == State.READY else f"{State(state).label}."
        result[entry_id] = RowOutcome(
            passes, sentence, live_id if live_id != entry_id else None, hours, amount, currency or "", project
        )
    return result
