"""One rehearsal on screen: how far it is, then every line with both sides, and what people decide about the differences."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

from django import forms
from django.db.models import Case, Count, IntegerField, Q, QuerySet, Sum, Value, When
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal import access, figures
from portal.models import User
from portal.screens import (
    Action,
    CurrencyColumn,
    DayColumn,
    Empty,
    HoursColumn,
    ListScreen,
    MainColumn,
    MoneyColumn,
    Notice,
    Outcome,
    Refused,
    StateColumn,
    Tab,
    Table,
    TextColumn,
    Tile,
)
from reconciliation import onboarding
from reconciliation.filters import RehearsedFilter
from reconciliation.models import Onboarding, Rehearsal, RehearsedLine
from reconciliation.onboarding import going_live
from reconciliation.rules import BY_CODE
from reconciliation.views.onboarding import READERS, standing_of

Found = RehearsedLine.Outcome
TONES: dict[str, str] = {
    Found.AGREES: "good", Found.HELD: "warn", Found.MISSING: "bad", Found.SURPLUS: "bad", Found.AMOUNT: "bad",
    Found.HOURS: "bad", Found.PROJECT: "bad", Found.PERIOD: "warn", Found.BOOKED: "info",
}  # fmt: skip
SHORT: dict[str, str] = {
    Found.SURPLUS: "No document",
    Found.PERIOD: "Day differs",
}  # where the whole words would be too wide
SHOWN = 6  # decisions, alike in person and reason, that are told in a few sentences
DIFFERS = ~Q(outcome=Found.AGREES)
SURE = Q(outcome=Found.BOOKED, confidence=RehearsedLine.Confidence.CONFIDENT)


class _Decide(Action):
    """One word of a person about chosen differences."""

    roles = access.FIXERS
    decision = ""
    reason = forms.CharField(max_length=500, widget=forms.Textarea(attrs={"rows": 2, "autofocus": True}))

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Write it down."""
        try:
            count = onboarding.decide(
                list(queryset.values_list("pk", flat=True)), self.decision, by=user, reason=self.cleaned_data["reason"]
            )
        except onboarding.NotYet as refusal:
            raise Refused(str(refusal)) from refusal
        return Outcome(f"{count:,} {'difference is' if count == 1 else 'differences are'} decided.")


class Accept(_Decide):
    """These may stay as they are."""

    name, label, decision, key = "accept", "Accept", RehearsedLine.Decision.ACCEPTED, "post"
    sentence, of_one, button = "Accept {count} differences", "Accept 1 difference", "Accept"


class Same(_Decide):
    """It is the same work: the document stays history."""

    name, label, decision = "same", "The same work", RehearsedLine.Decision.SAME
    sentence, button = "{count} documents were booked before and are never posted", "The same work"
    of_one = "1 document was booked before and is never posted"


class Other(_Decide):
    """It is other work: the document is posted when it goes live."""

    name, label, decision = "other", "Not the same work", RehearsedLine.Decision.OTHER
    sentence, button = "{count} documents are posted when it goes live", "Not the same work"
    of_one = "1 document is posted when it goes live"


def named(line: Any) -> str:
    """Who on what."""
    return f"{line.person or 'Somebody unknown'} on {line.project or 'no known project'}"


def line_address(line: Any) -> str:
    """Its place among the lines of the same person and day."""
    return f"{reverse('rehearsal', args=[line.rehearsal_id])}?tab=all&person={line.person}&day={line.work_date}"


def tiles_of(rehearsal: Rehearsal) -> list[Tile]:
    """Hours and money of both sides, what agrees, and what goes out when it goes live; none before it ended."""
    totals = rehearsal.totals
    if not totals:
        return []
    month = totals["outcomes"]["month"]
    agrees, every = month.get("agrees", 0), sum(month.values())
    hours = {side: Decimal(value) for side, value in totals["hours"].items()}
    found = [
        Tile("Agrees", f"{agrees:,} of {every:,}", note=f"{totals['confident']:,} beyond doubt"),
        Tile("Hours here", figures.hours(hours["left"]), "h", note=f"{figures.hours(hours['right'])} h booked"),
    ]
    for code, sums in sorted(totals["money"].items()):
        if code:
            left, right = Decimal(sums["left"]), Decimal(sums["right"])
            found.append(
                Tile("Amount here", figures.amount(left, code), code, note=f"{figures.amount(right, code)} booked")
            )
    if (owed := going_live.to_post(rehearsal)) is not None:
        count, money = owed
        worth = "".join(f" · {figures.amount(amount, code)} {code}" for code, amount in sorted(money.items()) if code)
        what = "document" if count == 1 else "documents"
        found.append(Tile("Posted when live", f"{count:,}", note=f"{what} since the cut-over{worth}"))
    return found


def decided_of(rehearsal: Rehearsal) -> list[str]:
    """What people decided about its differences: how many, by whom and why, with the money of both sides."""
    decided = RehearsedLine.objects.filter(rehearsal=rehearsal).exclude(decision="").order_by()
    alike = decided.values("decision", "decided_by", "reason", "currency").annotate(
        n=Count("pk"), ours=Sum("amount_left"), theirs=Sum("amount_right")
    )  # fmt: skip
    groups = list(alike.order_by("-n", "decision", "reason", "currency"))
    people = User.objects.in_bulk({group["decided_by"] for group in groups})
    told = []
    for group in groups[:SHOWN]:
        code, label = group["currency"], RehearsedLine.Decision(group["decision"]).label.lower()
        sides = [
            f"{figures.amount(amount, code)} {code} {where}"
            for amount, where in ((group["ours"], "here"), (group["theirs"], "booked")) if code and amount is not None
        ]  # fmt: skip
        what = "difference" if group["n"] == 1 else "differences"
        money = f" ({', '.join(sides)})" if sides else ""
        told.append(f"{group['n']:,} {what}{money}: {label}, by {people[group['decided_by']]}: “{group['reason']}”")
    if rest := sum(group["n"] for group in groups[SHOWN:]):
        told.append(f"{rest:,} more {'is' if rest == 1 else 'are'} decided; the page of the rehearsal lists all.")
    return told


class RehearsedTable(Table):
    """One line a row: whose work, what would be posted, what was booked, and what is said of it."""

    pk = MainColumn(
        verbose_name="Work", url=line_address, second=lambda line: line.sentence, drawer=False,
        orderable=False,
    )  # fmt: skip
    outcome = StateColumn(TONES, accessor="outcome")
    work_date = DayColumn(verbose_name="Work date")
    hours_left = HoursColumn(verbose_name="Hours here")
    hours_right = HoursColumn(verbose_name="Hours booked")
    amount_left = MoneyColumn(verbose_name="Amount here")
    amount_right = MoneyColumn(verbose_name="Amount booked")
    currency = CurrencyColumn()
    decision = TextColumn(verbose_name="Decided", wraps=True, empty_values=())
    number = TextColumn(verbose_name="Booking", optional=True)
    rule = TextColumn(verbose_name="Rule", optional=True)
    confidence = TextColumn(optional=True)

    def render_pk(self, record: Any, bound_column: Any) -> SafeString:
        """Who on what, linked to how it is explained."""
        shown: SafeString = bound_column.column.render(named(record), record)
        return shown

    def value_pk(self, record: Any) -> str:
        """The same words."""
        return f"{named(record)}: {record.sentence}" if record.sentence else named(record)

    def render_outcome(self, record: Any) -> SafeString:
        """The outcome in words."""
        return format_html(
            '<span class="state {}">{}</span>',
            TONES[record.outcome],
            SHORT.get(record.outcome) or record.get_outcome_display(),
        )

    def value_outcome(self, record: Any) -> str:
        """The words alone."""
        return str(record.get_outcome_display())

    def render_decision(self, record: Any) -> str:
        """What was decided, by whom and why."""
        if not record.decision:
            sure = record.outcome == Found.BOOKED and record.confidence == RehearsedLine.Confidence.CONFIDENT
            return "stays history" if sure else "" if record.outcome == Found.AGREES else "open"
        when = ""
        if record.decided_at and record.decided_at < record.rehearsal.asked_at:
            when = f" on {figures.day(record.decided_at.date())}, still the same"
        return f"{record.get_decision_display()} by {record.decided_by}{when}: {record.reason}"

    def value_decision(self, record: Any) -> str:
        """The same words."""
        return self.render_decision(record)

    def render_rule(self, value: str) -> str:
        """The rule's title."""
        return BY_CODE[value].title if value in BY_CODE else value


class RehearsalScreen(ListScreen):
    """What one rehearsal found, differences first."""

    template_name = "onboarding/rehearsal.html"
    roles = READERS
    filterset = RehearsedFilter
    table = RehearsedTable
    actions = (Accept, Same, Other)
    tabs = (
        Tab("open", "To decide", lambda _user: DIFFERS & Q(decision="") & ~SURE),
        Tab("missing", "Not booked", lambda _user: Q(outcome=Found.MISSING)),
        Tab("surplus", "Without a document", lambda _user: Q(outcome=Found.SURPLUS)),
        Tab("figures", "Figures differ", lambda _user: Q(outcome__in=[Found.AMOUNT, Found.HOURS])),
        Tab("place", "Project or day", lambda _user: Q(outcome__in=[Found.PROJECT, Found.PERIOD])),
        Tab("held", "Would be stopped", lambda _user: Q(outcome=Found.HELD)),
        Tab("booked", "Booked already", lambda _user: Q(outcome=Found.BOOKED)),
        Tab("agrees", "Agrees", lambda _user: Q(outcome=Found.AGREES)),
        Tab("all", "All"),
    )
    totals = {
        "hours_left": Sum("hours_left"), "hours_right": Sum("hours_right"),
        "amount_left": Sum("amount_left"), "amount_right": Sum("amount_right"),
    }  # fmt: skip
    currency = "currency"
    caption = "What the rehearsal found"

    @cached_property
    def rehearsal(self) -> Rehearsal:
        """The rehearsal of this address; one of another entity is not found."""
        seen = Rehearsal.objects.visible_to(self.request.user)
        related = ("onboarding__entity", "onboarding__source", "period", "asked_by")
        found: Rehearsal = get_object_or_404(seen.select_related(*related), pk=self.kwargs["pk"])
        return found

    @property
    def queryset(self) -> QuerySet[RehearsedLine]:  # type: ignore[override]
        """Its lines, differences before what agrees."""
        weight = Case(When(outcome=Found.AGREES, then=Value(1)), default=Value(0), output_field=IntegerField())
        lines = RehearsedLine.objects.filter(rehearsal=self.rehearsal).select_related("decided_by", "rehearsal")
        return lines.annotate(weight=weight).order_by("weight", "leg", "work_date")

    def rows(self) -> QuerySet[Any]:
        """The lines of this rehearsal, whatever entities are looked at elsewhere."""
        return self.queryset

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Name the page after what is rehearsed."""
        if request.user.is_authenticated:
            self.title = f"Rehearsal of {self.rehearsal}"
        return super().dispatch(request, *args, **kwargs)

    def context(self, **more: Any) -> dict[str, Any]:
        """The rehearsal beside its lines."""
        found = self.rehearsal
        return super().context(
            **more,
            found=found,
            standing=standing_of(found),
            is_running=found.state == Rehearsal.State.RUNNING,
            person=cast("User", self.request.user),
        )

    def tiles(self) -> list[Tile]:
        """Hours and money of both sides, what agrees, and what goes out when it goes live."""
        return tiles_of(self.rehearsal)

    def notices(self) -> list[Notice]:
        """Why it failed or waits, that a later one is there, and what is left to decide."""
        found: list[Notice] = []
        one = self.rehearsal
        if one.failure:
            found.append(Notice(one.failure, "bad"))
        if one.waits_for:
            found.append(Notice(f"{one.waits_for} It goes on by itself.", "info"))
        elif one.state == Rehearsal.State.RUNNING and one.lease_until and one.lease_until < timezone.now():
            found.append(Notice("The worker that had it has ended. Another one begins it anew.", "warn"))
        elif one.state == Rehearsal.State.EMPTY:
            found.append(
                Notice(
                    f"Nothing was worked and nothing booked in {one.period.code}, so nothing was compared and nothing is proved. "
                    "Have the sources' history read and name what was booked, then rehearse it again.",
                    "warn",
                )
            )
        if kept := one.totals.get("kept"):
            are = "difference was" if kept == 1 else "differences were"
            found.append(
                Notice(f"{kept:,} {are} decided in the rehearsal before, still the same, and not asked again.", "info")
            )
        later = Rehearsal.objects.filter(onboarding=one.onboarding_id, pk__gt=one.pk).order_by("-pk").first()
        if later is not None:
            found.append(Notice("A later rehearsal is there.", "info", reverse("rehearsal", args=[later.pk]), "See it"))
        elif one.state == Rehearsal.State.DIFFERS and not going_live.undecided(one):
            where = reverse("onboarding", args=[one.onboarding_id])
            is_open = one.onboarding.state == Onboarding.State.PREPARING
            lead = (where, "Propose to go live") if is_open else ("", "")
            found.append(Notice("Every difference is decided.", "good", *lead))
        return found

    def nothing(self) -> Empty:
        """By state and tab."""
        if self.rehearsal.state == Rehearsal.State.RUNNING:
            return Empty("It is being rehearsed", "Nothing leaves the portal; this page follows by itself.")
        if self.rehearsal.state == Rehearsal.State.FAILED:
            return Empty("It could not be made", "Nothing was compared.")
        if self.tab and self.tab.slug == "open":
            return Empty("Nothing is left to decide", "Every line agrees or was decided.", "?tab=all", "See all lines")
        return Empty("No line here", "The rehearsal found nothing of this kind.")
