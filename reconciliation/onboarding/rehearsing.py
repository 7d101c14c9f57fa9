"""A rehearsal from its question to its end: asked for by a row, done by a worker under a lease, ended in one transaction.

The rule here: until its last step a rehearsal has written nothing but how far it is, so a worker that dies leaves nothing to
clean up, and the next one begins anew. What it found is written together with its end, under its fence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction

from portal import access, audit
from portal import sql as portal_sql
from portal.models import AccountingPeriod, Connection, Crosswalk, Project, Resource, User
from reconciliation.models import Booking, Onboarding, Rehearsal, RehearsedLine
from reconciliation.onboarding import carrying, shadow
from reconciliation.onboarding.base import NotYet, fingerprint, first_days
from reconciliation.onboarding.bookings import Bookings
from reconciliation.onboarding.comparing import Confidence, Line, Outcome, Pair, compare
from reconciliation.sql import rehearsals as sql

LEASE_SECONDS = 120.0
AT_ONCE = 2_000
State = Rehearsal.State
Leg = RehearsedLine.Leg


class RehearsalLost(Exception):
    """Another worker has taken the rehearsal over; what that one finds counts."""


def last_closed(onboarding: Onboarding) -> AccountingPeriod | None:
    """The latest closed period of the entity."""
    closed = AccountingPeriod.objects.filter(entity=onboarding.entity, state=AccountingPeriod.State.CLOSED)
    return closed.order_by("-starts_on").first()


def request(
    onboarding: Onboarding, period: AccountingPeriod, *, by: User, bookings: Bookings | None = None
) -> Rehearsal:
    """Ask for a rehearsal of a closed period; compared with the targets' statements, or with an uploaded file of bookings."""
    access.require(by, access.OPERATORS, onboarding.entity_id)
    if period.entity_id != onboarding.entity_id or period.state != AccountingPeriod.State.CLOSED:
        raise NotYet(f"{period} is no closed period of {onboarding.entity.code}; only what is closed can be compared.")
    try:
        with transaction.atomic():
            locked = Onboarding.objects.select_for_update(no_key=True).get(pk=onboarding.pk)
            if locked.state != Onboarding.State.PREPARING:
                raise NotYet(f"It is {locked.get_state_display().lower()}; nothing more is rehearsed.")
            found = Rehearsal.objects.create(
                onboarding=onboarding, period=period, asked_by=by, asked_at=portal_sql.now(),
                basis=Rehearsal.Basis.FILE if bookings else Rehearsal.Basis.STATEMENT,
                file_name=bookings.name if bookings else "", file_digest=bookings.digest if bookings else "",
            )  # fmt: skip
            if bookings:
                for line in bookings.lines:
                    line.rehearsal = found
                Booking.objects.bulk_create(bookings.lines, batch_size=AT_ONCE)
            audit.record(
                by, "rehearsal.asked", onboarding, entity=onboarding.entity,
                after={"period": period.code, "basis": found.get_basis_display(), "file": found.file_digest},
            )  # fmt: skip
    except IntegrityError as error:
        raise NotYet("A rehearsal is running already.") from error
    return found


def due() -> list[int]:
    """Rehearsals that wait for a worker."""
    return sql.due()


def take(rehearsal_id: int) -> Rehearsal | None:
    """Lease one to this worker; None when it has ended, waits, or another worker has it."""
    if not sql.take(rehearsal_id, LEASE_SECONDS):
        return None
    related = ("onboarding__entity", "onboarding__source", "period")
    return Rehearsal.objects.select_related(*related).get(pk=rehearsal_id)


def go_on(found: Rehearsal, step: str, *, documents: int = 0, judged: int = 0) -> None:
    """Say how far it is and keep the lease. Raises RehearsalLost."""
    if not sql.go_on(found.pk, found.fence, step=step, documents=documents, judged=judged, seconds=LEASE_SECONDS):
        raise RehearsalLost(f"Rehearsal {found.pk} was taken over.")


def put_off(found: Rehearsal, sentence: str, seconds: float) -> None:
    """Let it wait, because a target is not to be asked now."""
    sql.put_off(found.pk, found.fence, sentence, seconds)


def give_up(found: Rehearsal, reason: str) -> None:
    """End one that could not be made, and say why."""
    sql.fail(found.pk, found.fence, reason)


def span(found: Rehearsal) -> tuple[date, date]:
    """The days of which it must be known what was booked: from the first of the month until today."""
    return found.period.starts_on, max(found.period.ends_on, portal_sql.now().date())


def play(found: Rehearsal, targets: Mapping[int, Decimal]) -> None:
    """Judge in shadow, compare, and write what was found. `targets` are ids with the hours that each cannot tell apart."""
    ran_on = fingerprint(found.onboarding)
    month, since = _worked(found)
    booked = _booked(found, [*month, *since], list(targets))
    tolerance = max(targets.values(), default=Decimal(0))
    go_on(found, "Comparing with what was booked", documents=len(month) + len(since), judged=len(month) + len(since))
    pairs = _by_leg(found, compare([*month, *since], booked, tolerance), {id(line) for line in since})
    untouched = [
        pair.left for leg, pair in pairs
        if leg == Leg.SINCE and pair.left is not None and pair.right is None and not pair.left.rule
    ]  # fmt: skip
    shown = [(leg, pair) for leg, pair in pairs if leg == Leg.MONTH or pair.right is not None]
    _end(found, [(leg, _told(leg, pair)) for leg, pair in shown], ran_on, to_post=untouched)


def _worked(found: Rehearsal) -> tuple[list[Line], list[Line]]:
    """What would be posted of the month, and of what is owed once it is live: from each cut-over until today."""
    onboarding, period = found.onboarding, found.period
    owed_from = first_days(onboarding)
    until = span(found)[1]
    total = len(sql.documents_between(onboarding.entity_id, onboarding.source_id, period.starts_on, until))

    def judge(start: date, end: date, before: int) -> list[Line]:
        return list(
            shadow.days(
                onboarding.entity_id, onboarding.source_id, start, end,
                said=lambda count: go_on(
                    found, f"Judging work of {start} to {end}", documents=total, judged=before + count
                ),
            )
        )  # fmt: skip

    month = judge(period.starts_on, period.ends_on, 0)
    since: list[Line] = []
    if owed_from and until > period.ends_on:
        start = max(min(owed_from.values()), period.ends_on + timedelta(days=1))
        since = judge(start, until, len(month)) if start <= until else []
    sources = _sources_of([line.document_id for line in since if line.document_id])
    return month, [
        line
        for line in since
        if line.work_date >= owed_from.get((sources.get(line.document_id or 0, 0), line.kind), date.max)
    ]


def _sources_of(document_ids: Sequence[int]) -> dict[int, int]:
    from portal.models import Document

    return dict(Document.objects.filter(pk__in=document_ids).values_list("pk", "connection_id"))


def _booked(found: Rehearsal, worked: Sequence[Line], target_ids: Sequence[int]) -> list[Line]:
    """What was booked in the same days, in our records' words where they are known."""
    start, end = span(found)
    onboarding = found.onboarding
    if found.basis == Rehearsal.Basis.FILE:
        rows: list[tuple[Any, ...]] = [
            (
                None,
                one.number,
                one.kind,
                one.work_date,
                one.person,
                one.project,
                one.hours,
                one.amount,
                None,
                one.currency,
            )
            for one in Booking.objects.filter(rehearsal=found, work_date__range=(start, end)).order_by(
                "work_date", "pk"
            )
        ]
    else:
        rows = sql.booked_between(onboarding.entity_id, target_ids, onboarding.source_id, start, end)
    names = _Names(target_ids, rows)
    return [
        Line(
            kind=kind, work_date=day, person=names.of("resource", target, person), project=names.of("project", target, project),
            hours=hours if kind == "time" else None, amount=amount, rate=rate, currency=currency,
            person_name=names.said("resource", target, person), project_name=names.said("project", target, project),
            target_id=target, number=number,
        )
        for target, number, kind, day, person, project, hours, amount, rate, currency in rows
    ]  # fmt: skip


class _Names:
    """Which of our people and projects the keys and codes of bookings mean."""

    def __init__(self, target_ids: Sequence[int], rows: Sequence[tuple[Any, ...]]) -> None:
        self.ids: dict[tuple[str, str], int] = {}
        self.names: dict[tuple[str, int], str] = {}
        said = {"resource": {str(row[4]) for row in rows}, "project": {str(row[5]) for row in rows}}
        models: dict[str, Any] = {"resource": Resource, "project": Project}
        realms = {target.realm_key for target in Connection.objects.filter(pk__in=target_ids)}
        for kind, model in models.items():
            for system, realm in realms:
                keys = Crosswalk.objects.filter(system=system, realm=realm, kind=kind, external_id__in=said[kind])
                self.ids.update({(kind, key): pk for key, pk in keys.values_list("external_id", "internal_id")})
            for pk, code in model.objects.filter(code__in=said[kind]).values_list("pk", "code"):
                self.ids.setdefault((kind, code), pk)
            known = {pk for (of, _), pk in self.ids.items() if of == kind}
            field = "name" if kind == "resource" else "code"
            self.names.update(
                {(kind, pk): name for pk, name in model.objects.filter(pk__in=known).values_list("pk", field)}
            )

    def of(self, kind: str, target: int | None, key: str) -> Any:
        """The record as work names it, else the key itself."""
        known = self.ids.get((kind, key))
        return (kind, known) if known is not None else key

    def said(self, kind: str, target: int | None, key: str) -> str:
        """What a person reads."""
        known = self.ids.get((kind, key))
        return self.names.get((kind, known), key) if known is not None else key


def _by_leg(found: Rehearsal, pairs: Sequence[Pair], since: set[int]) -> list[tuple[str, Pair]]:
    """Each pair with the leg that its work belongs to. A booking without work belongs to its own day.

    Both legs are compared at once, so that the surest counterpart is taken wherever it lies: what agrees with work since the
    cut-over never serves a weaker likeness in the month. Bookings between the month and the cut-over are nobody's question.
    """
    first = min(first_days(found.onboarding).values(), default=date.max)
    placed = []
    for pair in pairs:
        if pair.left is not None:
            placed.append((Leg.SINCE if id(pair.left) in since else Leg.MONTH, pair))
        elif pair.right is not None and pair.right.work_date <= found.period.ends_on:
            placed.append((Leg.MONTH, pair))
        elif pair.right is not None and pair.right.work_date >= first:
            placed.append((Leg.SINCE, pair))
    return [(str(leg), pair) for leg, pair in placed]


def _told(leg: str, pair: Pair) -> Pair:
    """A pair as its leg tells it: work since the cut-over that has a booking was booked already, however like it is."""
    if leg == Leg.MONTH or pair.left is None or pair.right is None:
        return pair
    said = pair.sentence or "Person, project, day, hours and money are those of a booking."
    return Pair(Outcome.BOOKED, pair.confidence, pair.left, pair.right, said)


def _end(found: Rehearsal, pairs: Sequence[tuple[str, Pair]], ran_on: str, *, to_post: Sequence[Line]) -> None:
    """Write what was found and the end of the rehearsal, together. Raises RehearsalLost."""
    lines = [_row(found, leg, pair) for leg, pair in pairs]
    differing = sum(line.outcome != Outcome.AGREES for line in lines)
    with transaction.atomic():
        if not sql.lock(found.pk, found.fence):
            raise RehearsalLost(f"Rehearsal {found.pk} was taken over.")
        kept = carrying.carry_on(found, lines)
        RehearsedLine.objects.bulk_create(lines, batch_size=AT_ONCE)
        found.refresh_from_db()
        found.state = State.DIFFERS if differing else State.TIED_OUT if _is_of_the_month(lines) else State.EMPTY
        posted = {"to_post": len(to_post), "owed": _owed(to_post)}
        found.fingerprint, found.totals = ran_on, {**_totals(lines), **posted, "kept": kept}
        found.step, found.lease_until, found.finished_at = "", None, portal_sql.rows("SELECT clock_timestamp()")[0][0]
        found.save()


def _owed(to_post: Sequence[Line]) -> dict[str, str]:
    """The money of what nobody has booked and becomes owed, by currency."""
    money: dict[str, Decimal] = defaultdict(Decimal)
    for line in to_post:
        if line.amount is not None:
            money[line.currency] += line.amount
    return {code: str(amount) for code, amount in money.items()}


def _row(found: Rehearsal, leg: str, pair: Pair) -> RehearsedLine:
    left, right = pair.left, pair.right
    shown = left or right
    assert shown is not None  # noqa: S101 - a pair has a side
    return RehearsedLine(
        rehearsal=found, leg=leg, outcome=pair.outcome, confidence=pair.confidence, kind=shown.kind,
        document_id=left.document_id if left else None, target_id=shown.target_id or (right.target_id if right else None),
        number=right.number if right else "", work_date=shown.work_date, person=shown.person_name[:200],
        project=shown.project_name[:200], hours_left=left.hours if left else None, hours_right=right.hours if right else None,
        amount_left=left.amount if left else None, amount_right=_amount(right), currency=shown.currency,
        rule=left.rule if left else "", sentence=pair.sentence,
    )  # fmt: skip


def _amount(line: Line | None) -> Decimal | None:
    if line is None or line.amount is not None:
        return line.amount if line else None
    return line.rate * line.hours if line.rate is not None and line.hours is not None else None


def _is_of_the_month(lines: Sequence[RehearsedLine]) -> bool:
    """Whether anything of the month was compared; without it nothing is proved."""
    return any(line.leg == Leg.MONTH for line in lines)


def _totals(lines: Sequence[RehearsedLine]) -> dict[str, Any]:
    """By leg and outcome how many; hours and money of both sides of the month."""
    outcomes: dict[str, dict[str, int]] = {leg: defaultdict(int) for leg in Leg.values}
    hours = {"left": Decimal(0), "right": Decimal(0)}
    money: dict[str, dict[str, Decimal]] = defaultdict(lambda: {"left": Decimal(0), "right": Decimal(0)})
    counted: set[str] = set()
    for line in lines:
        outcomes[line.leg][line.outcome] += 1
        if line.leg != Leg.MONTH:
            continue
        first = not (line.number and line.number in counted)
        counted.add(line.number)
        hours["left"] += line.hours_left or 0
        hours["right"] += (line.hours_right or 0) if first else 0
        money[line.currency]["left"] += line.amount_left or 0
        money[line.currency]["right"] += (line.amount_right or 0) if first else 0
    return {
        "outcomes": {leg: dict(found) for leg, found in outcomes.items()},
        "hours": {side: str(value) for side, value in hours.items()},
        "money": {code: {side: str(value) for side, value in sums.items()} for code, sums in money.items()},
        "confident": sum(line.confidence == Confidence.CONFIDENT for line in lines),
    }
