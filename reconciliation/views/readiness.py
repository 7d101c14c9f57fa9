"""Billing readiness on screen: the portfolio with the first blocker of each project, and one project with its twelve questions.

The rule here: a period is always chosen (the latest with work unless the address says another), so that figures of different
months are never added up, and a page asks the ledger for the days of one period only.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import django_filters as filters
from django.db import transaction
from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Sum
from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal import audit, charts, figures, notifications, sql
from portal.access import FIXERS
from portal.models import (
    AccountingPeriod,
    ApprovalStep,
    AuditEvent,
    BillingModel,
    GrantRole,
    InvoiceProposal,
    LedgerEntry,
    LegalEntity,
    NotificationKind,
    Project,
    ProposalLine,
    ProposalState,
    User,
)
from portal.records import DocumentKind
from portal.screens import (
    Action,
    CurrencyColumn,
    DayColumn,
    DetailScreen,
    Empty,
    HoursColumn,
    ListScreen,
    MainColumn,
    MoneyColumn,
    NumberColumn,
    Outcome,
    Refused,
    Tab,
    Table,
    TextColumn,
    Tile,
    within,
)
from portal.screens.base import roles_of
from portal.screens.entities import chosen_entities
from portal.screens.facets import AnyOf, Facet
from portal.screens.printing import EntityTotal, totals_by
from portal.screens.tables import Column
from reconciliation import readiness
from reconciliation.models import ProjectMonth
from reconciliation.readiness import Verdict
from reconciliation.sql import master_data
from reconciliation.sql import readiness as readiness_sql
from reconciliation.views.invoicing.actions import Prepare

NUDGED = "approver.nudged"
ONCE_IN = timedelta(hours=24)
BUCKETS = ((0, "0 to 14 days"), (15, "15 to 29"), (30, "30 to 59"), (60, "60 to 89"), (90, "90 and more"))
MODELS: dict[str, str] = dict(BillingModel.choices)


class NudgeApprover(Action):
    """Ask the people of the approval chain for what waits."""

    name, label, button = "nudge", "Nudge approver", "Ask them"
    sentence = "Ask the approvers of {count} project for what waits for approval"
    roles = FIXERS | {GrantRole.PROJECT_MANAGER}
    in_bulk = False

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Tell each approver who signs in here, once in 24 hours."""
        month = queryset.select_related("project", "period").get()
        with transaction.atomic():
            sql.rows("SELECT pg_advisory_xact_lock(%s, %s)", [0x6E756467, month.project_id % 2**31])
            _not_yet_nudged(month)
            period = month.period
            ((waiting, _, _),) = readiness_sql.waiting_for_approval(
                [month.project_id], period.starts_on, period.ends_on
            )
            if not waiting:
                raise Refused(f"Nothing of {month.project.code} in {period.code} waits for approval.")
            chain = list(ApprovalStep.objects.filter(project=month.project_id).select_related("approver"))
            emails = {step.approver.email.casefold() for step in chain if step.approver.email}
            people = [person for person in User.objects.exclude(email="") if person.email.casefold() in emails]
            told = notifications.notify(
                people, NotificationKind.APPROVAL, f"Time on {month.project} in {month.period.code} waits for your approval",
                url=reverse("readiness_project", args=[month.pk]), entity=month.project.entity_id, by=user,
                key=f"readiness:{month.pk}",
            )  # fmt: skip
            known = {person.email.casefold() for person in people}
            others = [step.approver for step in chain if step.approver.email.casefold() not in known]
            if not told:
                raise Refused(_unreachable(month.project, [str(one.email or one.name) for one in others]))
            audit.record(
                user, NUDGED, month.project, entity=month.project.entity_id, reason=f"Billing of {month.period.code}",
                after={"period": month.period.code, "told": sorted(person.username for person in people)},
            )  # fmt: skip
        more = f" {_and(others)} has no sign-in here." if others else ""
        return Outcome(f"{told} {'approver was' if told == 1 else 'approvers were'} asked.{more}")


def _not_yet_nudged(month: ProjectMonth) -> None:
    last = (
        AuditEvent.objects.filter(
            action=NUDGED, object_type="project", object_id=str(month.project_id), after__period=month.period.code,
            at__gt=sql.now() - ONCE_IN,
        ).order_by("-pk").first()
    )  # fmt: skip
    if last is not None:
        again = timezone.localtime(last.at + ONCE_IN)
        raise Refused(
            f"{last.actor_name} asked {figures.age(last.at)} ago; once in 24 hours is enough. Again from {again:%d %b %H:%M}."
        )


def _unreachable(project: Project, others: Sequence[str]) -> str:
    if not others:
        return f"{project.code} has no approval chain. Add who approves its time to the project's record."
    return f"{_and(others)} cannot be told here: no sign-in has that address. Write to them yourself."


def _and(names: Sequence[Any]) -> str:
    return " and ".join(str(name) for name in names)


class BlockerColumn(Column):
    """The first thing that stops the invoice, in words, with who has to act; never a bare red dot."""

    css = "text"

    def __init__(self) -> None:
        super().__init__(accessor="pk", orderable=False, verbose_name="First blocker")

    def render(self, record: Any) -> SafeString:
        """The words, linked to the cause, and under them who has to act."""
        found: readiness.Blocker | None = getattr(record, "blocker", None)
        if found is None:
            words, tone = _unstopped(record)
            return format_html('<span class="{}">{}</span>', tone, words)
        text = format_html('<a class="way" href="{}">{}</a>', found.url, found.words) if found.url else found.words
        under = [_has_it(found.who), f"and {found.more} more" if found.more else ""]
        small = " · ".join(word for word in under if word)
        return format_html("{}<small>{}</small>", text, small) if small else format_html("{}", text)

    def value(self, record: Any) -> str:
        """The words, and who has to act."""
        found: readiness.Blocker | None = getattr(record, "blocker", None)
        if found is None:
            return _unstopped(record)[0]
        return f"{found.words} ({_has_it(found.who)})" if found.who else found.words


def _has_it(who: str) -> str:
    """Who has to act, in words."""
    if not who:
        return ""
    return "nobody has it yet" if who == "nobody yet" else f"with {who}"


def _unstopped(month: ProjectMonth) -> tuple[str, str]:
    """What is said of a month that nothing stops, and its look."""
    if not month.amount and not month.milestones:
        return "Nothing by the hour, no milestone due", "quiet"
    if month.all_invoiced >= month.to_bill:
        return "Invoiced", "state good"
    if getattr(month, "drafted", None) and not month.all_ready:
        return "On its way: drafted, and not issued yet", "state info"
    if (proposal := getattr(month, "proposal", None)) is not None:
        return f"{proposal}: {PROPOSED[proposal.state]}", "state info"
    return "Ready", "state good"


def _percent(month: ProjectMonth) -> int | None:
    """How much of what is to be billed is ready or invoiced, hours and milestones; None where nothing is priced.

    What hours without a rate are worth nobody knows: they count as not ready, by their share of the hours.
    """
    if not month.to_bill:
        return None
    share = (month.all_ready + month.all_invoiced) * 100 / month.to_bill
    if month.unpriced_hours and month.hours:
        share *= max(month.hours - month.unpriced_hours, Decimal(0)) / month.hours
    return int(share)


PROPOSED: dict[str, str] = {
    ProposalState.OPEN: "to be released", ProposalState.RELEASED: "released, to be approved",
    ProposalState.APPROVED: "approved, not handed over", ProposalState.HANDED_OVER: "handed over as a draft",
    ProposalState.BILLED: "billed", ProposalState.VOIDED: "its bill was voided", ProposalState.DELETED: "its bill is deleted",
}  # fmt: skip


def proposals_of(months: Sequence[ProjectMonth]) -> dict[int, list[InvoiceProposal]]:
    """The invoices that are proposed of each month's work, by month, the latest first; one statement."""
    found: dict[int, list[InvoiceProposal]] = {}
    rows = InvoiceProposal.objects.filter(project__in={month.project_id for month in months}, state__in=PROPOSED)
    by_project: dict[int, list[InvoiceProposal]] = {}
    for proposal in rows.select_related("customer").order_by("-pk"):
        by_project.setdefault(proposal.project_id, []).append(proposal)
    for month in months:
        of_month = [
            one
            for one in by_project.get(month.project_id, ())
            if month.period.starts_on <= one.through <= month.period.ends_on
        ]
        if of_month:
            found[month.pk] = of_month
    return found


class PortfolioTable(Table):
    """Projects in a period: how much is ready, what stops the rest, and when it should go out."""

    project = MainColumn(
        verbose_name="Project", accessor="project__name", order_by="project__code", drawer=False,
        url=lambda month: reverse("readiness_project", args=[month.pk]),
        second=lambda month: f"{month.project.code} · {month.project.customer.name}",
    )  # fmt: skip
    entity = TextColumn(accessor="project__entity__code", order_by="project__entity__code", verbose_name="Entity")
    manager = TextColumn(accessor="project__manager__username", verbose_name="Manager", optional=True)
    kind = TextColumn(accessor="pk", orderable=False, verbose_name="Billed by", optional=True)
    period = TextColumn(accessor="period__code", order_by="period__starts_on", verbose_name="Period", optional=True)
    hours = HoursColumn(verbose_name="Hours")
    amount = MoneyColumn(verbose_name="Billable")
    currency = CurrencyColumn()
    milestones = MoneyColumn(verbose_name="Milestones", strong=False)
    ready = NumberColumn(accessor="pk", orderable=False, verbose_name="Ready %")
    blocked = MoneyColumn(verbose_name="Blocked", strong=False)
    blocker = BlockerColumn()
    since = NumberColumn(
        accessor="period__ends_on", order_by="period__ends_on", verbose_name="Days over", optional=True
    )
    left = MoneyColumn(accessor="left", orderable=False, verbose_name="Maximum left", strong=False, optional=True)
    last = TextColumn(accessor="last_invoice", orderable=False, verbose_name="Last invoice", optional=True)
    target = DayColumn(accessor="next_run", orderable=False, verbose_name="Next invoice")

    def value_project(self, record: Any) -> str:
        """The code with the name: files are read beside the ERP's."""
        return f"{record.project.code} {record.project.name}"

    def render_ready(self, record: Any) -> str:
        """The share in whole per cent; a dash where nothing is priced."""
        share = _percent(record)
        return figures.UNKNOWN if share is None else f"{share} %"

    def value_ready(self, record: Any) -> int | None:
        """The same as a figure."""
        return _percent(record)

    def render_blocked(self, value: Decimal, record: Any) -> SafeString:
        """The money that is blocked, and the hours of which nobody knows the money."""
        column: MoneyColumn = self.columns["blocked"].column
        shown = column.render(value, record)
        if not record.unpriced_hours:
            return shown
        return format_html("{}<small>{} h without a rate</small>", shown, figures.hours(record.unpriced_hours))

    def render_kind(self, record: Any) -> str:
        """The billing model in words."""
        return str(MODELS.get(readiness.billing_model_of(record.project), figures.UNKNOWN))

    def value_kind(self, record: Any) -> str:
        """The same."""
        return self.render_kind(record)

    def render_since(self, value: date) -> str:
        """Days since the period's end; a dash before it."""
        days = (timezone.localdate() - value).days
        return figures.number(days) if days > 0 else figures.UNKNOWN

    def value_since(self, value: date) -> int:
        """The same as a figure, 0 before the end."""
        return max(0, (timezone.localdate() - value).days)


class PortfolioFilter(filters.FilterSet):  # type: ignore[misc]
    """What project months are found by."""

    period = AnyOf("period__code", label="Period", distinct=False)
    entity = AnyOf("project__entity__code", label="Entity", distinct=False)
    customer = AnyOf("project__customer__code", label="Customer", distinct=False)
    manager = AnyOf("project__manager__username", label="Manager", distinct=False)
    text = filters.CharFilter(method="by_text", label="Project")

    def by_text(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """In the project's code or name."""
        return rows.filter(Q(project__code__icontains=value) | Q(project__name__icontains=value))

    class Meta:
        model = ProjectMonth
        fields: list[str] = []


def _is_ready() -> Q:
    nothing_stops = Q(blocked=0, under_way=0, stopped=0, unsigned=0, unpriced_hours=0, in_other_currency=0)
    return nothing_stops & (Q(ready__gt=0) | Q(milestones_ready__gt=0))


class Portfolio(ListScreen):
    """Projects of a period, the most blocked money first."""

    title = "Billing readiness"
    caption = "Projects in a period, the most blocked money first"
    queryset = ProjectMonth.objects.select_related(
        "project__entity", "project__customer", "project__contract", "project__manager", "period"
    )
    filterset = PortfolioFilter
    given = frozenset({"period"})
    facets = {
        "period": Facet("period__code"), "entity": Facet("project__entity__code", "project__entity__name"),
        "customer": Facet("project__customer__code", "project__customer__name"),
        "manager": Facet("project__manager__username"),
    }  # fmt: skip
    table = PortfolioTable
    totals = {name: Sum(name, default=Decimal(0)) for name in ("hours", "amount", "milestones")}
    currency = "currency"

    @cached_property
    def tabs(self) -> Sequence[Tab]:  # type: ignore[override]
        """A project manager begins with their own."""
        mine = Tab("mine", "My projects", lambda user: Q(project__manager=user.pk))
        whole = Tab("all", "All")
        first = (mine, whole) if GrantRole.PROJECT_MANAGER in roles_of(self.request) else (whole, mine)
        return (
            *first,
            Tab("held-up", "Blocked", lambda _user: Q(stopped__gt=0) | Q(unsigned__gt=0)),
            Tab("to-bill", "Ready", lambda _user: _is_ready()),
        )

    def rows(self) -> QuerySet[Any]:
        """The months of the chosen periods, so that tabs count nothing else."""
        chosen = [code for code in self.params.getlist("period") if code]
        periods = AccountingPeriod.objects.visible_to(self.request.user).filter(code__in=chosen)
        keys = list(within(periods, self.request).values_list("pk", flat=True))
        months: Any = readiness.added_up(self.queryset, keys) if chosen else self.queryset.all()
        return within(months.visible_to(self.request.user), self.request)

    @cached_property
    def params(self) -> QueryDict:
        """What the address says; where it names no period, the latest one with work."""
        said = super().params
        if any(said.getlist("period")) or not self.latest_period:
            return said
        filled = said.copy()
        filled["period"] = self.latest_period
        return filled

    @cached_property
    def latest_period(self) -> str:
        """The code of the period of the latest work that is not in the future."""
        worked = LedgerEntry.objects.filter(kind__in=[DocumentKind.TIME, DocumentKind.EXPENSE], project__isnull=False)
        done = worked.filter(work_date__lte=timezone.localdate())
        newest = done.filter(entity=OuterRef("pk")).order_by("-work_date").values("pk")[:1]
        of_each = LegalEntity.objects.filter(pk__in=chosen_entities(self.request).ids).values_list(Subquery(newest))
        last = LedgerEntry.objects.filter(pk__in=of_each).select_related("project").order_by("-work_date").first()
        if last is None or last.project is None:
            return ""
        held = AccountingPeriod.objects.filter(
            entity=last.project.entity_id, starts_on__lte=last.work_date, ends_on__gte=last.work_date
        )
        return held.values_list("code", flat=True).first() or ""

    def headline(self) -> str:
        """What the list is about."""
        return "How far the work of each project is on its way to the customer's invoice, and what stops the rest"

    @cached_property
    def summed(self) -> list[dict[str, Any]]:
        """What is ready, blocked and invoiced of the filter, hours and milestones, by currency, the most first."""
        whole = {
            "of_all": F("amount") + F("milestones"), "now": F("ready") + F("milestones_ready"), "held_up": F("blocked"),
            "billed": F("invoiced") + F("milestones_invoiced"),
        }  # fmt: skip
        sums = {
            name: Sum(what, default=Decimal(0)) for name, what in (whole | {"unpriced": F("unpriced_hours")}).items()
        }
        found = list(self.filtered.order_by().values("currency").annotate(**sums).order_by("-of_all", "currency"))
        beside = readiness.moved(self.filtered.order_by().values_list("project_id", "period_id", "currency"))
        for row in found:
            if (one := beside.get(row["currency"])) is not None:
                row["of_all"] -= one.replaced
                row["now"] -= one.held_out + one.replaced + one.drafted + one.on_hold
                row["held_up"] += one.held_out
                row["billed"] -= one.issued_to_nobody
                row["gone"] = one.gone
        return found

    def tiles(self) -> Sequence[Tile]:
        """Ready now, blocked, waiting for approval, invoiced."""
        if not self.summary.count:
            return []
        ids = list(self.filtered.order_by().values_list("project_id", "period__starts_on", "period__ends_on"))
        start, end = min(row[1] for row in ids), max(row[2] for row in ids)
        ((count, hours, _),) = readiness_sql.waiting_for_approval(sorted({row[0] for row in ids}), start, end)
        return [
            self._tile("Ready now", "now", "to-bill"),
            self._tile("Blocked", "held_up", "held-up", tone="bad", beside=self._unpriced()),
            Tile(
                "Waiting for approval",
                figures.hours(hours),
                "h",
                note="1 entry" if count == 1 else f"{count:,} entries",
            ),
            self._tile("Invoiced", "billed", beside=self._gone()),
        ]

    def _unpriced(self) -> str:
        hours = sum((row["unpriced"] for row in self.summed), Decimal(0))
        return f"and {figures.hours(hours)} h without a rate" if hours else ""

    def _gone(self) -> str:
        lost = [(row["gone"], row["currency"]) for row in self.summed if row.get("gone")]
        return "".join(f"of it {figures.amount(amount, code)} {code} on deleted invoices" for amount, code in lost[:1])

    def _tile(self, label: str, name: str, tab: str = "", tone: str = "", beside: str = "") -> Tile:
        sums = sorted(((row[name], row["currency"]) for row in self.summed if row[name]), reverse=True)
        most, code = sums[0] if sums else (Decimal(0), "")
        is_on = bool(tab and self.tab and self.tab.slug == tab)
        return Tile(
            label, figures.amount(most, code), code, self.query(tab="all" if is_on else tab) if tab else "",
            " · ".join([*(f"and {figures.amount(one, other)} {other}" for one, other in sums[1:]), *filter(None, [beside])]),
            tone if sums or beside else "", is_on,
        )  # fmt: skip

    def nothing(self) -> Empty:
        """Nothing left is good news; no work at all says where it comes from."""
        whole = self.query(tab="all")
        if self.tab and self.tab.slug == "mine":
            return Empty("None of your projects has work in this period", "", whole, "See all projects")
        if self.tab and self.tab.slug == "held-up":
            return Empty("Nothing is blocked", "Every project of this period can be billed.", whole, "See all")
        if self.tab and self.tab.slug == "to-bill":
            return Empty("No project is wholly ready", "What stops each of them is in the list.", whole, "See all")
        return Empty("No work in this period", "Work stands here once its source has been read.")

    def entity_totals(self) -> list[EntityTotal]:
        """Hours and money of each entity, for paper."""
        return totals_by(self.filtered, self.totals, entity="project__entity__code", currency="currency")

    def tell(self, records: Sequence[Any]) -> None:
        """First blocker, next and last invoice, and what is left of the maximum."""
        today = timezone.localdate()
        blockers = readiness.first_blockers(records)
        readiness.put_right(records)
        last = readiness_sql.last_invoices([record.project_id for record in records])
        contracts = [record.project.contract for record in records]
        spent = master_data.spent_under_contracts(
            sorted({one.pk for one in contracts if one is not None and one.cap_amount is not None}), []
        )
        proposals = proposals_of(records)
        for record in records:
            record.blocker = readiness.gone(record, blockers.get(record.pk))
            record.proposal = next(iter(proposals.get(record.pk, ())), None)
            runs = readiness.terms_of(record.project).runs(today)
            record.next_run = runs[0] if runs else None
            number, day = last.get(record.project_id, ("", None))
            record.last_invoice = f"{number}, {figures.day(day)}" if day else number
            contract = record.project.contract
            capped = contract is not None and contract.cap_amount is not None
            record.left = contract.cap_amount - spent.get(contract.pk, Decimal(0)) if capped else None


class ReadinessScreen(DetailScreen):
    """One project in one period: the twelve questions, what the customer would read, and how old the unbilled work is."""

    template_name = "reconciliation/readiness.html"
    queryset = Portfolio.queryset
    actions = (Prepare, NudgeApprover)
    object: ProjectMonth

    def rows(self) -> QuerySet[Any]:
        """The month of the address, where this person may open it."""
        return readiness.of_key(super().rows(), self.kwargs["pk"])

    def heading(self) -> str:
        """Project and period."""
        return f"{self.object.project.name}, {self.object.period.code}"

    def entity_id(self) -> int | None:
        """The project's entity."""
        return self.object.project.entity_id

    def context(self, **more: Any) -> dict[str, Any]:
        """Everything the page shows."""
        month, period = self.object, self.object.period
        checks = readiness.checklist(month)
        readiness.put_right([month])
        before = _before(period)
        parts = readiness_sql.parts(
            month.project_id, period.starts_on, period.ends_on, (before.starts_on, before.ends_on) if before else None
        )
        failing = [check for check in checks if check.verdict is Verdict.FAIL]
        return super().context(
            **more,
            month=month,
            checks=checks,
            failing=failing,
            percent=_percent(month),
            lost=readiness.gone(month, None),
            held_lines=_held_lines(month),
            parts=[part for part in parts if part.entries],
            stones=readiness.milestones_of(month),
            gone=[part for part in parts if not part.entries and part.before],
            totals=_totals(parts),
            before=before,
            manager=readiness.manager_of(month.project),
            proposals=[(one, PROPOSED[one.state]) for one in proposals_of([month]).get(month.pk, ())],
            model=MODELS.get(readiness.billing_model_of(month.project), ""),
            runs=readiness.terms_of(month.project).runs(timezone.localdate()),
            ageing=ageing([month.project_id]),
            entries=f"{reverse('ledger')}?project={month.project.code}&work_date_from={period.starts_on}&work_date_to={period.ends_on}",
        )  # fmt: skip


def _held_lines(month: ProjectMonth) -> list[ProposalLine]:
    """The lines that a person holds off an invoice with work of the month on them."""
    lines = ProposalLine.objects.filter(
        proposal__project=month.project_id, held_by__isnull=False, parts__released_at=None,
        parts__entry__work_date__range=(month.period.starts_on, month.period.ends_on),
    )  # fmt: skip
    return list(lines.distinct().order_by("pk")[:5])


def _before(period: AccountingPeriod) -> AccountingPeriod | None:
    """The period before, of the same entity."""
    earlier = AccountingPeriod.objects.filter(entity=period.entity_id, ends_on__lt=period.starts_on)
    return earlier.order_by("-ends_on").first()


def _totals(parts: Sequence[readiness_sql.Part]) -> list[tuple[str, Decimal, Decimal, Decimal, Decimal]]:
    """(currency, hours, amount, ready, amount before) of all lines."""
    sums: dict[str, list[Decimal]] = {}
    for part in parts:
        if part.currency:
            kept = sums.setdefault(part.currency, [Decimal(0)] * 4)
            for place, value in enumerate((part.hours, part.amount, part.ready, part.before)):
                kept[place] += value
    return [(code, *values) for code, values in sums.items()]  # type: ignore[misc]


def ageing(project_ids: Sequence[int]) -> list[tuple[str, SafeString]]:
    """One chart a currency: posted work and delivered milestones that no invoice has, by age in days."""
    sums: dict[str, dict[int, Decimal]] = {}
    for currency, bucket, amount in readiness_sql.unbilled(project_ids, timezone.localdate()):
        if amount:
            sums.setdefault(currency, {})[bucket] = amount
    return [
        (
            currency,
            charts.bars(
                [charts.Bar(words, found.get(bucket, Decimal(0))) for bucket, words in BUCKETS],
                title=f"Delivered and not invoiced, by age in days, {currency}", unit=currency, places=2,
            ),
        )
        for currency, found in sums.items()
    ]  # fmt: skip
