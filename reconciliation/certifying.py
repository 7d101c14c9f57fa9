"""Certification: two people say that a period ties out, and their word holds while nothing under it changes.

The rule here: who prepares does not certify (the database refuses it), a certificate names the totals to the last row, and the
first comparison that comes to others lets it drop and keeps what changed. Nobody renews it by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.urls import reverse
from django.utils.timezone import localdate

from portal import access, audit, notifications
from portal.models import AccountingPeriod, NotificationKind, User
from portal.sql import now
from reconciliation.models import Certificate, ReconciliationResult, ReconciliationRun
from reconciliation.sql import certifying as sql
from reconciliation.sql import hanging, legs
from reconciliation.totals import of_period

_SHOWN = 200  # changes kept with a certificate that drops
State = Certificate.State
LIVE = (State.PREPARED, State.CERTIFIED)
Leg = ReconciliationResult.Leg


class NotCertifiable(Exception):
    """The period cannot be signed now; the sentence says why and what to do."""


def live(period: AccountingPeriod) -> Certificate | None:
    """The certificate that stands, prepared or certified."""
    found = Certificate.objects.filter(period=period, state__in=LIVE)
    return found.select_related("run", "prepared_by", "certified_by").first()


def prepare(
    period: AccountingPeriod, user: User, note: str = "", uncompared: Mapping[str, str] | None = None
) -> Certificate:
    """Sign as preparer what the latest run found. Raises NotCertifiable or PermissionDenied.

    Open items may be accepted with a reason; they are named on the sheet, and one more of them lets the certificate drop. Money
    of a leg that was not compared is accepted with a reason of its own, by leg in `uncompared`.
    """
    access.require(user, access.FIXERS, period.entity_id)
    with transaction.atomic():
        period = AccountingPeriod.objects.select_for_update(of=("self",)).select_related("entity").get(pk=period.pk)
        if live(period) is not None:
            raise NotCertifiable(f"{period.entity} {period.code} is prepared already; withdraw that first.")
        run = _run_to_sign(period)
        totals = _stands(period)
        differing = sum(leg["differing"] for leg in totals.values())
        if differing and not note.strip():
            items = "item" if differing == 1 else "items"
            raise NotCertifiable(f"{differing:,} open {items} would be accepted; say why.")
        reasons = _reasons_for(unproved_legs(totals), uncompared or {})
        certificate = Certificate.objects.create(
            period=period, run=run, books=period.state, totals=totals, differing=differing, note=note.strip(),
            uncompared=reasons, prepared_by=user, prepared_at=now(),
        )  # fmt: skip
        audit.record(
            user,
            "certificate.prepare",
            certificate,
            entity=period.entity_id,
            reason=note,
            after={"run": run.pk, "totals": totals, "uncompared": reasons},
        )
        notifications.notify(
            access.holders(access.APPROVERS, period.entity_id), NotificationKind.APPROVAL,
            f"{period.entity} {period.code} waits to be certified.", url=_page(period), entity=period.entity_id, by=user,
            key=f"certificate:{certificate.pk}",
        )  # fmt: skip
    return certificate


def unproved_legs(totals: Mapping[str, Any]) -> list[str]:
    """The legs that were not compared while money stands in them, by the totals of a run."""
    found = []
    for leg in (leg for leg in Leg.values if totals.get(leg, {}).get("not_compared")):
        sums = totals[leg]["money"].values()
        if any(Decimal(each[side]) for each in sums for side in ("left", "right")):
            found.append(leg)
    return found


def _reasons_for(unproved: list[str], said: Mapping[str, str]) -> dict[str, str]:
    reasons = {leg: said.get(leg, "").strip() for leg in unproved}
    for leg in (leg for leg, reason in reasons.items() if not reason):
        raise NotCertifiable(
            f"{Leg(leg).label} was not compared, and money stands in it; say why it is accepted without proof."
        )
    return reasons


def _run_to_sign(period: AccountingPeriod) -> ReconciliationRun:
    run = ReconciliationRun.objects.filter(period=period).order_by("-pk").first()
    if run is None or run.state == ReconciliationRun.State.FAILED:
        raise NotCertifiable(f"{period.entity} {period.code} was not compared; reconcile it first.")
    if run.state == ReconciliationRun.State.RUNNING or run.seen_until is None:
        raise NotCertifiable(f"{period.entity} {period.code} is being compared; wait for what it finds.")
    if sql.is_touched(period.entity_id, period.starts_on, period.ends_on, _unseen_since(run)):
        raise NotCertifiable(
            "Something moved since the latest run; reconcile the period again and look at what it finds."
        )
    _must_not_hang(period)
    return run


def _must_not_hang(period: AccountingPeriod) -> None:
    """Of a correction both legs are in the books, or none: while one hangs, no word of two people makes it done."""
    found = hanging.of_days(period.entity_id, period.starts_on, period.ends_on)
    if found:
        more = f" So do {len(found) - 1:,} more." if len(found) > 1 else ""
        raise NotCertifiable(
            f"A correction hangs with one leg: {found[0].says}.{more} Bring it into the books, or put the old one back."
        )


def certify(certificate: Certificate, user: User) -> Certificate:
    """Sign as the second person; again is no error. Raises NotCertifiable, or PermissionDenied for who may not."""
    access.require(user, access.APPROVERS, certificate.period.entity_id)
    with transaction.atomic():
        found = _lock(certificate, State.PREPARED, State.CERTIFIED)
        if found.state == State.CERTIFIED and found.certified_by_id == user.pk:
            return found
        if found.state == State.CERTIFIED:
            raise NotCertifiable(f"{found.certified_by} certified it before you.")
        if found.prepared_by_id == user.pk:
            raise NotCertifiable("Who prepared it does not certify it; ask a second person.")
        period = found.period
        latest = ReconciliationRun.objects.filter(period=period, seen_until__isnull=False).order_by("-pk").first()
        if not _is_same(_signed(found), _stands(period)) or sql.is_touched(
            period.entity_id, period.starts_on, period.ends_on, _unseen_since(latest or found.run)
        ):
            raise NotCertifiable("It changed since it was prepared; reconcile it and have it prepared again.")
        _must_not_hang(period)
        found.state, found.certified_by, found.certified_at = State.CERTIFIED, user, now()
        found.save()
        notifications.answered(_page(period))
        audit.record(user, "certificate.certify", found, entity=period.entity_id, after={"run": found.run_id})
        notifications.notify(
            [found.prepared_by_id], NotificationKind.FINISHED, f"{period.entity} {period.code} is certified.", url=_page(period),
            entity=period.entity_id, by=user,
        )  # fmt: skip
    return found


def withdraw(certificate: Certificate, user: User, reason: str) -> Certificate:
    """Take a signature back, with a reason. Raises NotCertifiable or PermissionDenied."""
    access.require(user, access.FIXERS, certificate.period.entity_id)
    if not reason.strip():
        raise NotCertifiable("Say why it is withdrawn.")
    with transaction.atomic():
        found = _lock(certificate, *LIVE)
        _end(found, State.WITHDRAWN, reason.strip(), by=user)
        audit.record(user, "certificate.withdraw", found, entity=found.period.entity_id, reason=reason)
    return found


def review(run: ReconciliationRun) -> Certificate | None:
    """After a run: the certificate that it lets drop, because the period no longer is what was signed; joins the transaction."""
    found = live(run.period)
    if found is None:
        return None
    period = AccountingPeriod.objects.get(pk=run.period_id)
    opened = found.books == AccountingPeriod.State.CLOSED and period.state != AccountingPeriod.State.CLOSED
    is_same = _is_same(_signed(found, before=run), run.totals)
    if is_same and not opened:
        return None
    items = _items(found)
    delta = {"legs": _legs(found.totals, run.totals), "items": items}
    why = "The books were opened again." if opened and is_same else "Something under it changed."
    _end(found, State.DROPPED, why, delta=delta)
    audit.record(None, "certificate.drop", found, entity=period.entity_id, reason=why, after={"run": run.pk, **delta})
    signed = {person for person in (found.prepared_by_id, found.certified_by_id) if person}
    notifications.notify(
        signed, NotificationKind.REGRESSED, f"The certificate of {run.entity} {period.code} dropped. {why}", url=_page(period),
        entity=period.entity_id, note="; ".join(items[:2])[:300], key=f"certificate:{found.pk}:dropped",
    )  # fmt: skip
    return found


def to_watch() -> list[Certificate]:
    """Certificates under which something was touched since their period was last compared, or is not as it was signed.

    That is where what stands comes to other totals, since a match was made or taken apart, where a day has passed by which
    something was to come, where what results rest on besides is another (a cut-over, when a customer is billed), and where the
    books were opened again.
    """
    found = []
    for certificate in Certificate.objects.filter(state__in=LIVE).select_related("run", "period__entity"):
        period = certificate.period
        latest = ReconciliationRun.objects.filter(period=period, seen_until__isnull=False).order_by("-pk").first()
        opened = certificate.books == AccountingPeriod.State.CLOSED != period.state
        since = latest.seen_until if latest is not None else None
        if (
            latest is None
            or since is None
            or opened
            or latest.basis != _basis(latest, period)
            or sql.is_touched(period.entity_id, period.starts_on, period.ends_on, since)
            or sql.has_waited_in_vain(period.pk, localdate())
            or not _is_same(_signed(certificate), _stands(period))
        ):
            found.append(certificate)
    return found


def _lock(certificate: Certificate, *states: str) -> Certificate:
    found = (
        Certificate.objects.select_for_update(of=("self",))
        .select_related("run", "period__entity")
        .get(pk=certificate.pk)
    )
    if found.state not in states:
        raise NotCertifiable(f"It is {found.get_state_display().lower()} already.")
    return found


def _end(
    found: Certificate, state: str, why: str, *, by: User | None = None, delta: dict[str, Any] | None = None
) -> None:
    found.state, found.why, found.ended_at, found.ended_by, found.delta = state, why, now(), by, delta or {}
    found.save()
    notifications.answered(_page(found.period))


def _unseen_since(run: ReconciliationRun) -> datetime:
    """Since when something may have come that a run has not seen; a run of this very transaction has seen all until its end."""
    until = run.seen_until
    return run.finished_at or run.started_at if until is None or until >= now() else until


def _basis(run: ReconciliationRun, period: AccountingPeriod) -> str:
    """What the results of a period rest on now, by the targets that its run compared."""
    targets = {int(target): Decimal(hours) for target, hours in run.tolerances.items()}
    has_bills = legs.takes_in_bills(period.entity_id)
    return legs.basis(period.entity_id, period.starts_on, period.ends_on, targets, has_bills)


def _signed(found: Certificate, *, before: ReconciliationRun | None = None) -> dict[str, Any]:
    """The totals that were signed, in the digests of today.

    Where an earlier release took them, those are of the first run since that came to the same figures, which was a whole one.
    """
    totals: dict[str, Any] = found.totals
    if all(leg.get("engine") == legs.ENGINE for leg in totals.values()):
        return totals
    later = ReconciliationRun.objects.filter(period=found.period_id, pk__gt=found.run_id, seen_until__isnull=False)
    if before is not None:
        later = later.filter(pk__lt=before.pk)
    taken = later.filter(**{f"totals__{leg}__engine": legs.ENGINE for leg in totals}).order_by("pk").first()
    return {leg: taken.totals[leg] for leg in totals} if taken is not None else totals


def _stands(period: AccountingPeriod) -> dict[str, Any]:
    """The totals of a period as they stand now."""
    return of_period(period, has_bills=legs.takes_in_bills(period.entity_id))


def _is_same(signed: dict[str, Any], stands: dict[str, Any]) -> bool:
    """Whether what stands is what was signed. An earlier release took other digests of the same rows: there the figures count.

    Nor did it name the legs that cannot be compared.
    """
    stands = {leg: totals for leg, totals in stands.items() if leg in signed or "not_compared" not in totals}
    if signed.keys() != stands.keys():
        return False
    return all(_figures(signed[leg], stands[leg]) == _figures(stands[leg], signed[leg]) for leg in signed)


def _figures(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    if one.get("engine") == other.get("engine"):
        return one
    return {word: value for word, value in one.items() if word not in ("engine", "digest")}


def _legs(signed: dict[str, Any], stands: dict[str, Any]) -> dict[str, Any]:
    """Per leg that is not what it was: rows and both sides, as signed and as they stand."""
    words = ("matched", "open", "differing", "hours", "money")
    changed = {}
    for leg in {*signed, *stands}:
        was, is_ = signed.get(leg, {}), stands.get(leg, {})
        if was != is_:
            changed[leg] = {word: [was.get(word), is_.get(word)] for word in words if was.get(word) != is_.get(word)}
    return changed


def _items(found: Certificate) -> list[str]:
    period = found.period
    since = found.run.finished_at or found.prepared_at
    return sql.changed(
        period.entity_id, period.pk, period.starts_on, period.ends_on, since=since, after_run=found.run_id, most=_SHOWN
    )


def _page(period: AccountingPeriod) -> str:
    return reverse("reconciliation_period", args=[period.pk])
