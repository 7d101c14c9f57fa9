"""What waits for one person's agreement besides fixes: change sets, later plans, bills, invoices, certificates and so on.

The rule here: whatever takes a second person is found in the one inbox, by those who may be that person.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any

from django.db.models import F, Q, QuerySet
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from portal import access, figures
from portal.models import ErasureRequest
from reconciliation import onboarding
from reconciliation.models import BillingDecision, Certificate, ChangeSet, Onboarding, Proposal, RateBundle
from reconciliation.rates import booking
from reconciliation.views.change_tables import listed, own, waiting_for
from reconciliation.views.invoicing.lists import waits_for

SHOWN = 20  # of each kind; the lists have them all


@dataclass(frozen=True, slots=True)
class Waiting:
    """One decision that a person may take: what, where, and what is known of it in a line."""

    title: str
    url: str
    note: str
    tag: str = ""  # what kind of decision it is, where it is no change set
    is_alarm: bool = False


def going_live(user: Any) -> list[Onboarding]:
    """What waits to go live for this person's agreement: of what they prepared nothing."""
    seen = Onboarding.objects.visible_to(user, roles=access.APPROVERS).filter(state=Onboarding.State.PROPOSED)
    found = (
        seen.exclude(proposed_by=user.pk).select_related("entity", "source", "proposed_by", "rehearsal").order_by("pk")
    )
    return list(islice((one for one in found if not onboarding.why_not(one, user)), SHOWN))


def proposals(user: Any) -> QuerySet[Proposal]:
    """Codes to remember that wait for this person's agreement: of those whose change set waits, what they may decide."""
    seen = Proposal.objects.visible_to(user, roles=access.APPROVERS).filter(state=Proposal.State.PROPOSED)
    theirs = ChangeSet.objects.visible_to(user, roles=access.CONFIGURERS).exclude(own(user))
    waits = Q(change_set__isnull=False, change_set__state=ChangeSet.State.SUBMITTED)
    seen = seen.exclude(waits & ~Q(change_set__in=theirs))
    return seen.exclude(proposed_by=user.pk).select_related("proposed_by", "entity").order_by("pk")


def later_plans(user: Any) -> list[RateBundle]:
    """Later plans of what follows in the books that this person may agree to; the first goes with its change set."""
    seen = RateBundle.objects.visible_to(user).filter(state=RateBundle.State.PLANNED, round__gt=1)
    found = seen.exclude(planned_by=user.pk).select_related("change_set", "planned_by").order_by("pk")
    return list(islice((one for one in found if not booking.why_not(one, user)), SHOWN))


def waiting(user: Any) -> list[Waiting]:
    """Everything of the kinds above, the oldest of each kind first."""
    found = (_changes, _plans, _invoices, _bills, _certificates, _live, _codes, _people)
    return [one for kind in found for one in kind(user)]


def certificates(user: Any) -> QuerySet[Certificate]:
    """Periods that somebody prepared and that wait for this person's signature."""
    seen = Certificate.objects.visible_to(user, roles=access.APPROVERS).filter(state=Certificate.State.PREPARED)
    return seen.exclude(prepared_by=user.pk).order_by("pk")


def _changes(user: Any) -> Iterator[Waiting]:
    for one in listed().filter(pk__in=waiting_for(user).values("pk")).order_by("pk")[:SHOWN]:
        codes = "all entities" if one.is_shared else ", ".join(entity.code for entity in one.entities.all())
        note = _line(one.created_by, figures.moment(one.submitted_at) if one.submitted_at else "", codes)
        to_review = one.state != ChangeSet.State.SUBMITTED
        if not to_review and one.preview:
            note = _line(note, _consequence(one.preview))
        yield Waiting(
            one.title,
            reverse("change_set", args=[one.pk]),
            note,
            "Emergency, to review" if to_review else "",
            to_review,
        )


_MOVES = (
    ("passes", "pass"),
    ("fails", "fail"),
    ("new_passes", "new pass"),
    ("new_fails", "new are held"),
    ("repriced", "with another amount"),
    ("leaves", "leave the ledger"),
)


def _consequence(preview: Mapping[str, Any]) -> str:
    """What a dry-run found, in words: of open entries, and of what is booked and would be reversed, with its money."""
    counts = [(int((preview.get(name) or {}).get("entries", 0)), words) for name, words in _MOVES]
    told = ", ".join(f"{count:,} {words}" for count, words in counts if count) or "touches no open entry"
    if not any(count for count, _ in counts) and preview.get("entries"):
        told = "nothing changes for open entries"
    booked = preview.get("booked") or {}
    if count := int(booked.get("entries", 0)):
        sums = ", ".join(
            f"{figures.amount(Decimal(pair['before']), code)} {code}" for code, pair in sorted(booked["money"].items())
        )
        told = f"{told}; {count:,} booked to reverse{f', {sums}' if sums else ''}"
    return told


def _certificates(user: Any) -> Iterator[Waiting]:
    for one in certificates(user).select_related("period__entity", "prepared_by")[:SHOWN]:
        accepted = f"{one.differing:,} open items accepted" if one.differing else "balanced"
        note = _line(one.prepared_by, figures.moment(one.prepared_at), one.period.entity.code, accepted)
        url = reverse("reconciliation_period", args=[one.period_id])
        yield Waiting(f"Certify {one.period.entity.code} {one.period.code}", url, note, "Certificate to sign")


def _plans(user: Any) -> Iterator[Waiting]:
    for one in later_plans(user):
        note = _line(one.planned_by, figures.moment(one.created_at), f"{one.total:,} booked entries")
        yield Waiting(one.change_set.title, reverse("rate_bundle", args=[one.pk]), note, "What follows in the books")


def _invoices(user: Any) -> Iterator[Waiting]:
    found = waits_for(user).select_related("project", "customer", "released_by", "entity").order_by("pk")[:SHOWN]
    for one in found:
        money = f"{figures.amount(one.net, one.currency)} {one.currency}"
        note = _line(one.released_by, money, one.customer.name, one.entity.code)
        tag = "Invoice to approve" if one.released_by_id else "Invoice to release"
        yield Waiting(f"{one} of {one.project.code}", reverse("invoice_proposal", args=[one.pk]), note, tag)


def _bills(user: Any) -> Iterator[Waiting]:
    seen = BillingDecision.objects.visible_to(user, roles=access.APPROVERS).filter(
        needs_approval=True, approved_at=None, outcome="", version=F("bill__current")
    )
    found = seen.exclude(by=user.pk).select_related("by", "bill__current", "bill__entity", "version").order_by("pk")
    for one in found[:SHOWN]:
        note = _line(one.by, figures.moment(one.at), one.get_choice_display(), one.bill.entity.code)
        yield Waiting(str(one.bill), reverse("bill", args=[one.bill_id]), note, "Bill to decide")


def _live(user: Any) -> Iterator[Waiting]:
    for one in going_live(user):
        when = figures.moment(one.proposed_at) if one.proposed_at else ""
        yield Waiting(
            f"{one} goes live", reverse("onboarding", args=[one.pk]), _line(one.proposed_by, when, one.proposed_because),
            "Going live",
        )  # fmt: skip


def _codes(user: Any) -> Iterator[Waiting]:
    for one in proposals(user)[:SHOWN]:
        note = _line(one.proposed_by, figures.moment(one.proposed_at), one.entity.code)
        yield Waiting(str(one), reverse("proposal", args=[one.pk]), note, "Code to remember")


def _people(user: Any) -> Iterator[Waiting]:
    asked = ErasureRequest.objects.to_decide(user, access.CONFIGURERS).select_related("resource", "asked_by")
    for one in asked.order_by("pk")[:SHOWN]:
        note = _line(one.asked_by, figures.moment(one.asked_at))
        yield Waiting(f"Forget {one.resource}", reverse("erasure", args=[one.pk]), note, "Person to forget")


def _line(*parts: Any) -> SafeString:
    return format_html_join(" · ", "{}", ((part,) for part in parts if part))
