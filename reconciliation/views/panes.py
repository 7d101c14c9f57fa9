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
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.functional import cached_property

from portal import access, keys
from portal.models import AccountingPeriod
from portal.screens import DetailScreen
from reconciliation import pairing
from reconciliation.models import Match, ReconciliationResult
from reconciliation.views.open_items import MatchItems, match_words
from reconciliation.views.reconciliation import ABOUT, result_address, result_name

Leg = ReconciliationResult.Leg
MOST = 200  # items of one side on the page
_SIDES = {"left": ("Left", "more on the left"), "right": ("Right", "more on the right")}
_NAMES = {
    Leg.LEDGER_TARGET: ("Ledger", "ERP"),
    Leg.INVOICE_PAYMENT: ("Invoices", "Payments"),
    Leg.TRACKER_LEDGER: ("Tracker", "Ledger"),
}


class MatchingPanes(DetailScreen):
    """One leg of one period, its open items on two sides."""

    queryset = AccountingPeriod.objects.select_related("entity")
    template_name = "reconciliation_runs/panes.html"
    object: AccountingPeriod
    refusal: str = ""  # why the choice was not matched

    @cached_property
    def leg(self) -> Leg:
        """The leg of this address; hours are tied to bills on the bill's page."""
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
        """What is unmatched or suggested, what belongs together by a rule beside each other, else the oldest first."""
        standing = ReconciliationResult.objects.standing().filter(
            period=self.object, leg=self.leg, standing__in=["unmatched", "suggested"]
        )
        words = self.request.GET.get("text", "").strip()
        if words:
            standing = standing.filter(
                Q(reason__icontains=words) | Q(document__external_id=words) | Q(line__number=words)
                | Q(bill__current__number=words) | Q(payment__current__number=words)
            )  # fmt: skip
        found: QuerySet[ReconciliationResult] = standing.select_related(
            *ABOUT, "run__entity", "match__rule", "match__decided_by", "match__period"
        )
        return found

    def side(self, name: str) -> QuerySet[ReconciliationResult]:
        """The items that have more on one side, by money, and by hours where the money is the same."""
        zero = Decimal(0)
        money = Coalesce(F("amount_left"), zero) - Coalesce(F("amount_right"), zero)
        hours = Coalesce(F("hours_left"), zero) - Coalesce(F("hours_right"), zero)
        rows = self.items().annotate(more_money=money, more_hours=hours)
        left = Q(more_money__gt=0) | Q(more_money=0, more_hours__gte=0)
        return rows.filter(left if name == "left" else ~left).order_by(
            F("match_id").asc(nulls_last=True), "dated", "pk"
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
            others=[(leg, Leg(leg).label, leg == self.leg) for leg in _NAMES], **more,
        )  # fmt: skip

    def _row(self, item: ReconciliationResult, is_chosen: bool, sign: int) -> dict[str, Any]:
        return {
            "item": item, "name": result_name(item), "url": result_address(item), "is_chosen": is_chosen,
            "hours": sign * item.more_hours, "amount": sign * item.more_money,  # type: ignore[attr-defined]
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
        return {"count": len(self.picked), "sides": sides, "is_within": within}

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Add up the choice, match it, or confirm what a rule suggests of it."""
        does = request.POST.get("do", "")
        if does not in ("match", "confirm"):
            return self.show()
        try:
            said = self._match() if does == "match" else self._confirm(self.picked)
        except pairing.NotMatchable as refusal:
            self.refusal = str(refusal)
            return self.show(HTTPStatus.UNPROCESSABLE_ENTITY)
        messages.success(request, said)
        return HttpResponseRedirect(reverse("matching_panes", args=[self.object.pk, self.leg]))

    def _match(self) -> str:
        post = self.request.POST
        fields = MatchItems.base_fields
        try:
            code, reason = (fields[name].clean(post.get(name, "")) for name in ("code", "reason"))
        except ValidationError as error:
            raise pairing.NotMatchable(" ".join(error.messages)) from error
        made = pairing.match(self.picked, self.request.user, code=code, reason=reason)  # type: ignore[arg-type]
        return f"{made.items} items are matched."

    def _confirm(self, items: Sequence[ReconciliationResult]) -> str:
        found = {item.match for item in items if item.match is not None and item.match.state == Match.State.SUGGESTED}
        if not found:
            raise pairing.NotMatchable("Nothing is suggested for these.")
        for match in sorted(found, key=lambda match: match.pk):
            pairing.confirm(match, self.request.user)  # type: ignore[arg-type]
        return f"{sum(match.items for match in found)} items are matched as suggested."
