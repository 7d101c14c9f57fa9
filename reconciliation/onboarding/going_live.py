"""Going live: proposed on a rehearsal that leaves nothing open, and decided by somebody who prepared nothing of it.

The rule here: what was booked before stays history, the cut-overs hold from this moment, and what is owed from then on is
admitted as if it had just come. What is missing is asked twice, when it is proposed and when it is decided.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Sum

from portal import access, audit, changes_watch, figures, sql
from portal.models import AuditEvent, MasterChange, User
from reconciliation import changes
from reconciliation.models import BookedBefore, CutOver, Onboarding, Rehearsal, RehearsedLine, Route
from reconciliation.onboarding.base import NotYet, fingerprint, sources_of
from reconciliation.onboarding.checklist import checklist
from reconciliation.onboarding.rehearsing import last_closed

FRESH = timedelta(days=7)  # how old a rehearsal may be
State = Onboarding.State
Outcome = RehearsedLine.Outcome
Decision = RehearsedLine.Decision


class Decided(NotYet):
    """It was decided just so already, by whomever: nothing more is to be done, and nothing went wrong."""


def latest(onboarding: Onboarding) -> Rehearsal | None:
    """The rehearsal asked for last, whatever became of it."""
    return Rehearsal.objects.filter(onboarding=onboarding).select_related("period").order_by("-pk").first()


def undecided(rehearsal: Rehearsal) -> int:
    """How many differences nobody decided; what is booked already beyond doubt needs no decision."""
    lines = RehearsedLine.objects.filter(rehearsal=rehearsal, decision="").exclude(outcome=Outcome.AGREES)
    sure = lines.filter(outcome=Outcome.BOOKED, confidence=RehearsedLine.Confidence.CONFIDENT)
    return lines.count() - sure.count()


def to_post(rehearsal: Rehearsal) -> tuple[int, dict[str, Decimal]] | None:
    """What becomes owed when it goes live, as rehearsed: how many documents, and their money by currency.

    None where the rehearsal did not come so far. The money is empty of one that ran before it was kept. The list of approvals
    counts the same in its view.
    """
    if "to_post" not in rehearsal.totals:
        return None
    besides = RehearsedLine.objects.filter(
        rehearsal=rehearsal, outcome=Outcome.BOOKED, decision=Decision.OTHER, document__isnull=False, rule=""
    )  # booked by somebody, and not the same work
    if "owed" not in rehearsal.totals:
        return rehearsal.totals["to_post"] + besides.count(), {}
    money = {code: Decimal(amount) for code, amount in rehearsal.totals["owed"].items()}
    for currency, amount in besides.values_list("currency", "amount_left"):
        money[currency] = money.get(currency, Decimal(0)) + (amount or 0)
    return rehearsal.totals["to_post"] + besides.count(), money


def what_is_missing(onboarding: Onboarding) -> list[str]:
    """What stands in the way of going live, one sentence each; empty when nothing does."""
    missing = [f"{item.title}: {item.sentence}" for item in checklist(onboarding) if item.fails]
    return [*missing, *_of_rehearsal(onboarding)]


def _of_rehearsal(onboarding: Onboarding) -> list[str]:
    found = latest(onboarding)
    if found is None:
        return ["Rehearsal: the last closed month was not replayed yet."]
    if found.state == Rehearsal.State.RUNNING:
        return ["Rehearsal: it is running."]
    if found.state == Rehearsal.State.FAILED:
        return [f"Rehearsal: it could not be made. {found.failure}"]
    missing = []
    last = last_closed(onboarding)
    if last is not None and last.pk != found.period_id:
        missing.append(
            f"Rehearsal: {found.period.code} was replayed, and {last.code} is the last closed period; replay that."
        )
    if not RehearsedLine.objects.filter(rehearsal=found, leg=RehearsedLine.Leg.MONTH).exists():
        missing.append(
            f"Rehearsal: nothing was worked and nothing booked in {found.period.code}, so it proves nothing; "
            "have the sources' history read, and name what was booked."
        )
    if found.finished_at is not None and found.finished_at < sql.now() - FRESH:
        missing.append(f"Rehearsal: it is older than {FRESH.days} days; replay it once more.")
    if found.fingerprint != fingerprint(onboarding):
        missing.append("Rehearsal: the configuration, a rate or a mapping changed since; replay it once more.")
    count = undecided(found)
    if count:
        missing.append(f"Rehearsal: {count:,} {'difference is' if count == 1 else 'differences are'} not decided.")
    return missing


def propose(onboarding: Onboarding, *, by: User, reason: str) -> Onboarding:
    """Propose to go live on the latest rehearsal. Raises NotYet with everything that is missing."""
    access.require(by, access.CONFIGURERS, onboarding.entity_id)
    if not reason.strip():
        raise NotYet("Say why it may go live; the second person reads it.")
    with transaction.atomic():
        locked = _locked(onboarding, State.PREPARING)
        missing = what_is_missing(locked)
        if missing:
            raise NotYet(" ".join(missing))
        locked.state, locked.rehearsal = State.PROPOSED, latest(locked)
        locked.proposed_by, locked.proposed_at, locked.proposed_because = by, sql.now(), reason.strip()
        locked.save()
        audit.record(
            by, "onboarding.submitted", locked, entity=locked.entity, reason=reason.strip(),
            after={"rehearsal": locked.rehearsal_id, "fingerprint": locked.rehearsal.fingerprint if locked.rehearsal else ""},
        )  # fmt: skip
    return locked


def may_decide(onboarding: Onboarding, user: User) -> bool:
    """Whether this person may let it go live: a controller of the entity who prepared nothing of it."""
    return (
        onboarding.state == State.PROPOSED
        and access.may(user, access.APPROVERS, onboarding.entity_id)
        and not why_not(onboarding, user)
    )


def why_not(onboarding: Onboarding, user: User) -> str:
    """What a person did for it who therefore does not decide on it, in a sentence; empty where they did nothing."""
    if onboarding.proposed_by_id == user.pk:
        return "You proposed it; somebody else decides."
    if RehearsedLine.objects.filter(rehearsal=onboarding.rehearsal_id, decided_by=user.pk).exists():
        return "You decided on differences of its rehearsal; somebody else decides."
    rehearsal = onboarding.rehearsal
    if rehearsal is not None and rehearsal.basis == Rehearsal.Basis.FILE and rehearsal.asked_by_id == user.pk:
        return "You brought the bookings that it was compared with; somebody else decides."
    said: Any = CutOver.history.filter(
        entity=onboarding.entity_id, history_user=user.pk, history_date__gte=onboarding.started_at
    )
    if (said.filter(source=onboarding.source_id) if onboarding.source_id else said).exists():
        return "You said its cut-over; somebody else decides."
    return "You began it; somebody else decides." if onboarding.started_by_id == user.pk else ""


def send_back(onboarding: Onboarding, *, by: User, comment: str) -> Onboarding:
    """Do not let it go live yet, and say why; whoever proposed it may take it back as well. Audited."""
    if not comment.strip():
        raise NotYet("Say what must be done first.")
    with transaction.atomic():
        locked = _locked(onboarding, State.PROPOSED, same=State.PREPARING)
        if locked.proposed_by_id != by.pk:
            access.require(by, access.APPROVERS, locked.entity_id)
        locked.state = State.PREPARING
        locked.save()
        audit.record(by, "onboarding.sent-back", locked, entity=locked.entity, reason=comment.strip())
    return locked


def over_limit(onboarding: Onboarding) -> str:
    """Why whoever lets it go live signs in again: what was rehearsed is worth more than a session alone decides."""
    lines = RehearsedLine.objects.filter(rehearsal=onboarding.rehearsal_id).order_by().values_list("currency")
    weights = {
        currency: max(abs(ours or Decimal(0)), abs(theirs or Decimal(0)))
        for currency, ours, theirs in lines.annotate(ours=Sum("amount_left"), theirs=Sum("amount_right"))
    }
    return changes.above_the_limit(weights, [onboarding.entity])


def approve(onboarding: Onboarding, *, by: User, comment: str, signed_in_again: bool = False) -> Onboarding:
    """Let it go live as the person read it. Audited.

    Raises NotYet where it was proposed anew since, or where something is missing by now, and changes.SignInAgain above the limit
    of the entity unless the person has just signed in.
    What is owed from the cut-over on is admitted by whoever follows changes of routes, without anybody asking.
    """
    access.require(by, access.APPROVERS, onboarding.entity_id)
    with transaction.atomic():
        locked = _locked(onboarding, State.PROPOSED, same=State.LIVE)
        if refusal := why_not(locked, by):
            raise NotYet(refusal)
        if locked.proposed_at != onboarding.proposed_at:
            raise NotYet("It was proposed anew since you looked at it; read it again.")
        missing = what_is_missing(locked)
        if missing:
            raise NotYet(" ".join(missing))
        over = over_limit(locked)
        if over and not signed_in_again:
            raise changes.SignInAgain(over)
        kept = _keep_history(locked, by)
        locked.state, locked.decided_by, locked.decided_at, locked.comment = State.LIVE, by, sql.now(), comment.strip()
        locked.save()
        routes = Route.objects.filter(entity=locked.entity, source__in=sources_of(locked)).values_list("pk", flat=True)
        changes_watch.note(MasterChange.Kind.ROUTE, routes)
        audit.record(
            by, "onboarding.live", locked, entity=locked.entity, reason=comment.strip(),
            before={"state": "proposed"}, after={"state": "live", "rehearsal": locked.rehearsal_id, "booked_before": kept},
        )  # fmt: skip
    return locked


def state_of(onboarding: Onboarding) -> str:
    """How it stands where it waits for no decision, with who decided that and when."""
    if onboarding.state == State.LIVE and onboarding.decided_by is not None and onboarding.decided_at is not None:
        return (
            f"{onboarding} is live already: {onboarding.decided_by} let it, {figures.written(onboarding.decided_at)}."
        )
    if (event := _sent_back(onboarding)) is not None:
        return f"Already sent back by {event.actor}, {figures.written(event.at)}."
    return f"{onboarding} is {onboarding.get_state_display().lower()}."


def _sent_back(onboarding: Onboarding) -> AuditEvent | None:
    """Who sent its latest proposal back."""
    told = AuditEvent.objects.filter(
        action="onboarding.sent-back", object_type="onboarding", object_id=str(onboarding.pk), at__gte=onboarding.proposed_at
    ) if onboarding.proposed_at else AuditEvent.objects.none()  # fmt: skip
    return told.select_related("actor").order_by("pk").last()


def _locked(onboarding: Onboarding, state: str, *, same: str = "") -> Onboarding:
    """The row in the state that a step begins in. Raises NotYet, Decided where it is in the one that the step leads to."""
    locked = (
        Onboarding.objects.select_for_update(of=("self",), no_key=True)
        .select_related("entity", "source", "rehearsal", "decided_by")
        .get(pk=onboarding.pk)
    )
    if locked.state == same and (same == State.LIVE or _sent_back(locked) is not None):
        raise Decided(state_of(locked))
    if locked.state != state:
        raise NotYet(f"{locked} is {locked.get_state_display().lower()}.")
    return locked


def _keep_history(onboarding: Onboarding, by: User) -> int:
    """What was booked before, surely or as a person said, is history for good; how many documents."""
    lines = RehearsedLine.objects.filter(rehearsal=onboarding.rehearsal, outcome=Outcome.BOOKED, document__isnull=False)
    chosen = [
        line
        for line in lines.select_related("decided_by")
        if line.decision == Decision.SAME
        or (line.decision == "" and line.confidence == RehearsedLine.Confidence.CONFIDENT)
    ]
    rows = {
        line.document_id: BookedBefore(
            document_id=line.document_id, rehearsal_id=line.rehearsal_id, number=line.number, decided_by=line.decided_by or by,
            at=sql.now(), reason=line.reason or line.sentence,
        )
        for line in chosen
        if line.document_id is not None
    }  # fmt: skip
    BookedBefore.objects.bulk_create(rows.values(), batch_size=2_000)
    return len(rows)
