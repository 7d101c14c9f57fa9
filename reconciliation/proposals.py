"""Fix once, remember: what was fixed by hand becomes a rule when somebody else agrees.

The rule here: a proposal changes nothing. It becomes a change set of one dated alias in the name of who proposed it, whose
dry-run another person sees and agrees to; the proposal follows what becomes of it. The second same fix proposes by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from portal import access, audit, notifications, sql
from portal.models import Alias, Connection, EntityGrant, NotificationKind, Task, User
from reconciliation import changes
from reconciliation.changes import Action, Line
from reconciliation.fixes.mapping import MODELS, MapCode, causes_of, code_of, kind_of
from reconciliation.models import ChangeLine, ChangeSet, ExceptionCase, Operation, Proposal
from reconciliation.sql import proposals as proposals_sql

logger = logging.getLogger(__name__)
TIMES = 2  # how often the same is fixed by hand before it is proposed
DECIDED = (ChangeSet.State.APPLYING, ChangeSet.State.APPLIED, ChangeSet.State.REJECTED, ChangeSet.State.WITHDRAWN)
UNDER_WAY = (ChangeSet.State.APPROVED, ChangeSet.State.SCHEDULED, ChangeSet.State.APPLYING)


class ProposalRefused(Exception):
    """Why a proposal cannot be made or decided; the text is for the person."""


class Decided(ProposalRefused):
    """The same person has decided just so already: nothing more is to be done, and nothing went wrong."""


def learn(operation: Operation) -> list[Proposal]:
    """Propose each code that an operation mapped, where its person asked for that or where the same was mapped before.

    A cause that others were merged into maps their codes as well. A proposal that stands already gains the operation as
    evidence.
    """
    if operation.fix != MapCode.code or operation.case is None:
        return []
    found = [_learn(operation, cause) for code, cause in sorted(causes_of(operation.case).items()) if code]
    return [one for one in found if one is not None]


def _learn(operation: Operation, case: ExceptionCase) -> Proposal | None:
    """The same for the code of one cause; None where there is nothing to remember."""
    proposals_sql.one_at_a_time(f"{case.entity_id}:{kind_of(case)}:{code_of(case)}")
    alike = ExceptionCase.objects.filter(
        rule=case.rule, entity=case.entity_id, subject_type=case.subject_type, subject_key=case.subject_key
    )
    causes = list(alike.values_list("pk", flat=True))
    same = list(
        Operation.objects.filter(
            Q(case__in=causes) | Q(case__merged__in=causes),
            fix=operation.fix, entity_id=operation.entity_id, parameters__record=operation.parameters["record"],
            state__in=[Operation.State.RUNNING, Operation.State.DONE],
        ).exclude(pk=operation.pk).order_by("pk").values_list("pk", flat=True).distinct()
    )  # fmt: skip
    asked = bool(operation.parameters.get("remember"))
    if not asked and len(same) + 1 < TIMES:
        return None
    return _propose(operation, case, causes, [*same, operation.pk], asked=asked)


def _propose(
    operation: Operation, case: ExceptionCase, causes: Sequence[int], evidence: Sequence[int], *, asked: bool
) -> Proposal | None:
    kind, code = kind_of(case), code_of(case)
    record = MODELS[kind].objects.get(pk=operation.parameters["record"])
    connection_id = case.connection_id or case.detail.get("connection_id")
    standing = Proposal.objects.filter(
        entity=case.entity_id, connection=connection_id, kind=kind, code=code, state=Proposal.State.PROPOSED
    )
    found = standing.select_for_update().first()
    if found is not None:
        if found.internal_id != record.pk:
            return None  # somebody proposed another record; who decides sees both fixes in the cause's timeline
        found.operations = sorted({*found.operations, *evidence})
        found.evidence = proposals_sql.evidence(found.operations, causes)
        found.save(update_fields=["operations", "evidence"])
        return found
    told = proposals_sql.evidence(evidence, causes)
    if not told["entries"]:
        return None  # only entries of another code were chosen
    given = operation.parameters.get("valid_from")
    start = date.fromisoformat(given) if given else date.fromisoformat(told["first_day"])
    if _known(connection_id, kind, code, record.pk, start):
        return None
    proposal = Proposal.objects.create(
        entity_id=case.entity_id, connection_id=connection_id, kind=kind, code=code, internal_id=record.pk,
        record=f"{record.code} · {record.name}"[:300], valid_from=start, case=case, operations=list(evidence), evidence=told,
        reason=operation.reason if asked else f"Mapped by hand {len(evidence)} times: {operation.reason}",
        proposed_by=operation.created_by, proposed_at=sql.now(),
    )  # fmt: skip
    audit.record(
        operation.created_by, "proposal.made", proposal, entity=proposal.entity_id, reason=proposal.reason,
        after={"code": code, "record": proposal.record, "from": str(start), "evidence": told},
    )  # fmt: skip
    notifications.notify(
        approvers(proposal.entity_id), NotificationKind.APPROVAL, f"Proposed: {proposal}", by=operation.created_by,
        url=reverse("proposal", args=[proposal.pk]), entity=proposal.entity_id, key=f"proposal:{proposal.pk}",
    )  # fmt: skip
    return proposal


def _known(connection_id: int | None, kind: str, code: str, record_id: int, day: date) -> bool:
    holding = Alias.objects.filter(Q(valid_to=None) | Q(valid_to__gte=day), valid_from__lte=day, internal_id=record_id)
    return holding.filter(connection=connection_id, kind=kind, code__iexact=code).exists()


def approvers(entity_id: int) -> list[int]:
    """The people who may agree to what somebody else did or proposed in an entity today."""
    grants = EntityGrant.objects.filter(
        Q(entity=None) | Q(entity=entity_id), Q(valid_to=None) | Q(valid_to__gte=timezone.localdate()),
        valid_from__lte=timezone.localdate(), role__in=access.APPROVERS, user__is_active=True,
    )  # fmt: skip
    return sorted(set(grants.values_list("user_id", flat=True)))


def may_decide(proposal: Proposal, user: Any) -> bool:
    """Whether a person may approve or reject: a controller of the entity, and of all where the connection is shared.

    Where its change set waits, only who may decide on that as well: it may touch more by now.
    """
    if proposal.state != Proposal.State.PROPOSED or proposal.proposed_by_id == user.pk or is_under_way(proposal):
        return False
    if not all(access.may(user, access.APPROVERS, entity_id) for entity_id in _entities(proposal)):
        return False
    waits = waiting_change(proposal)
    return waits is None or not changes.why_not(waits, user)


def is_under_way(proposal: Proposal) -> bool:
    """Whether its change set is approved and a worker applies it."""
    return proposal.change_set is not None and proposal.change_set.state in UNDER_WAY


def waiting_change(proposal: Proposal) -> ChangeSet | None:
    """Its change set while that waits with, or for, its dry-run."""
    found = proposal.change_set
    return found if found is not None and found.state == ChangeSet.State.SUBMITTED else None


def stands_already(proposal: Proposal) -> bool:
    """Whether the code stands for the record by now, so that approving changes nothing."""
    try:
        return isinstance(_lines(proposal), Alias)
    except ProposalRefused:
        return False


def look(proposal: Proposal, *, user: User) -> Proposal:
    """Write and submit the change set of the alias, with its dry-run; or make the dry-run of the one that waits once more.

    It is written in the name of who proposed it, since whoever looks is to decide on it. Raises PermissionDenied,
    ProposalRefused.
    """
    with transaction.atomic():
        locked = _to_decide(proposal, user)
        lines = _lines(locked)
        if isinstance(lines, Alias):
            raise ProposalRefused("The code stands for this record already; approving it changes nothing.")
        try:
            waits = waiting_change(locked)
            if waits is not None and _says(waits, lines):
                changes.preview(waits)
            else:
                locked.change_set = _write(locked, lines, user)
                locked.save(update_fields=["change_set"])
        except PermissionDenied as refusal:
            raise ProposalRefused(
                f"{locked.proposed_by} may not propose this any more; map the code yourself."
            ) from refusal
        except changes.ChangeRefused as refusal:
            raise ProposalRefused(str(refusal)) from refusal
    proposal.refresh_from_db()
    return proposal


def approve(proposal: Proposal, *, user: User, comment: str = "", signed_in_again: bool = False) -> Proposal:
    """Agree to its change set as the person saw it, in `proposal.change_set`; the proposal is approved once that made the alias.

    Raises PermissionDenied without the right, ProposalRefused for who proposed it or where it was decided, not seen, seen
    otherwise or cannot hold, and changes.SignInAgain above the limit unless the person has just signed in.
    """
    seen, moved = proposal.change_set, ""
    with transaction.atomic():
        locked = _to_decide(proposal, user, Proposal.State.APPROVED)
        lines = _lines(locked)
        if isinstance(lines, Alias):
            locked.alias = lines
            _decide(locked, user, Proposal.State.APPROVED, comment)
        elif seen is None or seen.pk != locked.change_set_id or not _says(locked.change_set, lines):
            raise ProposalRefused("Look at what it would do, then decide.")
        else:
            moved = _agree(seen, user, comment, signed_in_again)
    if moved:
        raise ProposalRefused(moved)
    if seen is not None:
        follow(seen)
    proposal.refresh_from_db()
    return proposal


def follow(change_set: ChangeSet) -> None:
    """Decide the proposal of a change set as that was decided, by the same person; nothing where it still waits.

    One whose change set was edited until it said something else was not decided with it: it waits for another one.
    """
    decided = ChangeSet.objects.select_related("decided_by").get(pk=change_set.pk)
    if decided.state not in DECIDED:
        return
    with transaction.atomic():
        waiting = Proposal.objects.select_for_update(of=("self",)).filter(
            change_set=change_set, state=Proposal.State.PROPOSED
        )
        for locked in waiting.select_related("proposed_by", "connection"):
            line = _line_of(locked, decided)
            if line is None:
                locked.change_set = None
                locked.save(update_fields=["change_set"])
            elif decided.state == ChangeSet.State.WITHDRAWN:
                _decide(locked, locked.proposed_by, Proposal.State.WITHDRAWN, decided.comment)
            elif decided.decided_by is not None and decided.state == ChangeSet.State.REJECTED:
                _decide(locked, decided.decided_by, Proposal.State.REJECTED, decided.comment)
            elif decided.decided_by is not None and line.made is not None:
                locked.alias = Alias.objects.get(pk=line.made)
                _decide(locked, decided.decided_by, Proposal.State.APPROVED, decided.comment)


def _line_of(proposal: Proposal, change_set: ChangeSet) -> ChangeLine | None:
    """The line that says what a proposal says; of an applied change set, the one whose alias means its record."""
    lines = change_set.lines.filter(
        model="alias", action=Action.ADD, values__kind=proposal.kind, values__alias=proposal.code
    )
    if change_set.state in (ChangeSet.State.APPLYING, ChangeSet.State.APPLIED):
        means = Alias.objects.filter(
            kind=proposal.kind, code=proposal.code, connection=proposal.connection_id, internal_id=proposal.internal_id
        )
        return lines.filter(made__in=means.values("pk")).first()
    record = MODELS[proposal.kind].objects.filter(pk=proposal.internal_id).first()
    if record is None:
        return None
    named = {name: text for name, text in _names(proposal, record).items() if text}
    return next((line for line in lines if {name: line.values.get(name) for name in named} == named), None)


def follow_all() -> None:
    """The same for every proposal whose change set a worker has seen to; one that breaks does not stop the others."""
    for change_set in ChangeSet.objects.filter(proposals__state=Proposal.State.PROPOSED, state__in=DECIDED).distinct():
        try:
            follow(change_set)
        except Exception:
            logger.exception("The proposal of change set %s does not follow it.", change_set.pk)


def reject(proposal: Proposal, *, user: User, comment: str) -> Proposal:
    """Nothing is remembered, and who proposed it reads why."""
    if not comment.strip():
        raise ProposalRefused("Say why: whoever proposed it reads it.")
    with transaction.atomic():
        locked = _to_decide(proposal, user, Proposal.State.REJECTED)
        if (waits := waiting_change(locked)) is not None:
            _refusing(changes.reject, waits, user, comment)
        _decide(locked, user, Proposal.State.REJECTED, comment)
    proposal.refresh_from_db()
    return proposal


def withdraw(proposal: Proposal, *, user: User, comment: str = "") -> Proposal:
    """Who proposed it takes it back."""
    with transaction.atomic():
        locked = Proposal.objects.select_for_update().get(pk=proposal.pk)
        if locked.state != Proposal.State.PROPOSED or locked.proposed_by_id != user.pk:
            raise ProposalRefused("Only who proposed it takes it back, and only before it is decided.")
        if (waits := waiting_change(locked)) is not None:
            _refusing(changes.withdraw, waits, user, comment)
        _decide(locked, user, Proposal.State.WITHDRAWN, comment)
    proposal.refresh_from_db()
    return proposal


def _entities(proposal: Proposal) -> list[int | None]:
    """The entities in which a decision needs the right: a shared connection's alias reaches all of them."""
    owner = None
    if proposal.connection_id is not None:
        owner = Connection.objects.values_list("entity_id", flat=True).get(pk=proposal.connection_id)
    return [proposal.entity_id, owner]


def _to_decide(proposal: Proposal, user: User, same: str = "") -> Proposal:
    """The row that waits; `same` is its state once it was decided as it is now. Raises Decided, ProposalRefused."""
    locked = Proposal.objects.select_for_update().get(pk=proposal.pk)
    for entity_id in _entities(locked):
        access.require(user, access.APPROVERS, entity_id)
    if locked.proposed_by_id == user.pk:
        raise ProposalRefused("You proposed this yourself; somebody else decides.")
    if locked.state != Proposal.State.PROPOSED:
        state = locked.get_state_display().lower()
        if locked.state == same and locked.decided_by_id == user.pk:
            raise Decided(f"You have decided so already: it is {state}.")
        by = f" by {locked.decided_by}" if locked.decided_by else ""
        raise ProposalRefused(f"This was decided before: it is {state}{by}.")
    if is_under_way(locked) and locked.change_set is not None:
        by_user = locked.change_set.decided_by
        if same == Proposal.State.APPROVED and by_user == user:
            raise Decided("You have approved it already, and a worker applies it.")
        raise ProposalRefused(f"It is approved{f' by {by_user}' if by_user else ''}, and a worker applies it.")
    return locked


def _decide(proposal: Proposal, user: User, state: str, comment: str) -> None:
    proposal.state, proposal.decided_by, proposal.decided_at = state, user, sql.now()
    proposal.comment = comment.strip()
    proposal.save(update_fields=["state", "decided_by", "decided_at", "comment", "alias", "change_set"])
    audit.record(
        user, f"proposal.{state}", proposal, entity=proposal.entity_id, reason=proposal.comment,
        after={"code": proposal.code, "record": proposal.record, "from": str(proposal.valid_from), "alias": proposal.alias_id},
    )  # fmt: skip
    notifications.answered(reverse("proposal", args=[proposal.pk]))
    notifications.notify(
        [proposal.proposed_by_id], NotificationKind.FINISHED, f"{proposal.get_state_display()}: {proposal}", by=user,
        url=reverse("proposal", args=[proposal.pk]), entity=proposal.entity_id, note=proposal.comment,
    )  # fmt: skip


def _write(proposal: Proposal, lines: Sequence[Line], user: User) -> ChangeSet:
    """Submit the change set of a proposal in the name of who proposed it; one that says something else is taken back."""
    by, before = proposal.proposed_by, proposal.change_set
    if before is not None and before.state in (ChangeSet.State.DRAFT, ChangeSet.State.SUBMITTED):
        changes.withdraw(before, by, "It was written anew.")
    asked = f"Written in the name of {by}, who proposed it, when {user} looked at the proposal."
    change_set = changes.draft(
        by=by, title=str(proposal), reason=f"{proposal.reason} (proposal {proposal.pk})", lines=lines, note=asked
    )
    return changes.submit(change_set, by, note=asked)


def _says(change_set: ChangeSet | None, lines: Sequence[Line]) -> bool:
    """Whether a change set says just this."""
    return change_set is not None and changes.lines_of(list(change_set.lines.order_by("position"))) == list(lines)


def _agree(seen: ChangeSet, user: User, comment: str, signed_in_again: bool) -> str:
    """Approve the change set, and apply it where that is little; why nothing was decided, where its dry-run moved."""
    try:
        changes.approve(seen, user, comment, signed_in_again=signed_in_again)
    except changes.SignInAgain:
        raise
    except changes.Moved as moved:
        return str(moved)  # the new dry-run is kept
    except changes.ChangeRefused as refusal:
        raise ProposalRefused(str(refusal)) from refusal
    if seen.state != ChangeSet.State.SUBMITTED and changes.is_little(seen):
        changes.apply(seen)
    return ""


def _refusing(do: Callable[[ChangeSet, User, str], ChangeSet], change_set: ChangeSet, user: User, comment: str) -> None:
    try:
        do(change_set, user, comment)
    except changes.ChangeRefused as refusal:
        raise ProposalRefused(str(refusal)) from refusal


def _lines(proposal: Proposal) -> list[Line] | Alias:
    """The alias as lines, ending one that meant something else before and ending where another begins; or the one that stands."""
    start, earlier, end = proposal.valid_from, [], None
    standing = Alias.objects.filter(
        Q(valid_to=None) | Q(valid_to__gte=start),
        kind=proposal.kind,
        code=proposal.code,
        connection=proposal.connection_id,
    )
    for other in standing.order_by("-valid_from"):
        if other.valid_from > start:
            end = other.valid_from - timedelta(days=1)
        elif other.internal_id == proposal.internal_id:
            return other
        elif other.valid_from == start:
            raise ProposalRefused(f"“{proposal.code}” stands for another record from {start} on; reject this one.")
        else:
            last = (start - timedelta(days=1)).isoformat()
            earlier.append(Line("alias", other.pk, Action.CHANGE, {"valid_to": last}))
    record = MODELS[proposal.kind].objects.filter(pk=proposal.internal_id).first()
    if record is None:
        raise ProposalRefused(f"{proposal.record} is not there any more; reject this.")
    values = {
        **_names(proposal, record), "valid_from": start.isoformat(), "valid_to": end.isoformat() if end else "",
        "reason": proposal.reason,
    }  # fmt: skip
    return [*earlier, Line("alias", None, Action.ADD, values)]


def _names(proposal: Proposal, record: Any) -> dict[str, str]:
    """What the alias is of, and the record it means, as a line names them."""
    return {
        "connection": proposal.connection.code if proposal.connection else "", "kind": proposal.kind, "alias": proposal.code,
        "within": record.project.code if isinstance(record, Task) else "", "code": record.code,
    }  # fmt: skip


def totals_of(proposal: Proposal) -> list[tuple[str, Decimal]]:
    """(currency, amount) of the evidence, the largest first."""
    money: dict[str, str] = proposal.evidence.get("money", {})
    return sorted(((code, Decimal(value)) for code, value in money.items()), key=lambda pair: -abs(pair[1]))
