"""A planned bundle is done: booked entries are taken back and booked anew, and for bills the difference is proposed.

The rule here: what was agreed to is what is done. A row whose entry moved, or would say something else than was shown, is left
and says why. A chunk is one transaction; a worker that dies leaves the rest pending, and a second one finds the bundle taken.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from django.db import transaction
from django.urls import reverse

from portal import access, audit, canonical, figures, notifications, sql
from portal.models import NotificationKind, User
from reconciliation import billing, changes, corrections, validation
from reconciliation.facts import Standing
from reconciliation.models import BundleRow, ChangeSet, RateBundle
from reconciliation.rates import planning
from reconciliation.rates.planning import BOOKED, NotPlannable
from reconciliation.sql import documents
from reconciliation.sql import rates as rates_sql
from reconciliation.validation import Otherwise, booked_at_other_rates

State, Way, Result = RateBundle.State, BundleRow.Way, BundleRow.Result
CHUNK = 500  # entries taken back and booked anew in one transaction


class NotAsAgreed(Exception):
    """A new version that would not be what somebody agreed to; the text says how."""


class Decided(NotPlannable):
    """It was decided just so already, by whomever: nothing more is to be done, and nothing went wrong."""


REFUSALS = (corrections.NotReversible, corrections.NoOpenPeriod, NotAsAgreed)
Ended = tuple[int, str, str, int | None, int | None]


def due() -> list[tuple[int, float]]:
    """Bundles that wait for a worker, with the seconds that they have waited."""
    return rates_sql.bundles_due()


def approve(bundle: RateBundle, *, by: User, signed_in_again: bool = False) -> RateBundle:
    """Agree to a later plan: by a controller of every entity that it touches, who did not plan it.

    Raises NotPlannable, and changes.SignInAgain above the limit unless the person has just signed in.
    """
    with transaction.atomic():
        locked = _to_decide(bundle)
        if locked.approved_by_id is not None:
            raise Decided(state_of(locked))
        if locked.state != State.PLANNED or locked.round == 1:
            raise NotPlannable(state_of(locked))
        refusal = why_not(locked, by)
        if refusal:
            raise NotPlannable(refusal)
        over = changes.plan_over_limit(locked)
        if over and not signed_in_again:
            raise changes.SignInAgain(over)
        _let_go(locked, by)
    bundle.refresh_from_db()
    return bundle


def refuse(bundle: RateBundle, *, by: User, reason: str) -> RateBundle:
    """Do not agree to a later plan, and say why: nothing of it is booked, and it may be planned again. Raises NotPlannable."""
    with transaction.atomic():
        locked = _to_decide(bundle)
        if locked.state == State.CANCELLED:
            raise Decided(state_of(locked))
        if locked.state != State.PLANNED or locked.round == 1:
            raise NotPlannable(state_of(locked))
        if refusal := why_not(locked, by):
            raise NotPlannable(refusal)
        if not reason.strip():
            raise NotPlannable("Say why: whoever planned it reads it.")
        locked.state, locked.refused_by, locked.refused_at = State.CANCELLED, by, sql.now()
        locked.save(update_fields=["state", "refused_by", "refused_at"])
        audit.record(by, "rates.refused", locked, entities=_entities_of(locked), reason=reason.strip())
        _tell([locked.planned_by_id], NotificationKind.HELD, "Not agreed to", locked, note=reason.strip())
    bundle.refresh_from_db()
    return bundle


def _to_decide(bundle: RateBundle) -> RateBundle:
    """The plan, locked. Raises NotPlannable where it was planned anew since."""
    found = (
        RateBundle.objects.select_for_update(of=("self",))
        .select_related("change_set", "approved_by", "refused_by")
        .filter(pk=bundle.pk)
    )
    locked = found.first()
    if locked is None:
        raise NotPlannable("It was planned anew since you looked at it; look at it again.")
    return locked


def state_of(bundle: RateBundle) -> str:
    """Why a plan does not wait for a second person any more, with who ended that and when."""
    if bundle.approved_by is not None and bundle.approved_at is not None:
        return f"Already approved by {bundle.approved_by}, {figures.written(bundle.approved_at)}."
    if bundle.refused_by is not None and bundle.refused_at is not None:
        return f"Already refused by {bundle.refused_by}, {figures.written(bundle.refused_at)}."
    return "This does not wait for a decision of its own."


def why_not(bundle: RateBundle, user: User) -> str:
    """Why a person may not agree to a later plan, in a sentence; empty where they may."""
    if bundle.planned_by_id == user.pk:
        return "You planned it yourself; somebody else agrees."
    entities = set(bundle.rows.values_list("entity_id", flat=True))
    if not all(access.may(user, access.APPROVERS, entity_id) for entity_id in entities):
        return "A controller of every entity whose entries it books anew agrees."
    return ""


def run(bundle_id: int, *, goes_on: Callable[[], bool] = lambda: True) -> bool:
    """Do what one bundle waits for, chunk by chunk; whether something is left. `goes_on` is asked after every chunk."""
    while _step(bundle_id):
        if not goes_on():
            return True
    return False


def _step(bundle_id: int) -> bool:
    """One transaction of work; whether there may be more."""
    with transaction.atomic():
        found = RateBundle.objects.select_for_update(of=("self",), skip_locked=True).filter(pk=bundle_id)
        locked = found.select_related("change_set", "change_set__decided_by").first()
        if locked is None:
            return False
        if locked.state == State.PLANNING:
            planning.plan(locked)
            return False
        if locked.state == State.PLANNED and locked.round == 1:
            return _begin(locked)
        return locked.state == State.RUNNING and _some(locked)


def _begin(locked: RateBundle) -> bool:
    """The change set was applied, and with it the plan that it was approved with; nothing is done on another content."""
    change_set = locked.change_set
    if change_set.state != ChangeSet.State.APPLIED:
        return False
    approver = change_set.decided_by
    if approver is None or not _was_seen(locked, change_set) or approver.pk == locked.planned_by_id:
        locked.state = State.OUTDATED
        locked.save(update_fields=["state"])
        _tell([locked.planned_by_id], NotificationKind.HELD, "Plan it again", locked)
        return False
    _let_go(locked, approver)
    return True


def _was_seen(locked: RateBundle, change_set: ChangeSet) -> bool:
    """Whether who agreed to the change set had this plan shown, and the plan is of what was applied."""
    is_theirs = bool(locked.version) and locked.version == change_set.agreed_plan
    return is_theirs and locked.content_hash == planning.content_of(change_set)


def _let_go(locked: RateBundle, approver: User) -> None:
    locked.state, locked.started_at = State.RUNNING, sql.now()
    locked.approved_by, locked.approved_at = approver, sql.now()
    locked.save(update_fields=["state", "started_at", "approved_by", "approved_at"])
    bills = {
        str(bill.invoice): {"billed": str(bill.billed), "would_be": str(bill.would_be), "currency": bill.currency}
        for bill in locked.bills.select_related("invoice__current")
    }
    audit.record(
        approver, "rates.rebooked", locked, entities=_entities_of(locked), reason=locked.change_set.reason,
        after={"rows": locked.total, "rebook": locked.rows.filter(way=Way.REBOOK).count(), "bills": bills},
    )  # fmt: skip
    _propose(locked)


def _entities_of(bundle: RateBundle) -> list[int]:
    """The entities whose entries it books anew or leaves."""
    return list(bundle.rows.order_by().values_list("entity_id", flat=True).distinct())


def _entity_of(bundle: RateBundle) -> int | None:
    ids = _entities_of(bundle)
    return ids[0] if len(ids) == 1 else None


def _propose(locked: RateBundle) -> None:
    """Say of every bill what it is off by; who is finance in its entity is told."""
    now = sql.now()
    locked.bills.update(proposed_at=now)
    ended = locked.rows.filter(way=Way.BILL, result=Result.PENDING).update(
        result=Result.DONE, detail="Its bill's difference is proposed.", finished_at=now
    )
    locked.done += ended
    locked.save(update_fields=["done"])
    billing.tell_of_rates(
        sorted(locked.bills.values_list("invoice_id", flat=True))
    )  # each is a cause that somebody owns
    for entity_id in locked.bills.order_by().values_list("entity_id", flat=True).distinct():
        people = access.holders(access.FIXERS, entity_id).values_list("pk", flat=True)
        _tell(people, NotificationKind.BILLING, "Bills are off by a difference", locked, entity_id)


def _some(locked: RateBundle) -> bool:
    """The next chunk; whether there may be more."""
    entry_ids = rates_sql.next_rows(locked.pk, CHUNK)
    if not entry_ids:
        _finish(locked)
        return False
    documents.lock(documents.of_entries(entry_ids))
    wanted, ended = _still_wanted(locked, entry_ids)
    ended += _rebook(locked, wanted)
    locked.done += rates_sql.end_rows(locked.pk, ended)
    locked.save(update_fields=["done"])
    return True


def _still_wanted(locked: RateBundle, entry_ids: Sequence[int]) -> tuple[dict[int, Standing], list[Ended]]:
    """The entries that would say exactly what was agreed to, and the ends of those that would not."""
    now: Mapping[int, Otherwise] = {one.entry.id: one for one in booked_at_other_rates(entry_ids)}
    billed = {row[0] for row in rates_sql.billed(entry_ids)}
    wanted: dict[int, Standing] = {}
    ended: list[Ended] = []
    rows = locked.rows.filter(entry__in=entry_ids, way=Way.REBOOK, result=Result.PENDING)
    for row in rows:
        left = _moved(row, now.get(row.entry_id), is_billed=row.entry_id in billed)
        if left:
            ended.append((row.entry_id, Result.SKIPPED, left, None, None))
        else:
            wanted[row.entry_id] = now[row.entry_id].entry
    return wanted, ended


def _moved(row: BundleRow, now: Otherwise | None, *, is_billed: bool) -> str:
    """Why a row is not done any more, in words; empty where it is as it was planned."""
    if now is None:
        return "It says by now what it should, or is off the books."
    if now.entry.state not in BOOKED:
        return f"It is {now.entry.state.replace('_', ' ')} now."
    if now.is_being_reversed:
        return "It is being taken back already."
    if now.is_earlier:
        return now.stopped_by
    if is_billed:
        return "It stands on a bill by now; plan again, and the bill's difference is proposed."
    if now.stopped_by:
        return f"It would not be booked anew: {now.stopped_by}"
    if (now.figures.rate, now.figures.amount, now.entry.amount) != (
        row.rate_after,
        row.amount_after,
        row.amount_before,
    ):
        shown, found = row.amount_after or Decimal(0), now.figures.amount or Decimal(0)
        return f"It would be {found} {row.currency} now, and {shown} {row.currency} was agreed to; plan again."
    return ""


def _rebook(locked: RateBundle, wanted: Mapping[int, Standing]) -> list[Ended]:
    """Take all back and book them anew; where that breaks, halve by document until the one that breaks it stands alone."""
    if not wanted or locked.approved_by is None:
        return []
    try:
        with transaction.atomic():
            return _book_anew(locked, wanted, locked.approved_by)
    except REFUSALS as problem:
        of = sorted({entry.document_id for entry in wanted.values()})
        if len(of) == 1:
            return [(entry_id, Result.FAILED, str(problem), None, None) for entry_id in sorted(wanted)]
        first = set(of[: len(of) // 2])
        halves = (
            {i: entry for i, entry in wanted.items() if (entry.document_id in first) is part} for part in (True, False)
        )
        return [end for half in halves for end in _rebook(locked, half)]


def _book_anew(locked: RateBundle, wanted: Mapping[int, Standing], approver: User) -> list[Ended]:
    """Finance's own new version of each document, at the agreed rate; it waits for the receipts of the reversals."""
    reason = f"{locked.change_set.reason} (change set {locked.change_set_id}, agreed to by {approver})"[:400]
    of = sorted({entry.document_id for entry in wanted.values()})
    canonical.correct(of, {"rate_source": "contract"}, author=approver, reason=reason)
    validation.admit(of, actor=approver.get_username())
    made = corrections.reverse(sorted(wanted), by=approver, reason=reason, told=True)
    anew: dict[int, list[tuple[int, str, Decimal | None]]] = defaultdict(list)
    for document_id, entry_id, state, amount in rates_sql.current_entries(of):
        anew[document_id].append((entry_id, state, amount))
    agreed: dict[int, Decimal] = defaultdict(Decimal)
    for row in locked.rows.filter(entry__in=list(wanted), way=Way.REBOOK):
        agreed[row.document_id] += row.amount_after or Decimal(0)
    for document_id in of:
        _must_be_as_agreed(document_id, anew[document_id], agreed[document_id])
    return [
        (i, Result.DONE, "", made.reversals[i], anew[entry.document_id][0][0]) for i, entry in sorted(wanted.items())
    ]


def _must_be_as_agreed(document_id: int, anew: Sequence[tuple[int, str, Decimal | None]], agreed: Decimal) -> None:
    """Raise NotAsAgreed unless the new version waits for the reversal, at exactly the amount that was agreed to."""
    stopped = [entry_id for entry_id, state, _ in anew if state != "ready"]
    if stopped or not anew:
        why = rates_sql.sentences_of(stopped)
        raise NotAsAgreed(f"It would not be booked anew: {'; '.join(why) or 'nothing is owed for it any more.'}")
    found = sum((amount or Decimal(0) for _, _, amount in anew), Decimal(0))
    if found != agreed:
        raise NotAsAgreed(f"Document {document_id} would be {found} now, and {agreed} was agreed to; plan again.")


def _finish(locked: RateBundle) -> None:
    locked.state, locked.finished_at = State.DONE, sql.now()
    locked.save(update_fields=["state", "finished_at"])
    editors = locked.change_set.editors.values_list("user_id", flat=True)
    _tell({*editors, locked.planned_by_id}, NotificationKind.FINISHED, "Booked anew", locked)


def _tell(
    people: object,
    kind: NotificationKind,
    what: str,
    bundle: RateBundle,
    entity_id: int | None = None,
    *,
    note: str = "",
) -> None:
    where = reverse("rate_bundle", args=[bundle.pk])
    notifications.notify(
        people, kind, f"{what}: {bundle.change_set.title}"[:300], url=where, entity=entity_id or _entity_of(bundle),  # type: ignore[arg-type]
        note=note or bundle.change_set.reason, key=f"bundle:{bundle.pk}:{what}:{entity_id or ''}",
    )  # fmt: skip
