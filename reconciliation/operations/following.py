"""An operation is followed until every entry has come to its end on the ledger, and told honestly while it has not.

The rule here: a row that the fix let through is not posted before its entry is. How long it will take is said only from what
was seen; too little seen, or something that holds the entries back, and no time is named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import (
    BigIntegerField,
    Case,
    CharField,
    Count,
    F,
    Max,
    Min,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    TextChoices,
    Value,
    When,
)
from django.db.models.functions import Coalesce

from portal.models import LedgerState, State
from reconciliation.fixes import FIXES
from reconciliation.models import Operation, OperationRow
from reconciliation.operations import telling
from reconciliation.sql import operations as sql

WINDOW = timedelta(seconds=60)  # what a rate is taken from
ENOUGH, LONG_ENOUGH = 5, timedelta(seconds=4)  # rows, and the time they took, below which a rate would be a guess
STALLED = timedelta(seconds=20)  # without another row, after which a rate says nothing about what comes
FOLLOWED = (Operation.State.RUNNING, Operation.State.DONE, Operation.State.CANCELLED)
TAKES_BACK = tuple(code for code, fix in FIXES.items() if fix.takes_back)
LEAVES_HELD = tuple(code for code, fix in FIXES.items() if fix.leaves_held)


class Phase(TextChoices):
    """How far one row is: with the fix, then on the ledger."""

    PENDING = "pending", "Pending"
    POSTING = "posting", "Posting"
    POSTED = "posted", "Posted"
    FAILED = "failed", "Failed"
    IN_DOUBT = "in_doubt", "In doubt"
    SKIPPED = "skipped", "Skipped"
    CANCELLED = "cancelled", "Cancelled"
    SETTLED = "settled", "Nothing to post"


ON_THE_WAY = (Phase.POSTING, Phase.IN_DOUBT)
MOVING = (Phase.PENDING, *ON_THE_WAY)


def _followed(field: str) -> Any:
    """A field of where a row's entry stands: the version that came of it, or the reversal that takes it back."""
    reversal = LedgerState.objects.filter(
        entry__reverses__isnull=False,
        entry__document=OuterRef("entry__document"),
        entry__target=OuterRef("entry__target"),
    )
    more = {"output_field": BigIntegerField()} if field.endswith("_id") else {}
    standing = Coalesce(F(f"successor__state_row__{field}"), F(f"entry__state_row__{field}"), **more)
    taken_back = Coalesce(Subquery(reversal.order_by("-entry_id").values(field)[:1]), standing, **more)
    return Case(When(operation__fix__in=TAKES_BACK, then=taken_back), default=standing, **more)


def with_phase(rows: QuerySet[OperationRow]) -> QuerySet[Any]:
    """The rows with the state of the entry that is followed (`stands`), and how far each is (`phase`)."""
    ended = Q(result__in=[OperationRow.Result.FAILED, OperationRow.Result.SKIPPED, OperationRow.Result.CANCELLED])
    stopped = Q(stands__in=[State.HELD, State.REJECTED]) & ~Q(operation__fix__in=LEAVES_HELD)
    told: QuerySet[Any] = rows.annotate(stands=_followed("state")).annotate(
        phase=Case(
            When(result=OperationRow.Result.PENDING, then=Value(Phase.PENDING.value)),
            When(ended, then=F("result")),
            When(stands__in=[State.POSTED, State.RECONCILED], then=Value(Phase.POSTED.value)),
            When(stands=State.IN_DOUBT, then=Value(Phase.IN_DOUBT.value)),
            When(stands__in=[State.READY, State.SENDING, State.ACCEPTED], then=Value(Phase.POSTING.value)),
            When(stopped, then=Value(Phase.FAILED.value)),
            default=Value(Phase.SETTLED.value),
            output_field=CharField(),
        )
    )
    return told


def with_standing(rows: QuerySet[OperationRow]) -> QuerySet[Any]:
    """The same, with what is told of each: the followed entry, what it waits on, its receipt, and when it is seen to next."""
    told: QuerySet[Any] = with_phase(rows).annotate(
        amount_now=Case(When(successor=None, then=F("entry__amount")), default=F("successor__amount")),
        currency_now=Case(When(successor=None, then=F("entry__currency")), default=F("successor__currency")),
        followed=_followed("entry_id"), waits_on=_followed("waits_on"), receipt=_followed("receipt_number"),
        seen_to_at=_followed("next_attempt_at"),
    )  # fmt: skip
    return told


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an operation is now: rows by phase, posted per minute where that is known, and how long the rest will take."""

    counts: dict[Phase, int]
    per_minute: int | None
    left: timedelta | None

    @property
    def is_moving(self) -> bool:
        """Whether anything is still to come."""
        return any(self.counts[phase] for phase in MOVING)

    @property
    def over(self) -> int:
        """How many rows have come to their end."""
        return sum(count for phase, count in self.counts.items() if phase not in MOVING)

    @property
    def steps(self) -> int:
        """How many steps its rows have gone: each one when the fix is done with it, and one at its end."""
        return self.over + sum(count for phase, count in self.counts.items() if phase is not Phase.PENDING)


def progress(operation: Operation) -> Progress:
    """Count an operation's rows and take its pace; two statements."""
    moment = sql.clock()
    since = moment - WINDOW
    rows = with_phase(operation.rows.all()).annotate(moved=_followed("moved_at")).order_by()
    found: dict[str, dict[str, Any]] = {
        row["phase"]: dict(row)
        for row in rows.values("phase").annotate(
            rows=Count("pk"), lately=Count("pk", filter=Q(moved__gte=since)), ended=Max("finished_at"),
            first=Min("moved", filter=Q(moved__gte=since)), last=Max("moved"),
        )
    }  # fmt: skip
    counts = {phase: found[phase]["rows"] if phase in found else 0 for phase in Phase}
    pace = _pace(found.get(Phase.POSTED), moment)
    return Progress(counts, round(pace * 60) if pace else None, _left(operation, counts, found, pace))


def _pace(posted: dict[str, Any] | None, moment: datetime) -> float | None:
    """Rows posted in a second, from the last minute; None where too few were, in too short a time, or none for a while."""
    if posted is None or posted["lately"] < ENOUGH or moment - posted["last"] > STALLED:
        return None
    took = moment - posted["first"]
    return float(posted["lately"] / took.total_seconds()) if took >= LONG_ENOUGH else None


def _left(
    operation: Operation, counts: dict[Phase, int], found: dict[str, dict[str, Any]], pace: float | None
) -> timedelta | None:
    """How long until the last row has come to its end; None while that would be a guess."""
    pending, to_post = counts[Phase.PENDING], counts[Phase.PENDING] + counts[Phase.POSTING]
    needed = [timedelta(0)]
    if pending:
        ended = [row["ended"] for row in found.values() if row["ended"] is not None]
        worked = operation.total - pending
        if not worked or operation.started_at is None or max(ended) <= operation.started_at:
            return None
        needed.append((max(ended) - operation.started_at) / worked * pending)
    posts = counts[Phase.POSTING] + counts[Phase.POSTED] > 0
    if to_post and (posts or not pending):
        if pace is None:
            return None
        needed.append(timedelta(seconds=to_post / pace))
    return max(needed) if to_post else None


@dataclass(frozen=True, slots=True)
class Waits:
    """Entries of an operation that are ready and wait at one target: how many, on what, since when, how many go before them."""

    target_id: int
    entries: int
    on: str  # as the ledger says it; empty while they wait for nothing but their turn
    since: datetime
    ahead: int


def waits(operation: Operation) -> list[Waits]:
    """What the operation's entries wait on, the most first; two statements."""
    rows = with_phase(operation.rows.all()).filter(stands=State.READY, result=OperationRow.Result.DONE)
    found = (
        rows.annotate(on=_followed("waits_on"), target=_followed("target_id"))
        .order_by()
        .values("on", "target")
        .annotate(entries=Count("pk"), since=Min(_followed("moved_at")), first=Min(_followed("entry_id")))
        .order_by("-entries", "target", "on")
    )
    groups = list(found)
    ahead = sql.ahead_of([(row["target"], operation.entity_id, row["since"], row["first"]) for row in groups])
    return [
        Waits(row["target"], row["entries"], row["on"], row["since"], ahead[number])
        for number, row in enumerate(groups)
    ]


def follow(operation_ids: Sequence[int] | None = None) -> int:
    """Count operations that have something on its way, and note which have come to their end; how many were looked at."""
    under_way = Operation.objects.filter(state__in=FOLLOWED, settled_at=None)
    if operation_ids is not None:
        under_way = under_way.filter(pk__in=operation_ids)
    ids = list(under_way.order_by("pk").values_list("pk", flat=True))
    if not ids:
        return 0
    counted: dict[int, dict[str, int]] = {number: defaultdict(int) for number in ids}
    held: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))  # by operation and target
    rows = with_phase(OperationRow.objects.filter(operation__in=ids)).filter(result=OperationRow.Result.DONE)
    standing = rows.annotate(on=_followed("waits_on"), target=_followed("target_id")).order_by()
    groups = standing.values_list("operation_id", "phase", "on", "target").annotate(Count("pk"))
    for number, phase, on, target_id, count in groups:
        counted[number][phase] += count
        if phase == Phase.POSTING and on:
            held[number][target_id] += count
    with transaction.atomic():
        sql.keep_counts(
            [
                (number, some[Phase.POSTED], some[Phase.FAILED], sum(some[phase] for phase in ON_THE_WAY))
                for number, some in counted.items()
            ]
        )
        telling.tell_ends(ids)
        telling.tell_held(held)
    return len(ids)
