"""The approvals inbox: every decision that takes a second person, whatever it is about, as one list.

The rule here: a person finds under *To decide* exactly what they may decide, and never what they asked for. What waits for
others, and what was decided, stands beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django.db.models import F, Func, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from portal import access, figures
from portal.models import LegalEntity
from portal.screens import (
    Badge,
    CurrencyColumn,
    Empty,
    ListScreen,
    MainColumn,
    MoneyColumn,
    NumberColumn,
    Tab,
    Table,
    TextColumn,
    WhenColumn,
    within,
)
from portal.screens.base import roles_of
from portal.screens.facets import Facet, Named
from portal.screens.panels import Line, Panel
from portal.screens.tables import Column
from reconciliation.filters import ApprovalFilter
from reconciliation.models import Approval
from reconciliation.models.approvals import may_decide
from reconciliation.views import inbox

SHOWN = 8  # on a person's first page
DECIDERS = frozenset().union(*(access.APPROVERS, access.CONFIGURERS, access.FIXERS))
OPEN = Q(is_open=True)
MACHINE = "the machine"
TONES: dict[str, str] = {"": "warn", Approval.Outcome.APPROVED: "good", Approval.Outcome.REFUSED: "bad"}


class MovedColumn(MoneyColumn):
    """What a decision moves; each currency in a line of its own where there are several."""

    def render(self, value: Any, record: Approval) -> SafeString:  # type: ignore[override]
        """The amount, or all of them."""
        if record.amount is not None:
            return super().render(record.amount, record)
        return format_html_join(SafeString("<br>"), "{}", ((one,) for one in inbox.money_of(record)))

    def value(self, value: Any, record: Any) -> Any:  # type: ignore[override]
        """The figure itself; several are said as they are shown."""
        return value


class StandingColumn(Column):
    """What the person may decide, each decision with its key; of anything else how it stands, or who decided what and when."""

    def __init__(self) -> None:
        super().__init__(verbose_name="State", orderable=False, accessor="outcome", empty_values=())

    def render(self, record: Any) -> SafeString:
        """The decisions, or the state."""
        if record.steps:
            links = ((step.url, step.attributes, step.key, step.word, record.title) for step in record.steps)
            return format_html_join(
                " · ", '<a class="way" href="{0}"{1} data-shortcut="{2}" aria-label="{3}: {4}">{3}</a>', links
            )
        state = format_html('<span class="state {}">{}</span>', TONES[record.outcome], record.get_outcome_display())
        if record.decided_by is None:
            return state
        when = f" · {figures.age(record.decided_at)}" if record.decided_at else ""
        return format_html("{}<small>by {}{}</small>", state, record.decided_by, when)

    def value(self, record: Any) -> str:
        """How it stands, in words."""
        by = f" by {record.decided_by}" if record.decided_by else ""
        return f"{record.get_outcome_display()}{by}"


class ApprovalTable(Table):
    """Decisions: what it is, what follows from it, who asked and since when it waits."""

    title = MainColumn(
        verbose_name="Decision", url=inbox.url_of, second=lambda one: one.reason,
        drawer=lambda one: one.kind in inbox.IN_DRAWER,
    )  # fmt: skip
    kind = TextColumn(verbose_name="Kind")
    entities = TextColumn(accessor="codes", order_by="entity__code", verbose_name="Entity")
    follows = TextColumn(accessor="pk", orderable=False, verbose_name="What follows", wraps=True)
    entries = NumberColumn(verbose_name="Entries")
    amount = MovedColumn(accessor="amounts", order_by="amount", verbose_name="Amount")
    currency = CurrencyColumn()
    by = TextColumn(
        accessor="asked_by__username", order_by="asked_by__username", verbose_name="Asked by", empty_values=()
    )
    asked_at = WhenColumn(verbose_name="Since", age=True)
    outcome = StandingColumn()

    def render_follows(self, record: Approval) -> str:
        """The sentence of its kind."""
        return inbox.consequence(record)

    def value_follows(self, record: Approval) -> str:
        """The same in a file."""
        return inbox.consequence(record)

    def value_amount(self, record: Approval) -> Any:
        """The figure where it is one; several are said as they are shown."""
        return record.amount if record.amount is not None else ", ".join(inbox.money_of(record))

    def render_by(self, record: Approval) -> str:
        """A person, or the machine."""
        return record.asked_by.get_username() if record.asked_by else MACHINE

    def value_by(self, record: Approval) -> str:
        """The same in a file."""
        return self.render_by(record)


class ApprovalList(ListScreen):
    """Every decision that takes a second person, the oldest first."""

    title = "Approvals"
    caption = "Decisions that take a second person"
    queryset = Approval.objects.select_related("entity", "asked_by", "decided_by")
    filterset = ApprovalFilter
    fresh = "asked_at"
    table = ApprovalTable
    tabs = (
        Tab("open", "To decide", may_decide),
        Tab("mine", "Asked by me", lambda user: OPEN & Q(asked_by=user.pk)),
        Tab("others", "With others", lambda user: OPEN & ~may_decide(user) & ~Q(asked_by=user.pk)),
        Tab("decided", "Decided", lambda _user: Q(is_open=False)),
    )
    primary = ("kind", "entity", "text")
    facets: ClassVar[Mapping[str, Facet]] = {
        "kind": Facet("kind", words=lambda code: str(Approval.Kind(code).label)),
        "entity": Facet("reached", expression=Func(F("entities"), function="unnest"), of=Named(LegalEntity)),
        "by": Facet("asked_by__username"),
    }

    def rows(self) -> QuerySet[Any]:
        """What is decided last comes first; what waits longest does."""
        found = super().rows()
        is_over = self.tab is not None and self.tab.slug == "decided"
        return (
            found.order_by(F("decided_at").desc(nulls_last=True), "-pk")
            if is_over
            else found.order_by("asked_at", "pk")
        )

    def tell(self, records: Sequence[Any]) -> None:
        """The entities of a page's rows, and what the person may decide about them."""
        inbox.tell(records, self.request.user)

    def headline(self) -> str:
        """What this list is."""
        return "Whatever takes a second person: who asked does not decide"

    def nothing(self) -> Empty:
        """What waits elsewhere."""
        if self.tab is not None and self.tab.slug != "open":
            return Empty("Nothing here", "What waits, and what was decided, stands in the other tabs.")
        own = self.base.filter(OPEN, asked_by=self.request.user.pk).count()
        if own:
            words = f"{own:,} of yours {'waits' if own == 1 else 'wait'} for somebody else."
            return Empty("Nothing waits for you", words, "?tab=mine", "See yours")
        return Empty(
            "Nothing waits for you",
            "Fixes above the limit of one person, changes, invoices, bills, certificates, going live, codes to remember and "
            "entries in doubt wait here for whoever may decide on them.",
        )


def to_decide(user: Any) -> Badge | None:
    """How many decisions wait for this person."""
    return inbox.badge(user, "Decisions that wait for you")


def panel(request: HttpRequest) -> Panel | None:
    """What waits for this person's decision, the oldest first; nothing for a person who decides nowhere."""
    if not roles_of(request) & DECIDERS and not inbox.counted(request.user):
        return None
    waiting = within(Approval.objects.filter(may_decide(request.user)), request)
    count = waiting.count()
    found = list(waiting.select_related("asked_by").order_by("asked_at", "pk")[:SHOWN]) if count else []
    inbox.tell(found)
    return Panel(
        key="decisions", title="Waits for your decision", position=11, is_wide=True, lines=[_line(one) for one in found],
        nothing="Nothing waits for a second person like you.", url=reverse("approvals"), count=count,
    )  # fmt: skip


def _line(one: Any) -> Line:
    by = one.asked_by.get_username() if one.asked_by else MACHINE
    since = f"asked {figures.age(one.asked_at)} ago" if one.asked_at else ""
    return Line(
        text=one.title, url=inbox.url_of(one), state=one.get_kind_display(), figures=inbox.money_of(one),
        tone="bad" if one.kind == Approval.Kind.REVIEW else "",
        note=" · ".join(filter(None, [by, one.codes, since, inbox.consequence(one)])),
    )  # fmt: skip
