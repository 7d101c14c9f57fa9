"""One bundle on screen: what is booked anew, what every bill is off by, what is left and why, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from typing import Any, cast

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db.models import Count, F, QuerySet, Sum
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse

from portal import access, figures, keys, sessions
from portal.export import Cell
from portal.models import User
from portal.screens import Tile
from portal.views import step_up
from reconciliation import changes
from reconciliation.models import BillDifference, BundleRow, ChangeSet, RateBundle
from reconciliation.rates import booking, planning, unsettled
from reconciliation.rates.planning import NotPlannable
from reconciliation.sql import rates as rates_sql
from reconciliation.views.rates import CardScreen

State, Way, Result = RateBundle.State, BundleRow.Way, BundleRow.Result
SHOWN = 100  # rows of one table; a file holds all
TONES = {
    State.PLANNED: "warn",
    State.RUNNING: "info",
    State.PLANNING: "info",
    State.DONE: "good",
    State.OUTDATED: "bad",
}
ENDS = {Result.DONE: "good", Result.SKIPPED: "warn", Result.FAILED: "bad", Result.PENDING: ""}


class BundlePage(CardScreen):
    """One bundle, whole or while it is under way only its part."""

    template_name = "rates/bundle.html"

    def bundle(self, pk: int) -> RateBundle:
        """The bundle of the address, where the person sees its change set."""
        rows = RateBundle.objects.visible_to(self.person).select_related(
            "change_set", "planned_by", "approved_by", "refused_by"
        )
        return get_object_or_404(rows, pk=pk)

    def get(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The page, or its rows as a file."""
        bundle = self.bundle(pk)
        file = self.exported(
            f"Consequences of change set {bundle.change_set_id}", [bundle.change_set.title], self.file_rows(bundle)
        )
        return file if file is not None else self.tell(bundle)

    def post(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Plan again, agree to a later plan, or cancel one that has not begun."""
        bundle = self.bundle(pk)
        step = STEPS.get(request.POST.get("action", ""))
        if step is None:
            raise BadRequest("There is no such action here.")
        try:
            after = step(request, bundle, cast("User", request.user))
        except changes.SignInAgain as limit:
            here = reverse("rate_bundle", args=[bundle.pk])
            return HttpResponseRedirect(step_up.lead(request, str(limit), here), status=HTTPStatus.SEE_OTHER)
        except booking.Decided as same:
            messages.info(request, str(same))
            after = bundle
        except NotPlannable as refusal:
            return self.tell(bundle, refusal=str(refusal), status=HTTPStatus.UNPROCESSABLE_ENTITY)
        return HttpResponseRedirect(reverse("rate_bundle", args=[after.pk]), status=HTTPStatus.SEE_OTHER)

    def rows(self, bundle: RateBundle) -> QuerySet[BundleRow]:
        """The rows of entities that the person sees."""
        return BundleRow.objects.filter(bundle=bundle).visible_to(self.person)

    def tell(self, bundle: RateBundle, *, refusal: str = "", status: int = HTTPStatus.OK) -> HttpResponseBase:
        """The page."""
        rows = self.rows(bundle)
        is_current = bundle.content_hash == planning.content_of(bundle.change_set)
        user = cast("User", self.person)
        listed = rows.exclude(way=Way.BILL).select_related("entry__resource", "entry__project", "entity")
        listed = listed.order_by(F("result").desc(), "-amount_before", "pk")
        waits = bundle.state == State.PLANNED and bundle.round > 1
        over = is_over(bundle.change_set) and bundle.started_at is None
        return self.page(
            self.context(
                title=str(bundle),
                bundle=bundle,
                tone="" if over else TONES.get(State(bundle.state), ""),
                is_over=over,
                standing=standing_of(bundle),
                tiles=tiles_of(bundle, rows),
                bills=self.bills(bundle),
                rows=list(listed[:SHOWN]),
                more=max(0, listed.count() - SHOWN),
                ends=ENDS,
                is_current=is_current,
                refusal=refusal,
                is_moving=bundle.state in (State.PLANNING, State.RUNNING),
                on_bills=rows.filter(way=Way.BILL).count(),
                hidden=bundle.total - rows.count(),
                left=rows.filter(result__in=[Result.SKIPPED, Result.FAILED]).count(),
                may_plan=may_plan(bundle.change_set, user),
                unsettled=unsettled.causes_of(bundle.change_set, user),
                waits=waits,
                why_not=booking.why_not(bundle, user) if waits else "",
                step_up=changes.plan_over_limit(bundle) if waits else "",
                others=RateBundle.objects.filter(change_set=bundle.change_set_id).order_by("round"),
            ),
            status=status,
        )

    def bills(self, bundle: RateBundle) -> list[dict[str, Any]]:
        """Every bill with what was billed, what it would be, the net, and what was credited since it was proposed."""
        entries: dict[int, list[int]] = {}
        for invoice_id, entry_id in self.rows(bundle).filter(way=Way.BILL).values_list("invoice_id", "entry_id"):
            entries.setdefault(invoice_id or 0, []).append(entry_id)
        bills = bundle.bills.visible_to(self.person).select_related("invoice__current", "invoice__entity")
        credited = rates_sql.credited_since(
            [(bill.invoice_id, bill.proposed_at) for bill in bills if bill.proposed_at], entries
        )
        return [
            {"bill": bill, "credited": credited.get(bill.invoice_id, Decimal(0)),
             "open": max(-bill.net - credited.get(bill.invoice_id, Decimal(0)), Decimal(0))}
            for bill in bills
        ]  # fmt: skip

    def file_rows(self, bundle: RateBundle) -> Iterator[list[Cell]]:
        """Every row that the person sees."""
        yield [
            "Entry", "Entity", "Person", "Project", "Work date", "What", "Bill", "Hours", "Rate before", "Rate after",
            "Amount before", "Amount after", "Net", "Currency", "Result", "Why", "Reversal", "Booked anew as",
        ]  # fmt: skip
        rows = self.rows(bundle).select_related("entry__resource", "entry__project", "entity", "invoice__current")
        for row in rows.order_by("pk").iterator(chunk_size=2000):
            net = (
                row.amount_after - row.amount_before
                if row.amount_after is not None and row.amount_before is not None
                else None
            )
            yield [
                row.entry_id, row.entity.code, row.entry.resource.name if row.entry.resource else "",
                row.entry.project.code if row.entry.project else "", row.entry.work_date, row.get_way_display(),
                row.invoice.current.number if row.invoice else "", row.hours, row.rate_before, row.rate_after, row.amount_before,
                row.amount_after, net, row.currency, row.get_result_display(), row.detail, row.reversal_id, row.rebooked_id,
            ]  # fmt: skip


def tiles_of(bundle: RateBundle, rows: QuerySet[BundleRow]) -> list[Tile]:
    """Per way: how many, and from which money to which."""
    found = []
    for way, label, note in (
        (Way.REBOOK, "Booked anew", "taken back by a reversal each"),
        (Way.BILL, "On bills", "the posted entries stay"),
        (Way.LEFT, "Left", "each with its reason"),
    ):
        some = rows.filter(way=way)
        sums = some.order_by("currency").values("currency").annotate(
            n=Count("pk"), before=Sum("amount_before"), after=Sum("amount_after")
        )  # fmt: skip
        money = [_moves(row) for row in sums if way != Way.LEFT]
        count = sum(row["n"] for row in sums)
        unit = "entry" if count == 1 else "entries"
        found.append(Tile(label, figures.number(count), unit=unit, note=" · ".join(money) or note))
    if bundle.started_at and bundle.total:
        found.append(Tile("Ended", figures.number(bundle.done), unit=f"of {figures.number(bundle.total)}"))
    return found


@dataclass(frozen=True, slots=True)
class Agreed:
    """The plan that is agreed to with its change set: its figures as on its own page, and whether it is of what is written.

    Of a change set that goes its way without anybody agreeing, it is the plan that nobody agreed to.
    """

    bundle: RateBundle
    tiles: list[Tile]
    bills: list[BillDifference]
    is_current: bool
    standing: str  # who agrees to it, or that nobody does


def agreed_with(change_set: ChangeSet, user: Any) -> Agreed | None:
    """The plan that whoever approves this change set agrees to as well; None where there is none, or it has begun."""
    bundle = RateBundle.objects.filter(change_set=change_set, round=1, started_at=None).first()
    if bundle is None:
        return None
    rows = BundleRow.objects.filter(bundle=bundle).visible_to(user)
    bills = bundle.bills.visible_to(user).select_related("invoice__current")
    is_current = bundle.planned_at is not None and bundle.content_hash == planning.content_of(change_set)
    return Agreed(bundle, tiles_of(bundle, rows), list(bills), is_current, standing_of(bundle))


def standing_of(bundle: RateBundle) -> str:
    """What becomes of the first plan of a change set that has not begun, in a sentence; empty where nothing need be said."""
    change_set = bundle.change_set
    if bundle.round != 1 or bundle.started_at is not None:
        return ""
    if is_over(change_set):
        return f"The change set was {change_set.get_state_display().lower()}, so nothing of this is booked."
    was_applied = change_set.state in (ChangeSet.State.APPLYING, ChangeSet.State.APPLIED)
    if change_set.is_emergency or bundle.state == State.OUTDATED:
        again = "It is planned again once the change set is applied, and a second person agrees then."
        return f"Nobody {'has agreed' if was_applied else 'agrees'} to this: nothing of it is booked. {again}"
    if change_set.decided_by_id is None:
        return "Approving the change set agrees to this too."
    if bundle.version != change_set.agreed_plan:
        return "Whoever approved the change set was not shown this: nothing of it is booked, and it is planned again."
    anew = bundle.rows.filter(way=Way.REBOOK).exists()
    if was_applied:
        return (
            f"It was agreed to with the change set{', and is being booked' if anew else '; no entry is booked anew'}."
        )
    return f"It was agreed to with the change set{', and is booked once that is applied' if anew else ''}."


def is_over(change_set: ChangeSet) -> bool:
    """Whether a change set was refused or taken back, so that nothing comes of it."""
    return change_set.state in (ChangeSet.State.REJECTED, ChangeSet.State.WITHDRAWN)


@dataclass(frozen=True, slots=True)
class Following:
    """What follows, or followed, in the books from a change set that was applied: in a few words, and in a sentence."""

    bundle: RateBundle
    words: str
    sentence: str


def following(change_set: ChangeSet, user: Any) -> Following | None:
    """The latest plan that was agreed to, as it is told once the change set is applied; None where nothing was planned."""
    bundle = RateBundle.objects.filter(change_set=change_set, approved_by__isnull=False).order_by("-round").first()
    if bundle is None:  # agreed to with the change set, and not begun yet
        agreed = RateBundle.objects.filter(change_set=change_set, round=1, planned_at__isnull=False)
        bundle = next((one for one in agreed if one.version == change_set.agreed_plan), None)
    if bundle is None:
        return None
    rows = BundleRow.objects.filter(bundle=bundle, way=Way.REBOOK).visible_to(user)
    sums = rows.order_by("currency").values("currency").annotate(
        n=Count("pk"), before=Sum("amount_before"), after=Sum("amount_after")
    )  # fmt: skip
    count = sum(row["n"] for row in sums)
    money = " · ".join(_moves(row) for row in sums)
    verb = "were" if bundle.state == State.DONE else "are being"
    words = f"{figures.number(count)} {verb} reversed and booked anew"
    bills = bundle.bills.visible_to(user).count()
    off = f"{figures.number(bills)} {'bill is' if bills == 1 else 'bills are'} off by a difference" if bills else ""
    if off and not count:
        return Following(bundle, off, f"{off}, and nothing is booked anew")
    entries = "entry" if count == 1 else "entries"
    many = f"{figures.number(count)} booked {entries} {'was' if count == 1 and verb == 'were' else verb}"
    return Following(
        bundle, words, f"{many} reversed and booked anew{f', {money}' if money else ''}{f'; {off}' if off else ''}"
    )


def _moves(row: Any) -> str:
    before, after, code = row["before"] or Decimal(0), row["after"] or Decimal(0), row["currency"]
    net = after - before
    sign = "+" if net > 0 else ""
    return (
        f"{figures.amount(before, code)} to {figures.amount(after, code)} {code}, net {sign}{figures.amount(net, code)}"
    )


def may_plan(change_set: ChangeSet, user: Any) -> bool:
    """Whether a person may plan what follows now: who writes the draft, or finance of its entities once it is applied."""
    if not planning.cards_of(change_set):
        return False
    if change_set.state == ChangeSet.State.DRAFT:
        return changes.is_editor(change_set, user)
    entities = change_set.entities.values_list("pk", flat=True)
    here = [*entities, *([None] if change_set.is_shared else [])]
    return change_set.state == ChangeSet.State.APPLIED and all(access.may(user, access.FIXERS, one) for one in here)


def begin(request: HttpRequest, change_set: ChangeSet, user: User) -> RateBundle:
    """Plan, and say so. Raises NotPlannable."""
    if not may_plan(change_set, user):
        raise NotPlannable("It is planned by who writes the draft, and by finance of its entities once it is applied.")
    made = planning.begin(change_set, by=user)
    messages.success(request, "Planned on what stands now." if made.planned_at else "It is being planned.")
    return made


def _plan(request: HttpRequest, bundle: RateBundle, user: User) -> RateBundle:
    return begin(request, bundle.change_set, user)


def _approve(request: HttpRequest, bundle: RateBundle, user: User) -> RateBundle:
    booking.approve(bundle, by=user, signed_in_again=sessions.signed_in_just_now(request))
    messages.success(request, "Approved. It is booked now; you can leave this page.")
    return bundle


STEPS: dict[str, Callable[[HttpRequest, RateBundle, User], RateBundle]] = {"plan": _plan, "approve": _approve}


class NewBundleScreen(CardScreen):
    """Plans what follows from a change set that nobody planned yet."""

    def post(self, request: HttpRequest) -> HttpResponseBase:
        """Plan it, and lead there; or back with why not."""
        number = keys.key(request.POST.get("change_set", ""))
        change_set = get_object_or_404(ChangeSet.objects.visible_to(request.user), pk=number)
        try:
            bundle = begin(request, change_set, cast("User", request.user))
        except NotPlannable as refusal:
            messages.error(request, str(refusal))
            return HttpResponseRedirect(reverse("change_set", args=[change_set.pk]), status=HTTPStatus.SEE_OTHER)
        return HttpResponseRedirect(reverse("rate_bundle", args=[bundle.pk]), status=HTTPStatus.SEE_OTHER)
