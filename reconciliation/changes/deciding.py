"""Deciding on a change set: approved or rejected by somebody who edited none of it, or applied at once and reviewed afterwards.

The rule here: what is approved is what was seen. The hash names the content, the fingerprint what the dry-run looked at; where
either moved, nobody has agreed to anything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Q, Sum

from portal import access, audit, figures, sql
from portal.importing.problems import Refused
from portal.master_intake import rejected
from portal.models import LegalEntity, User
from reconciliation import policies
from reconciliation.changes import measuring, telling
from reconciliation.changes.drafting import (
    fits,
    hash_of,
    is_due,
    is_editor,
    lock,
    look,
    reached,
)  # fmt: skip
from reconciliation.changes.kinds import BY_CODE
from reconciliation.changes.lines import ChangeRefused, frozen_lines, rows_of
from reconciliation.changes.writing import Written
from reconciliation.models import BundleRow, ChangeLine, ChangeSet, RateBundle

State = ChangeSet.State
REST = "*"
JUST_NOW = timedelta(hours=1)  # how long who gave somebody rights is not agreed with by them
AGREED = (State.APPROVED, State.SCHEDULED, State.APPLYING, State.APPLIED)


class Moved(ChangeRefused):
    """The dry-run says something else than it did; what changed, in a sentence. The new one is kept."""


class Decided(ChangeRefused):
    """The same person has decided just so already: nothing more is to be done, and nothing went wrong."""


class SignInAgain(ChangeRefused):
    """The money is above the limit up to which a session alone is enough; whoever decides signs in again."""


def may_decide(change_set: ChangeSet, user: Any) -> bool:
    """Whether a person may approve or reject it now."""
    return change_set.state == State.SUBMITTED and not why_not(change_set, user)


def why_not(change_set: ChangeSet, user: Any) -> str:
    """Why a person may not decide on it, in a sentence; empty where they may."""
    if is_editor(change_set, user):
        return "You wrote in it yourself; somebody else decides."
    roles = telling.deciding_roles(change_set)
    everywhere = [*change_set.entities.values_list("pk", flat=True), *([None] if change_set.is_shared else [])]
    if not roles or not all(access.may(user, roles, entity_id) for entity_id in everywhere):
        return "An admin or controller of every entity that it touches decides."
    if user.get_username() in telling.whose_rights(change_set):
        return "It changes your own rights; somebody else decides."
    if _empowered_by_an_editor(change_set, user):
        return "Somebody who wrote in it gave you rights within the last hour; somebody else decides."
    return ""


def _empowered_by_an_editor(change_set: ChangeSet, user: Any) -> bool:
    """Whether who wrote in it has just let the person decide: by proposing a grant of theirs, or by agreeing to it."""
    editors = change_set.editors.values("user")
    given = ChangeSet.objects.filter(
        lines__model="grant", lines__after__user=user.get_username(), applied_at__gte=sql.now() - JUST_NOW
    )
    return given.filter(
        Q(editors__user__in=editors) | Q(decided_by__in=editors) | Q(decided_by=None, submitted_by__in=editors)
    ).exists()


def approve(
    change_set: ChangeSet, by: User, comment: str = "", *, plan: str = "", signed_in_again: bool = False
) -> ChangeSet:
    """Agree to what was seen: `change_set` as the person read it, its hash and its fingerprint. It is applied on its day.

    `plan` is the version of the plan for the books that the page showed; without it nothing follows there.

    Where entries moved and they are too many to be looked at while the person waits, they have agreed: a worker looks, and
    approves in their name what says the same. Raises ChangeRefused for who may not or where the content is another by now, Moved
    where the dry-run is (the new one is kept), SignInAgain above the limit unless the person has just signed in.
    """
    moved = ""
    with transaction.atomic():
        locked = _to_decide(change_set, by, AGREED)
        refuse_what_was_not_seen(locked, change_set)
        over = over_limit(locked)
        if over and not signed_in_again:
            raise SignInAgain(over)
        locked.comment, locked.agreed_plan = comment.strip(), plan
        written = moved_since(locked)
        if written is not None and not fits(written):
            locked.agreed_by = by
        else:
            moved = moved_figures(locked) if written is not None else ""
            if not moved:
                _let_go(locked, by)
        locked.save()
    change_set.refresh_from_db()
    if moved:
        raise Moved(moved)
    return change_set


def conclude(locked: ChangeSet) -> bool:
    """Look again at what somebody agreed to, and approve it in their name where it says the same; whether it was.

    Raises ChangeRefused where it cannot be written any more.
    """
    by = locked.agreed_by
    if by is None:
        return False
    locked.agreed_by = None
    moved = why_not(locked, by)
    if not moved and moved_since(locked) is not None:
        moved = moved_figures(locked)
    if moved:
        locked.comment = locked.agreed_plan = ""
        locked.save()
        telling.to_look_again(locked, by, moved)
        return False
    _let_go(locked, by)
    locked.save()
    return True


def refuse_what_was_not_seen(locked: ChangeSet, seen: ChangeSet) -> None:
    """Raise ChangeRefused where there is no dry-run yet, Moved where it is not the one that a page showed."""
    if locked.previewed_at is None:
        raise ChangeRefused("Its dry-run is not made yet; wait for it.")
    if locked.agreed_by is not None:
        raise ChangeRefused(f"{locked.agreed_by} has agreed to it; its dry-run is being made once more.")
    if seen.fingerprint != locked.fingerprint:
        raise Moved("The dry-run was made again since you looked at it. Nothing was decided; look at it again.")


def _let_go(locked: ChangeSet, by: User) -> None:
    """It is approved, and takes effect on its day."""
    locked.state = State.APPROVED if is_due(locked) else State.SCHEDULED
    locked.decided_by, locked.decided_at = by, sql.now()
    audit.record(
        by, "change.approved", locked, entities=reached(locked), reason=locked.comment,
        after={
            "hash": locked.content_hash, "fingerprint": locked.fingerprint, "plan": locked.agreed_plan, "preview": locked.preview,
        },
    )  # fmt: skip
    telling.to_editors(locked, "Approved", by)


def reject(change_set: ChangeSet, by: User, comment: str) -> ChangeSet:
    """Do not agree, and say why; nothing is changed."""
    if not comment.strip():
        raise ChangeRefused("Say why: whoever wrote it reads it.")
    with transaction.atomic():
        locked = _to_decide(change_set, by, (State.REJECTED,))
        locked.state, locked.decided_by, locked.decided_at = State.REJECTED, by, sql.now()
        locked.agreed_by, locked.comment = None, comment.strip()
        locked.save()
        audit.record(by, "change.rejected", locked, entities=reached(locked), reason=locked.comment)
        rejected.reopen(locked.takes_up.all(), by=by, reason=f"Change set {locked.pk} was rejected: {locked.comment}")
        telling.to_editors(locked, "Rejected", by, held=True)
    change_set.refresh_from_db()
    return change_set


def may_review(change_set: ChangeSet, user: Any) -> bool:
    """Whether a person may review an emergency that was applied."""
    return (
        change_set.is_emergency
        and change_set.reviewed_by_id is None
        and change_set.state in (State.APPLYING, State.APPLIED)
        and not why_not(change_set, user)
    )


def review(change_set: ChangeSet, by: User, comment: str) -> ChangeSet:
    """Say afterwards what another person thinks of an emergency; a wrong one is rolled back."""
    if not comment.strip():
        raise ChangeRefused("Say what you found.")
    with transaction.atomic():
        locked = lock(change_set)
        if not may_review(locked, by):
            raise ChangeRefused(why_not(locked, by) or "There is nothing to review here.")
        locked.reviewed_by, locked.reviewed_at, locked.review = by, sql.now(), comment.strip()
        locked.save(update_fields=["reviewed_by", "reviewed_at", "review"])
        audit.record(by, "change.reviewed", locked, entities=reached(locked), reason=locked.review)
        telling.to_editors(locked, "Reviewed", by)
    change_set.refresh_from_db()
    return change_set


def preview(change_set: ChangeSet) -> dict[str, Any]:
    """The dry-run of what is written now, in figures; kept until it is decided.

    Where it reaches too many entries, that of what is submitted is left to a worker. Raises ChangeRefused, also while somebody
    has agreed to the one that stands: a worker compares it, and what they saw is not put away before.
    """
    with transaction.atomic():
        locked = lock(change_set)
        if locked.agreed_by is not None:
            raise ChangeRefused(f"{locked.agreed_by} has agreed to the dry-run that stands; a worker looks once more.")
        is_small = fits(bound(locked).written)
        if not is_small and locked.state == State.DRAFT:
            raise ChangeRefused(
                "It touches more open entries than are looked at while you wait. Submit it: a worker makes the dry-run, and "
                "nothing changes until somebody agrees to what it shows."
            )
        look(locked, inline=is_small)
        if locked.state in (State.DRAFT, State.SUBMITTED):
            locked.save(update_fields=["preview", "previewed_at", "fingerprint"])
    change_set.refresh_from_db()
    return dict(locked.preview)


def weights_of(preview: dict[str, Any]) -> dict[str, Decimal]:
    """Amount by currency that a change moves: what passes, fails or leaves, what is re-priced, and what is booked otherwise."""
    found: dict[str, Decimal] = {}
    for name in ("passes", "fails", "leaves", "repriced", "booked", *measuring.NEW):
        for currency, sums in preview.get(name, {}).get("money", {}).items():
            largest = max(abs(Decimal(sums["before"])), abs(Decimal(sums["after"])))
            found[currency] = max(found.get(currency, Decimal(0)), largest)
    return found


def over_limit(change_set: ChangeSet) -> str:
    """Why whoever decides signs in again, in a sentence; empty below the limits of the entities that it touches."""
    for line in change_set.lines.all():
        guarded = [column.name for column in BY_CODE[line.model].columns if column.is_guarded]
        if moved := [name for name in guarded if _said(line.before, name) != _said(line.after, name)]:
            names = ", ".join(name.replace("_", " ") for name in moved)
            return f"It changes the {names} of {line.record}, which a session alone does not decide."
    if change_set.preview.get("booked", {}).get("is_cut"):
        return (
            f"More than {measuring.MOST_BOOKED:,} booked entries may say something else, and the older ones were not counted: a "
            "session alone does not decide that."
        )
    entities = change_set.entities.all() if not change_set.is_shared else LegalEntity.objects.all()
    if over := above_the_limit(weights_of(change_set.preview), entities):
        return over
    plan = RateBundle.objects.filter(change_set=change_set, round=1, started_at=None).first()
    return plan_over_limit(plan) if plan is not None else ""


def _said(cells: Mapping[str, Any] | None, name: str) -> Any:
    """What a record says in one field; of one that is not there nothing."""
    return (cells or {}).get(name) or None


def plan_over_limit(bundle: RateBundle) -> str:
    """Why whoever agrees to a plan for the books signs in again, in a sentence; empty below the limits of its entities."""
    planned = bundle.rows.exclude(way=BundleRow.Way.LEFT)
    weights: dict[str, Decimal] = defaultdict(Decimal)
    for currency, before, after in (
        planned.order_by().values_list("currency").annotate(before=Sum("amount_before"), after=Sum("amount_after"))
    ):
        weights[currency] = max(abs(before or Decimal(0)), abs(after or Decimal(0)))
    entities = LegalEntity.objects.filter(pk__in=planned.order_by().values("entity_id").distinct())
    return above_the_limit(weights, entities.order_by("code"))


def above_the_limit(weights: Mapping[str, Decimal], entities: Iterable[LegalEntity]) -> str:
    """Why money by currency is more than a session alone may decide in some entity, in a sentence; empty where it is not."""
    for entity in entities:
        limits = policies.merged(entity.policy).step_up_amount
        for currency, weight in sorted(weights.items()):
            limit = limits.get(currency) or limits.get(REST)
            if limit is not None and weight > limit:
                return (
                    f"It moves {figures.amount(weight, currency)} {currency}, more than the "
                    f"{figures.amount(limit, currency)} {currency} that a session alone may decide in {entity.code}."
                )
    return ""


def _to_decide(change_set: ChangeSet, by: User, same: Collection[str]) -> ChangeSet:
    """The row that waits; `same` are its states once it was decided as it is now. Raises Decided, ChangeRefused."""
    locked = lock(change_set)
    if locked.state in same and locked.decided_by_id == by.pk and locked.content_hash == change_set.content_hash:
        raise Decided(f"You have decided so already: it is {locked.get_state_display().lower()}.")
    if locked.state != State.SUBMITTED:
        who = f" by {locked.decided_by}" if locked.decided_by else ""
        raise ChangeRefused(
            f"This does not wait for a decision any more: it is {locked.get_state_display().lower()}{who}."
        )
    refusal = why_not(locked, by)
    if refusal:
        raise ChangeRefused(refusal)
    if locked.content_hash != change_set.content_hash or hash_of(locked) != locked.content_hash:
        raise ChangeRefused("It is not what you looked at any more; read it again.")
    return locked


def moved_since(locked: ChangeSet) -> Written | None:
    """What the lines touch, where the dry-run was not made on it as it stands now; None where it was. Raises ChangeRefused."""
    now = bound(locked)
    refuse_another_base(locked, now.written)
    return None if now.fingerprint == locked.fingerprint else now.written


def bound(locked: ChangeSet) -> measuring.Looked:
    """What its lines touch and the fingerprint of that as it stands now, without validating. Raises ChangeRefused."""
    try:
        return measuring.bind(frozen_lines(locked), content=locked.content_hash, starts_on=locked.effective_on)
    except Refused as refusal:
        raise ChangeRefused.by(refusal) from refusal


def moved_figures(locked: ChangeSet) -> str:
    """What the dry-run says otherwise by now, in a sentence; the new one is put on the row. Empty where it says the same."""
    shown = locked.preview
    look(locked)
    return _moved(shown, locked.preview)


def refuse_another_base(locked: ChangeSet, written: Written, rows: Sequence[ChangeLine] | None = None) -> None:
    """Raise ChangeRefused where a record is not what it was when this was submitted, or entities are touched that were not.

    `rows` are its lines where they were read already.
    """
    if not locked.is_shared and written.entities - {*locked.entities.values_list("pk", flat=True)}:
        raise ChangeRefused(
            "By now it touches other entities than when it was submitted; edit it and submit it again, so that people there "
            "decide."
        )
    for line, did in zip(rows_of(locked) if rows is None else rows, written.lines, strict=True):
        if line.before != did.before or line.after != did.after:
            now = did.before or {}
            moved = [name for name, value in (line.before or {}).items() if now.get(name) != value]
            what = ", ".join(moved) or "what it points at"
            raise ChangeRefused(
                f"{line.record} was changed since this was submitted ({what}); edit it and submit it again."
            )


def _moved(shown: dict[str, Any], now: dict[str, Any]) -> str:
    if measuring.same_effect(shown, now):
        return ""
    words = []
    for name, verb in (
        ("passes", "pass"),
        ("fails", "fail"),
        ("new_passes", "be owed and pass"),
        ("new_fails", "be owed and held"),
        ("repriced", "get another price"),
        ("booked", "need a reversal"),
    ):
        was, will = (told.get(name, {}).get("entries", 0) for told in (shown, now))
        if was != will:
            words.append(f"{was:,} entries would have {_past(verb)}, {will:,} would now")
    was, will = (told.get("booked", {}).get("billed", 0) for told in (shown, now))
    if was != will:
        words.append(f"{was:,} of the booked entries stood on bills, {will:,} do now")
    told_now = "; ".join(words) or "the amounts are others"
    return f"The dry-run moved since it was shown: {told_now}. Nothing was decided; look at it again."


def _past(verb: str) -> str:
    past = {"pass": "passed", "fail": "failed", "get another price": "got another price"}
    return past.get(verb, verb.replace("be ", "been ") if verb.startswith("be ") else "needed a reversal")
