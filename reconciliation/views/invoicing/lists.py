"""The list of invoice proposals, and of everything that is on one of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.db.models import Case, CharField, Count, Exists, F, OuterRef, Q, QuerySet, Subquery, Sum, When
from django.db.models.functions import Cast, Coalesce
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html

from portal.models import GrantRole, InvoiceDraft, InvoiceProposal, ProposalLine, ProposalPart, ProposalState
from portal.screens import (
    Badge,
    CurrencyColumn,
    DayColumn,
    Empty,
    HoursColumn,
    ListScreen,
    MainColumn,
    MoneyColumn,
    NumberColumn,
    StateColumn,
    Tab,
    Table,
    TextColumn,
)
from portal.screens.base import roles_of
from portal.screens.printing import EntityTotal, totals_by
from portal.tables import name_of
from reconciliation import readiness
from reconciliation.invoice_filters import InvoiceProposalFilter, PartFilter
from reconciliation.models import Approval, ExceptionCase
from reconciliation.views import inbox

TONES: dict[str, str] = {
    ProposalState.OPEN: "info", ProposalState.RELEASED: "warn", ProposalState.APPROVED: "warn",
    ProposalState.HANDED_OVER: "info", ProposalState.BILLED: "good", ProposalState.VOIDED: "warn",
    ProposalState.DELETED: "warn", ProposalState.WITHDRAWN: "",
}  # fmt: skip
WAITS: dict[str, str] = {
    ProposalState.OPEN: "its project manager, to release it",
    ProposalState.RELEASED: "finance, to approve it",
    ProposalState.APPROVED: "finance, to say where it is billed",
    ProposalState.HANDED_OVER: "the system that bills",
}


GONE = (ProposalState.VOIDED, ProposalState.DELETED)


def _under(proposal: InvoiceProposal) -> str:
    words = [proposal.customer.name, str(proposal)]
    if proposal.purchase_order is not None:
        words.append(f"order {proposal.purchase_order.number}")
    if proposal.share != 100:
        words.append(f"{proposal.share.normalize():f} % of the work")
    return " · ".join(words)


def to_decide(user: Any) -> Badge | None:
    """How many proposals wait for this person, to be released or approved."""
    return inbox.badge(user, "Invoices that wait for you", [Approval.Kind.RELEASE, Approval.Kind.INVOICE])


_HELD = Coalesce(  # lines on hold, counted beside the proposal, so that its money is summed once
    Subquery(
        ProposalLine.objects.filter(proposal=OuterRef("pk"), held_by__isnull=False)
        .order_by().values("proposal").annotate(lines=Count("pk")).values("lines")
    ),
    0,
)  # fmt: skip


LEFT_OUT = "finance: its bill is not what was approved"
_LEFT_OUT = Q(state__in=[ProposalState.BILLED, *GONE]) & Exists(
    ProposalPart.objects.filter(line__proposal=OuterRef("pk"), released_at=None)
)
_KEYS = InvoiceDraft.objects.filter(lines__proposal=OuterRef(OuterRef("pk")), invoice__isnull=False)
_CAUSE = Subquery(  # of the bills that came of it, where something is left out of one
    ExceptionCase.objects.filter(
        state=ExceptionCase.State.OPEN, subject_type="bill", rule__in=readiness.OFF_BILL,
        subject_key__in=_KEYS.values(key=Cast("invoice", CharField())),
    ).order_by("rule").values("pk")[:1]
)  # fmt: skip


class ProposalTable(Table):
    """One proposal a row."""

    proposal = MainColumn(
        accessor="project__name", verbose_name="Invoice of", order_by=("project__code", "pk"), drawer=False,
        url=lambda proposal: reverse("invoice_proposal", args=[proposal.pk]), second=_under,
    )  # fmt: skip
    entity = TextColumn(accessor="entity__code", order_by="entity__code", verbose_name="Entity")
    through = DayColumn(verbose_name="Work through")
    manager = TextColumn(accessor="project__manager__username", verbose_name="Manager", optional=True)
    held = NumberColumn(verbose_name="Lines on hold", optional=True)
    net = MoneyColumn(verbose_name="Net")
    currency = CurrencyColumn()
    waits = TextColumn(accessor="state", orderable=False, verbose_name="Waits for")
    state = StateColumn(TONES)

    def render_waits(self, record: Any) -> Any:
        """Whose turn it is."""
        if getattr(record, "is_left_out", False) and record.cause:
            return format_html('<a class="way" href="{}">{}</a>', reverse("cause", args=[record.cause]), LEFT_OUT)
        return self.value_waits(record)

    def value_waits(self, record: Any) -> str:
        """The same without a link."""
        return LEFT_OUT if getattr(record, "is_left_out", False) else WAITS.get(record.state, "nobody")

    def render_state(self, record: Any) -> Any:
        """The state in words."""
        column: StateColumn = self.columns["state"].column
        return column.render(record.get_state_display(), record)

    def value_state(self, record: Any) -> str:
        """The words alone."""
        return str(record.get_state_display())


class ProposalList(ListScreen):
    """Invoices that are proposed, the latest first."""

    title = "Invoice proposals"
    caption = "Invoices that are proposed, the latest first"
    queryset = (
        InvoiceProposal.objects.select_related(
            "entity", "project__manager", "customer", "contract", "purchase_order", "released_by"
        )
        .annotate(held=_HELD, is_left_out=_LEFT_OUT, cause=_CAUSE)
        .order_by("-prepared_at", "-pk")
    )
    filterset = InvoiceProposalFilter
    table = ProposalTable
    primary = ("customer", "project", "state")
    totals = {"net": Sum("net", default=Decimal(0))}
    currency = "currency"

    @cached_property
    def tabs(self) -> tuple[Tab, ...]:  # type: ignore[override]
        """Whoever manages projects begins with what waits for their release, finance with what waits for approval."""
        to_release = Tab("open", "To release", lambda _user: Q(state=ProposalState.OPEN))
        to_approve = Tab(
            "released", "To approve", lambda _user: Q(state__in=[ProposalState.RELEASED, ProposalState.APPROVED])
        )
        first = (
            (to_release, to_approve)
            if GrantRole.PROJECT_MANAGER in roles_of(self.request)
            else (to_approve, to_release)
        )
        return (
            Tab("all", "All"),
            *first,
            Tab("under-way", "Handed over", lambda _user: Q(state=ProposalState.HANDED_OVER)),
            Tab("billed", "Billed", lambda _user: Q(state=ProposalState.BILLED)),
            Tab("gone", "Bill voided or deleted", lambda _user: Q(state__in=GONE)),
            Tab("mine", "My projects", lambda user: Q(project__manager=user.pk)),
        )

    def headline(self) -> str:
        """What this list is."""
        return (
            "What is to be billed next: proposed, released by the project, approved by finance, handed over as a draft"
        )

    def nothing(self) -> Empty:
        """Where proposals come from."""
        return Empty(
            "No invoice is proposed here",
            "Proposals come with the customer's next invoice run, or are prepared from a project's readiness.",
            reverse("readiness"),
            "Billing readiness",
        )

    def entity_totals(self) -> list[EntityTotal]:
        """Totals of each entity."""
        return totals_by(self.filtered, self.totals, entity="entity__code", currency="currency")


class PartTable(Table):
    """One hour, expense or milestone a row."""

    what = MainColumn(
        accessor="pk", verbose_name="What", orderable=False, drawer=False,
        url=lambda part: reverse("entry", args=[part.entry_id]) if part.entry_id else "",
        second=lambda part: f"line {part.line.position}",
    )  # fmt: skip
    work_date = DayColumn(accessor="entry__work_date", order_by="entry__work_date", verbose_name="Day")
    line = TextColumn(accessor="line__description", orderable=False, verbose_name="Line")
    task = TextColumn(accessor="entry__task__name", verbose_name="Task", optional=True)
    memo = TextColumn(accessor="entry__memo", orderable=False, verbose_name="Text")
    hours = HoursColumn(accessor="hours", verbose_name="Hours")
    rate = MoneyColumn(
        accessor="entry__rate",
        orderable=False,
        verbose_name="Rate",
        currency="line__proposal__currency",
        strong=False,
        exact=True,
    )
    amount = MoneyColumn(currency="line__proposal__currency", verbose_name="Amount")
    currency = CurrencyColumn(accessor="line__proposal__currency")

    def render_what(self, record: Any) -> Any:
        """Whose work it is."""
        column: MainColumn = self.columns["what"].column
        return column.render(self.value_what(record), record)

    def value_what(self, record: Any) -> str:
        """The words alone."""
        return name_of(record.entry) if record.entry else f"Milestone {record.milestone}"


class PartList(ListScreen):
    """The breakdown of one proposal: every hour, expense and milestone on it, which adds up to it to the cent."""

    caption = "Everything on the invoice, in the order of its lines"
    filterset = PartFilter
    table = PartTable
    totals = {"hours": Sum("hours", default=Decimal(0)), "amount": Sum("amount", default=Decimal(0))}
    currency = "line__proposal__currency"
    tabs = (
        Tab("going", "On the invoice", lambda _user: Q(line__held_by=None)),
        Tab("held", "On hold", lambda _user: Q(line__held_by__isnull=False)),
        Tab("all", "All"),
    )
    empty = Empty("Nothing is on it", "Its work was given back, or nothing was left to bill.")

    @cached_property
    def proposal(self) -> InvoiceProposal:
        """The proposal of this address; one of another entity is not found."""
        seen = InvoiceProposal.objects.visible_to(self.request.user).select_related("project", "customer")
        found: InvoiceProposal = get_object_or_404(seen, pk=self.kwargs["pk"])
        return found

    @property
    def queryset(self) -> QuerySet[ProposalPart]:  # type: ignore[override]
        """What is on the proposal, in the order of its lines."""
        hours = Case(When(entry__kind="time", then=F("quantity")))
        found = ProposalPart.objects.filter(line__proposal=self.proposal).annotate(hours=hours)
        return found.select_related(
            "line__proposal", "entry__resource", "entry__project", "entry__task", "milestone"
        ).order_by("line__position", "entry__work_date", "pk")

    def rows(self) -> QuerySet[Any]:
        """Of this proposal, whatever entities are looked at elsewhere."""
        return self.queryset

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Name the page after its proposal."""
        if request.user.is_authenticated:
            self.title = f"Breakdown of {self.proposal}, {self.proposal.project.code}"
        return super().dispatch(request, *args, **kwargs)

    def headline(self) -> str:
        """What this list is."""
        return f"Every hour, expense and milestone on {self.proposal} for {self.proposal.customer.name}"
