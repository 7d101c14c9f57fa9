"""What coming work would lose by a change of rates, beside its dry-run on the open items: who, how much, until when."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from portal import figures
from portal.importing.problems import Refused
from portal.models import LegalEntity
from reconciliation.rates import coming
from reconciliation.rates.gaps import LOOKED_AHEAD
from reconciliation.views.changes import ChangeSetPage

SHOWN = 12  # people of whom the page tells


class ComingScreen(ChangeSetPage):
    """The part by itself, and as the page of the change set loads it."""

    template_name = "reconciliation/change_coming.html"
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest, pk: int, step: str = "") -> HttpResponse:
        """What is lost of the work of the entities that the person sees; nothing is asked of what is applied or over."""
        change_set, found, refusal = self.change_set(), [], ""
        if coming.may_lose(change_set):
            entities = LegalEntity.objects.visible_to(request.user)
            if not change_set.is_shared:
                entities = entities.filter(pk__in=change_set.entities.values("pk"))
            try:
                found = coming.lost(change_set, list(entities.values_list("pk", flat=True)), timezone.localdate())
            except Refused as problem:
                refusal = str(problem)
        sums: dict[str, Decimal] = defaultdict(Decimal)
        for one in found:
            if one.amount is not None:
                sums[one.gap.currency] += one.amount
        context = self.context(
            title=f"Coming work: {change_set.title}", change_set=change_set, refusal=refusal, rows=found[:SHOWN],
            more=max(0, len(found) - SHOWN), people=len({one.gap.person_id for one in found}),
            hours=sum((one.hours for one in found), Decimal(0)), days=LOOKED_AHEAD.days,
            money=" · ".join(f"{figures.amount(amount, code)} {code}" for code, amount in sorted(sums.items())),
        )  # fmt: skip
        return self.page(context)
