"""Fixes that decide: waive a rule, hand an entry back, take it out of the books, send it again, or just look once more."""

from __future__ import annotations

from collections.abc import Sequence

from django import forms

from portal import sql
from portal.models import State
from reconciliation import cases, corrections, questions, validation
from reconciliation.fixes.base import Fix, FixForm, Work
from reconciliation.models import HandBack, Hold, TargetQuestion
from reconciliation.rules import UNSETTLED


class Waive(Fix):
    """The rule is right and the entry may go all the same."""

    code = "waive"
    label = "Waive with reason"
    key = "waive"
    help = "Lets the entries pass this one rule. The waiver carries your name and reason for good."

    def apply(self, work: Work, entry_ids: Sequence[int]) -> None:
        """Waive the case's holds of these entries, then validate them for the rest."""
        if work.case is None:
            raise ValueError("A rule is waived from the case that holds the entries.")
        holds = Hold.objects.filter(case=work.case, entry__in=entry_ids, closed_at=None).values_list("pk", flat=True)
        validation.waive(list(holds), by=work.user, reason=work.reason, told=True)


class AcceptBooked(Fix):
    """Another rate is agreed by now, and what was booked is right all the same."""

    code = "accept-booked"
    label = "Accept as booked"
    help = "Leaves the entries as they are booked, with your reason; they are billed so. Another rate later is asked about again."
    states = frozenset({State.ACCEPTED, State.POSTED, State.RECONCILED})

    def apply(self, work: Work, entry_ids: Sequence[int]) -> None:
        """Close what holds them; which rate was agreed then stays with it."""
        held = Hold.objects.filter(rule=UNSETTLED, entry__in=entry_ids, closed_at=None).values_list("pk", flat=True)
        cases.close_hold_rows(list(held), cases.WAIVED, by=work.user, reason=work.reason)


class HandBackForm(FixForm):
    """What the source's people should put right."""

    message = forms.CharField(label="Message", widget=forms.Textarea(attrs={"rows": 3}), max_length=2000)


class HandBackToSource(Fix):
    """The person who recorded the time has to put it right; the entry waits for the next version."""

    code = "hand-back"
    label = "Hand back to the source"
    key = "hand_back"
    help = "The entry stays held until the source sends a corrected version. The message is kept with it."
    form_class = HandBackForm
    asks_source = True
    needs_reason = False
    states = frozenset({State.HELD, State.REJECTED})
    leaves_held = True
    decides = False

    def apply(self, work: Work, entry_ids: Sequence[int]) -> None:
        """Note who handed back what; an entry that waits already keeps its first message."""
        moment = sql.now()
        HandBack.objects.bulk_create(
            [HandBack(entry_id=i, by=work.user, at=moment, message=work.parameters["message"]) for i in entry_ids],
            ignore_conflicts=True,
        )


class Repost(Fix):
    """The cause in the target is gone; the same content goes again under the same key."""

    code = "re-post"
    label = "Re-post"
    key = "repost"
    help = "Sends refused entries again, under the same key. Entries in doubt are looked up instead, never sent again."
    needs_reason = False
    states = frozenset({State.REJECTED, State.HELD})

    def apply(self, work: Work, entry_ids: Sequence[int]) -> None:
        """Close what the refusal held and let them go; content that changed meanwhile goes under a new key."""
        corrections.repost(entry_ids, by=work.user, reason=work.reason or "re-posted")


class CheckInTarget(Fix):
    """Ask the target now whether it holds the entries."""

    code = "check-in-target"
    label = "Check in the ERP"
    help = "Looks the entries up by their key now, or what stands for their documents. What is found is adopted; nothing is sent."
    needs_reason = False
    states = frozenset({State.HELD, State.IN_DOUBT, State.ACCEPTED, State.POSTED, State.RECONCILED})
    leaves_held = True
    decides = False

    def apply(self, work: Work, entry_ids: Sequence[int]) -> None:
        """Ask; the outbox looks."""
        questions.ask(entry_ids, by=work.user, reason=work.reason, told=True)


class BookAgain(Fix):
    """The target holds nothing under the old key, so the entry is booked under a new one."""

    code = "book-again"
    label = "Book again under a new key"
    help = (
        "Looks the entries up once more. Only what the target then does not hold is cancelled and goes again under a new key; "
        "what it holds is adopted and compared."
    )
    states = frozenset({State.HELD, State.ACCEPTED, State.POSTED, State.RECONCILED})
    leaves_held = True

    def apply(self, work: Work, entry_ids: Sequence[int]) -> None:
        """Keep the decision and ask; the outbox looks, and the absent ones go again."""
        questions.ask(
            entry_ids, by=work.user, reason=work.reason, if_absent=TargetQuestion.IfAbsent.BOOK_AGAIN, told=True
        )


class LeaveOut(Fix):
    """The target holds nothing any more, and that is right."""

    code = "leave-out"
    label = "Leave out: gone for good"
    help = "Looks the entries up once more. What the target then does not hold is taken off the ledger for good."
    states = frozenset({State.HELD, State.ACCEPTED, State.POSTED, State.RECONCILED})
    leaves_held = True

    def apply(self, work: Work, entry_ids: Sequence[int]) -> None:
        """Keep the decision and ask; the outbox looks, and the absent ones are left out."""
        questions.ask(
            entry_ids, by=work.user, reason=work.reason, if_absent=TargetQuestion.IfAbsent.LEAVE_OUT, told=True
        )


class Reverse(Fix):
    """Take posted entries out of the books, in an open period."""

    code = "reverse"
    label = "Reverse"
    help = "Books a reversal of what was posted, in an open period. Nothing is deleted."
    states = frozenset({State.HELD, State.ACCEPTED, State.POSTED, State.RECONCILED})
    takes_back = True

    def apply(self, work: Work, entry_ids: Sequence[int]) -> None:
        """Reverse what stands in the books for these entries' documents."""
        corrections.reverse_standing(entry_ids, by=work.user, reason=work.reason, told=True)


class ReverseAndRebook(Reverse):
    """Take out what was posted and book what is right; the new version goes once the reversal is receipted."""

    code = "reverse-and-rebook"
    label = "Reverse and rebook"
    help = (
        "Books a reversal in an open period. The corrected version, or the same again, follows when that is receipted."
    )

    def apply(self, work: Work, entry_ids: Sequence[int]) -> None:
        """Reverse what stands, and let what is right follow."""
        corrections.reverse_and_rebook(entry_ids, by=work.user, reason=work.reason, told=True)


class CallBackReversal(Fix):
    """The entry was right after all, and its reversal has not gone yet."""

    code = "call-back-reversal"
    label = "Call the reversal back"
    help = "Takes reversals that have not gone off the ledger again. What they were to take back stands as it was."
    states = frozenset({State.HELD, State.READY, State.REJECTED})

    def apply(self, work: Work, entry_ids: Sequence[int]) -> None:
        """Cancel the reversals."""
        corrections.withdraw_reversal(entry_ids, by=work.user, reason=work.reason, told=True)


class TakenBackThere(Fix):
    """The target takes no opposite, and its people took the record back themselves."""

    code = "taken-back-there"
    label = "Taken back there"
    help = (
        "Looks now whether the target still holds what was to be taken back. Once it does not, the entry and its reversal "
        "leave the ledger, and what is right goes."
    )
    states = frozenset({State.REJECTED})
    leaves_held = True

    def apply(self, work: Work, entry_ids: Sequence[int]) -> None:
        """Keep the decision and ask about what stands; the outbox looks."""
        questions.taken_back_there(entry_ids, by=work.user, reason=work.reason)


class PutBack(Fix):
    """The entry was reversed by mistake."""

    code = "put-back"
    label = "Put back"
    help = (
        "Books reversed entries again, once, in an open period and under a key of their own. The net is the original."
    )
    states = frozenset({State.REVERSED})

    def apply(self, work: Work, entry_ids: Sequence[int]) -> None:
        """Book them again."""
        corrections.put_back(entry_ids, by=work.user, reason=work.reason, told=True)


class SameWork(Fix):
    """The same work was recorded in two tools; one of the two is left out."""

    code = "same-work"
    label = "Same work: leave out"
    help = "Leaves these entries out for good, because the other tool's record of the same work is the one that counts."

    def apply(self, work: Work, entry_ids: Sequence[int]) -> None:
        """Cancel them, with the reason."""
        validation.exclude(entry_ids, by=work.user, reason=work.reason)


class Recheck(Fix):
    """Validate once more against today's master data."""

    code = "recheck"
    label = "Check again"
    help = "Runs the rules again on today's master data, without changing anything else."
    needs_reason = False
    decides = False

    def apply(self, work: Work, entry_ids: Sequence[int]) -> None:
        """Run the rules."""
        validation.recheck(entry_ids, actor=work.actor, reason=work.reason or "checked again")
