"""Matching by hand with both sides beside each other: what has more on the left, what has more on the right, what is left over.

The rule here: what is left over is worked out by the server whenever the choice changes, and nothing is matched above zero or the
entity's rest with a reason. Everything works without scripts: “Add up” says what the page says by itself with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Case, Count, F, Q, QuerySet, When
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.functional import cached_property

from portal import access, keys
from portal.models import AccountingPeriod
from portal.screens import DetailScreen, Screen
from reconciliation import pairing
from reconciliation.billing import tying
from reconciliation.models import Match, ReconciliationResult
from reconciliation.views.open_items import MatchItems, match_words
from reconciliation.views.results import ABOUT, result_address, result_name

Leg = ReconciliationResult.Leg
ZERO = Decimal(0)
_MONEY = ReconciliationResult._meta.get_field("amount_left")
MOST = 200  # items of one side on the page
_SIDES = {"left": ("Left", "more on the left"), "right": ("Right", "more on the right")}
_NAMES = {
    Leg.LEDGER_TARGET: ("Ledger", "ERP"),
    Leg.TARGET_INVOICE: ("Booked", "Invoiced"),
    Leg.INVOICE_PAYMENT: ("Invoices", "Payments"),
    Leg.TRACKER_LEDGER: ("Tracker", "Ledger"),
}
_RECORD = "Or have the record divided where it is kept: each part is read again and stands here by itself."
_IN_PARTS = {
    Leg.LEDGER_TARGET: _RECORD,
    Leg.TARGET_INVOICE: "Or tie in part: lines are tied to what was booked as far as they go; what is left of either stays open.",
    Leg.INVOICE_PAYMENT: "Or have so much of the payment applied to its bill, in the system that keeps both: it is read again, "
    "and each stands here with what is left of it.",
    Leg.TRACKER_LEDGER: _RECORD,
}  # how a part of an item is matched


class WhereToMatch(Screen):
    """Where there is most to match of a period: its leg with the most open items, else the ledger's with the ERP."""

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Lead there."""
        period = get_object_or_404(AccountingPeriod.objects.visible_to(request.user), pk=pk)
        standing = ReconciliationResult.objects.standing().filter(period=period, leg__in=list(_NAMES))
        open_ones = standing.filter(standing__in=["unmatched", "suggested"]).order_by().values_list("leg")
        most = open_ones.annotate(items=Count("pk")).order_by("-items", "leg").first()
        leg = most[0] if most else Leg.LEDGER_TARGET
        return HttpResponseRedirect(reverse("matching_panes", args=[period.pk, leg]))


class MatchingPanes(DetailScreen):
    """One leg of one period, its open items on two sides.

    Bills come in another month than the work, and payments in another than the bill: their items are those of every period.
    """

    queryset = AccountingPeriod.objects.select_related("entity")
    template_name = "reconciliation_runs/panes.html"
    object: AccountingPeriod
    refusal: str = ""  # why the choice was not matched

    @cached_property
    def leg(self) -> Leg:
        """The leg of this address."""
        found = self.kwargs["leg"]
        if found not in _NAMES:
            raise Http404
        return Leg(found)

    def heading(self) -> str:
        """What is matched."""
        return f"Match {self.leg.label}, {self.object.entity} {self.object.code}"

    @property
    def is_able(self) -> bool:
        """Whether this person matches items of the entity."""
        return access.may(self.request.user, access.FIXERS, self.object.entity_id)

    def items(self) -> QuerySet[ReconciliationResult]:
        """What is unmatched or suggested of the period, and what only waits for its bill or its money."""
        is_open = Q(standing__in=["unmatched", "suggested"])
        if self.leg in pairing.OVER_PERIODS:
            is_open |= Q(outcome="open") & (Q(match=None) | Q(match__state=Match.State.SUGGESTED))
        standing = ReconciliationResult.objects.standing().filter(is_open, leg=self.leg)
        if self.leg == Leg.INVOICE_PAYMENT:
            standing = standing.filter(period__entity=self.object.entity_id)
        elif self.leg == Leg.TARGET_INVOICE:
            lines = Q(period__entity=self.object.entity_id, bill_line__isnull=False)
            standing = standing.filter(Q(period=self.object) | lines)
        else:
            standing = standing.filter(period=self.object)
        words = self.request.GET.get("text", "").strip()
        if words:
            standing = standing.filter(
                Q(reason__icontains=words) | Q(document__external_id=words) | Q(line__number=words)
                | Q(bill__current__number=words) | Q(payment__current__number=words) | Q(entry__project__code=words)
                | Q(entry__resource__name__icontains=words)
            )  # fmt: skip
        found: QuerySet[ReconciliationResult] = standing.select_related(
            *ABOUT, "period", "run__entity", "match__rule", "match__decided_by", "match__period"
        )
        return found

    def side(self, name: str) -> QuerySet[ReconciliationResult]:
        """The items that have more on one side, by money, and by hours where the money is the same.

        What belongs together by a rule stands together; else this period's before the others', the oldest first.
        """
        money: Any = Coalesce(F("amount_left"), ZERO) - Coalesce(F("amount_right"), ZERO)
        if self.leg == Leg.TRACKER_LEDGER:  # a tracker states no money for hours
            money = Case(When(amount_left=None, then=ZERO), default=money, output_field=_MONEY)
        hours = Coalesce(F("hours_left"), ZERO) - Coalesce(F("hours_right"), ZERO)
        rows = self.items().annotate(more_money=money, more_hours=hours)
        left = Q(more_money__gt=0) | Q(more_money=0, more_hours__gte=0)
        here = Case(When(period=self.object, then=0), default=1)
        return rows.filter(left if name == "left" else ~left).order_by(
            F("match_id").asc(nulls_last=True), here, "dated", "pk"
        )

    @cached_property
    def picked(self) -> list[ReconciliationResult]:
        """The items that are chosen, as they stand."""
        return list(self.items().filter(pk__in=keys.keys(self.request.POST.getlist("selected"))).order_by("pk"))

    def context(self, **more: Any) -> dict[str, Any]:
        """Both sides, and what is left over of the choice."""
        ids = {item.pk for item in self.picked}
        titles = dict(zip(("left", "right"), _NAMES[self.leg], strict=True))
        panes = []
        for name in _SIDES:
            rows = list(self.side(name)[: MOST + 1])
            panes.append({
                "name": name, "title": titles[name], "says": _SIDES[name][1], "is_cut": len(rows) > MOST,
                "rows": [self._row(item, item.pk in ids, 1 if name == "left" else -1) for item in rows[:MOST]],
            })  # fmt: skip
        hours, amount = pairing.tolerance_of(self.object.entity)
        suggested = {item.match_id for item in self.picked if item.match_id}
        return super().context(
            panes=panes, most=MOST, weighed=self._weighed(), is_able=self.is_able, codes=Match.Code.choices[1:], most_hours=hours,
            most_amount=amount, suggested=len(suggested), said=self.request.POST, words=self.request.GET.get("text", ""),
            others=[(leg, Leg(leg).label, leg == self.leg) for leg in _NAMES], in_parts=_IN_PARTS[self.leg], leg=self.leg, **more,
        )  # fmt: skip

    def _row(self, item: ReconciliationResult, is_chosen: bool, sign: int) -> dict[str, Any]:
        has_hours = item.hours_left is not None or item.hours_right is not None
        return {
            "item": item, "name": result_name(item), "url": result_address(item), "is_chosen": is_chosen,
            "hours": sign * item.more_hours + ZERO if has_hours else None,  # type: ignore[attr-defined]
            "amount": sign * item.more_money + ZERO,  # type: ignore[attr-defined]
            "period": item.period.code if item.period_id != self.object.pk else "",
            "suggested": match_words(item) if item.match_id else "",
        }  # fmt: skip

    def _weighed(self) -> dict[str, Any]:
        """Both sides of the choice, and whether it may be matched so."""
        if not self.picked:
            return {"count": 0}
        try:
            sides = pairing.sides_of(self.picked)
        except pairing.NotMatchable as refusal:
            return {"count": len(self.picked), "refusal": str(refusal)}
        hours, amount = pairing.tolerance_of(self.object.entity)
        within = abs(sides.hours) <= hours and abs(sides.amount) <= amount
        work = pairing.open_to_bill(self.picked)
        parts = 0 < len(work) < len(self.picked) and not sides.is_even
        alone = len(self.picked) == 1 and not pairing.has_both_sides(self.picked[0])
        return {
            "count": len(self.picked), "sides": sides, "is_within": within, "in_part": parts, "is_alone": alone,
            "ties": bool(work),
        }  # fmt: skip

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Add up the choice, match it, or confirm what a rule suggests of it."""
        does = request.POST.get("do", "")
        if does not in ("match", "part", "confirm"):
            return self.show()
        try:
            said = self._confirm(self.picked) if does == "confirm" else self._match(in_part=does == "part")
        except pairing.NotMatchable as refusal:
            self.refusal = str(refusal)
            return self.show(HTTPStatus.UNPROCESSABLE_ENTITY)
        messages.success(request, said)
        return HttpResponseRedirect(reverse("matching_panes", args=[self.object.pk, self.leg]))

    def _match(self, *, in_part: bool) -> str:
        post = self.request.POST
        fields = MatchItems.base_fields
        try:
            code, reason = (fields[name].clean(post.get(name, "")) for name in ("code", "reason"))
        except ValidationError as error:
            raise pairing.NotMatchable(" ".join(error.messages)) from error
        made = tying.match(self.picked, self.request.user, code=code, reason=reason, in_part=in_part)  # type: ignore[arg-type]
        return f"{made.items} items are matched, as far as they go." if in_part else f"{made.items} items are matched."

    def _confirm(self, items: Sequence[ReconciliationResult]) -> str:
        found = {item.match for item in items if item.match is not None and item.match.state == Match.State.SUGGESTED}
        if not found:
            raise pairing.NotMatchable("Nothing is suggested for these.")
        for match in sorted(found, key=lambda match: match.pk):
            pairing.confirm(match, self.request.user)  # type: ignore[arg-type]
        return f"{sum(match.items for match in found)} items are matched as suggested."
