"""The twelve questions about one project in one period, each answered from what stands now."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.urls import reverse
from django.utils import timezone

from portal import figures, money
from portal.models import AccountingPeriod, BillingModel, Customer, ExchangeRate, Milestone, PurchaseOrder, State
from reconciliation import budgets
from reconciliation.models import ExceptionCase, ProjectMonth
from reconciliation.readiness.agreements import billing_model_of, manager_of, terms_of, with_whom, without_milestones
from reconciliation.readiness.blockers import in_number
from reconciliation.readiness.left_out import causes_of, left_out
from reconciliation.readiness.lost import lost
from reconciliation.rules import theme_of
from reconciliation.sql import held_once, master_data
from reconciliation.sql import readiness as sql


class Verdict(StrEnum):
    """How one question is answered."""

    PASS = "pass"  # noqa: S105 - a word, no secret
    FAIL = "fail"
    NONE = "n.a."


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One of the twelve questions with its answer: in words, with count and money, who has to act, and the way out."""

    code: str
    question: str
    verdict: Verdict
    says: str = ""
    count: int = 0
    amount: Decimal | None = None
    currency: str = ""
    owner: str = ""
    way_out: str = ""
    url: str = ""

    @property
    def tone(self) -> str:
        """The colour that goes with the words."""
        return {Verdict.PASS: "good", Verdict.FAIL: "bad"}.get(self.verdict, "")


# Which question a hold answers, by the theme of its rule; what is in none of them is an open exception.
_OF_THEME = {
    "approvals": "approved", "rates": "rates", "people": "mapping", "targets": "mapping", "budgets": "budget",
    "expenses": "expenses", "periods": "period",
}  # fmt: skip
_QUESTIONS = {
    "approved": "All time is approved",
    "exceptions": "No exception is open",
    "rates": "Every hour has its rate on its day",
    "mapping": "Entities, people and target keys are mapped",
    "budget": "Purchase orders and maximum are not passed",
    "milestones": "Milestones that are due are signed",
    "expenses": "Expenses are posted",
    "tax": "Tax treatment and number fit",
    "terms": "Invoice schedule and payment terms are agreed",
    "period": "The period is open",
    "fx": "The exchange rate is there",
    "credits": "Earlier credits name their hours",
}
CHECKS = tuple(_QUESTIONS)
NO_HOURS = ("credit-without-hours",)


def _question_of(rule: str) -> str:
    return _OF_THEME.get(theme_of(rule), "exceptions")


def _treated(customer: Customer, payers: int) -> str:
    """How a customer's tax is treated; named where several pay."""
    who = f"{customer.name}: treated" if payers > 1 else "Treated"
    number = f", number {customer.tax_number}" if customer.tax_number else ""
    return f"{who} as {customer.get_tax_treatment_display().lower()}{number}."


@dataclass(slots=True)
class _Found:
    """What holds say about one question, added up; an entry that two causes stop is in it once."""

    entries: int = 0
    amount: Decimal = Decimal(0)
    cases: list[int] = field(default_factory=list)


class _Asked:
    """The twelve answers about one project month; a fixed number of statements."""

    def __init__(self, month: ProjectMonth) -> None:
        self.month, self.project, self.period = month, month.project, month.period
        self.customer: Customer = month.project.customer
        self.contract = month.project.contract
        self.manager = manager_of(month.project)
        self.stopped = sql.stopped([month])
        self.cases = ExceptionCase.objects.select_related("owner", "team").in_bulk(
            {one.case_id for one in self.stopped}
        )
        self.held: dict[str, _Found] = {}
        for one in self.stopped:
            self.held.setdefault(_question_of(one.rule), _Found()).cases.append(one.case_id)
        self.entries_held = 0
        for group in held_once.of_month(month) if self.stopped else ():
            self.entries_held += group.entries
            for code in {_question_of(rule) for rule in group.rules}:
                self.held[code].entries += group.entries
                self.held[code].amount += group.amount

    def check(self, code: str, verdict: Verdict, says: str, **more: Any) -> Check:
        """An answer with its question."""
        return Check(code=code, question=_QUESTIONS[code], verdict=verdict, says=says, **more)

    def holds(self, code: str, good: str) -> Check:
        """The answer that holds give: none of them is good news."""
        found = self.held.get(code)
        if found is None:
            return self.check(code, Verdict.PASS, good)
        case = self.cases[found.cases[0]]
        more = f" and {len(found.cases) - 1} more" if len(found.cases) > 1 else ""
        return self.check(
            code, Verdict.FAIL, f"{case.sentence.removesuffix('.')}{more}.", count=found.entries, amount=found.amount or None,
            currency=self.month.currency, owner=with_whom(case), way_out="Open the cause: it offers the ways out.",
            url=reverse("cause", args=[case.pk]),
        )  # fmt: skip

    def approved(self) -> Check:
        """What the source has that nobody approved, and approvals that do not hold."""
        held = self.holds("approved", "")
        ((count, hours, names),) = sql.waiting_for_approval(
            [self.project.pk], self.period.starts_on, self.period.ends_on
        )
        if not count:
            return held if held.verdict is Verdict.FAIL else self.check("approved", Verdict.PASS, "Nothing waits.")
        worth = self._worth_of(hours)
        about = f", about {figures.amount(worth, self.month.currency)} {self.month.currency}" if worth else ""
        told = "1 entry" if count == 1 else f"{count:,} entries"
        by = " at the average rate of the month" if worth else ""
        words = f"{told} with {figures.hours(hours)} h wait for approval at the source{about}{by}."
        if held.verdict is Verdict.FAIL:
            words = f"{words} {held.says}"
        return self.check(
            "approved", Verdict.FAIL, words, count=count + held.count,
            amount=(worth or Decimal(0)) + (held.amount or Decimal(0)) or None, currency=self.month.currency,
            owner=" and ".join(names) or self.manager, way_out="Ask the approver; what is approved comes in by itself.",
            url=held.url or f"{reverse('master', args=['approvalstep'])}?text={self.project.code}",
        )  # fmt: skip

    def _worth_of(self, hours: Decimal) -> Decimal | None:
        """What hours without a price of their own are worth by what the project's other hours of the period cost."""
        days = self.period.starts_on, self.period.ends_on
        rate = sql.average_rate(self.project.pk, *days, self.month.currency)
        return money.round_money(hours * rate, self.month.currency) if rate is not None else None

    @property
    def unasked(self) -> Decimal | None:
        """What of the month no issued invoice asks for yet: so much waits where its invoices cannot go out."""
        return max(self.month.to_bill - self.month.all_billed, Decimal(0)) or None

    def exceptions(self) -> Check:
        """Causes that no other question names, and what is in doubt."""
        found = self.holds("exceptions", "Nothing is held.")
        if found.verdict is Verdict.PASS and (bill := self.off_bill()) is not None:
            return bill
        loose = self.month.stopped - self.entries_held
        if found.verdict is Verdict.PASS and loose > 0:
            return self.check(
                "exceptions", Verdict.FAIL, f"{in_number(loose)} in doubt at the target.", count=loose, owner="Tieout",
                way_out="They are looked up by their key before anything is sent again.",
                url=f"{reverse('ledger')}?project={self.project.code}&state={State.IN_DOUBT}",
            )  # fmt: skip
        return found

    def off_bill(self) -> Check | None:
        """What no invoice asks for: work on void or deleted ones, and what was handed over and is billed otherwise."""
        for found, amount in ((lost, self.month.gone), (left_out, self.month.blocked)):
            if (blocker := found([self.month]).get(self.month.pk)) is not None:
                way_out = "Decide about the invoice." if blocker.way == "Decide" else f"{blocker.way}."
                return self.check(
                    "exceptions", Verdict.FAIL, blocker.words, count=1 + blocker.more, amount=amount or None,
                    currency=self.month.currency, owner=blocker.who, way_out=way_out, url=blocker.url,
                )  # fmt: skip
        return None

    def rates(self) -> Check:
        """Each billable hour has an amount."""
        found = self.holds("rates", "Each hour names the rate that it uses.")
        if found.verdict is Verdict.PASS and self.month.unpriced_hours and "exceptions" not in self.held:
            return self.check(
                "rates", Verdict.FAIL, f"{figures.hours(self.month.unpriced_hours)} h have no rate.", owner="finance",
                url=f"{reverse('ledger')}?project={self.project.code}",
                way_out="Agree the rate and add it to the rate card; the hours are priced again by themselves.",
            )  # fmt: skip
        return found

    def mapping(self) -> Check:
        """People's entities, relations between entities, and the target's own keys."""
        return self.holds("mapping", "Every person, entity and key is known.")

    def budget(self) -> Check:
        """What is left of the maximum and of purchase orders."""
        if self.contract is None:
            return self.check("budget", Verdict.NONE, "The project has no contract.")
        orders = list(
            PurchaseOrder.objects.filter(contract=self.contract, valid_from__lte=self.period.ends_on).exclude(
                valid_to__lt=self.period.starts_on
            )
        )
        retainer = self._retainer()
        if (
            self.contract.cap_amount is None
            and not orders
            and not self.contract.requires_purchase_order
            and not retainer
        ):
            return self.check("budget", Verdict.NONE, "Neither a maximum nor a purchase order is agreed.")
        left = [retainer] if retainer else []
        left += [one.words for one in budgets.of_contracts([self.contract]).values()]
        left += [one.words for one in budgets.of_orders(orders).values()]
        good = f"Left are {'; '.join(left)}." if left else "A purchase order is there."
        return self.holds("budget", good)

    def _retainer(self) -> str:
        """The hours of the month that its retainer pays for yet, and what becomes of those beyond; empty where it is no such."""
        contract = self.contract
        if (
            contract is None
            or contract.retainer_hours is None
            or billing_model_of(self.project) != BillingModel.RETAINER
        ):
            return ""
        month = (contract.pk, self.period.ends_on.replace(day=1))
        rest = contract.retainer_hours - master_data.drawn_from_retainers([month]).get(month, Decimal(0))
        return (
            f"{figures.hours(max(rest, Decimal(0)))} of {figures.hours(contract.retainer_hours)} h of the retainer (beyond them: "
            f"{contract.get_overage_display().lower()})"
        )

    def milestones(self) -> Check:
        """What is due by the period's end and not signed."""
        due = list(Milestone.objects.filter(project=self.project, due_on__lte=self.period.ends_on).order_by("due_on"))
        if not due and without_milestones([self.project]):
            return self.check(
                "milestones", Verdict.FAIL, "The fee is billed by milestones and the project has none: nothing will be billed.",
                owner=self.manager, way_out="Add the milestones that were agreed with the customer.",
                url=f"{reverse('master', args=['milestone'])}?text={self.project.code}",
            )  # fmt: skip
        if not due:
            return self.check("milestones", Verdict.NONE, "None is due.")
        if billing_model_of(self.project) == BillingModel.RETAINER:
            return self.check("milestones", Verdict.NONE, f"{len(due)} instalments are due; they need no signature.")
        waiting = [one for one in due if one.signed_on is None]
        if not waiting:
            return self.check("milestones", Verdict.PASS, f"All {len(due)} are signed.")
        first = waiting[0]
        more = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
        same = [one.amount for one in waiting if one.currency == self.month.currency]
        return self.check(
            "milestones", Verdict.FAIL, f"{first.name}, due {figures.day(first.due_on)}{more}: not signed.",
            count=len(waiting), amount=sum(same, Decimal(0)) or None, currency=self.month.currency, owner=self.manager,
            way_out="Have the customer sign, and record the day with the milestone.",
            url=f"{reverse('master', args=['milestone'])}?text={self.project.code}",
        )  # fmt: skip

    def expenses(self) -> Check:
        """Expenses of the period stand in the books."""
        held = self.holds("expenses", "")
        count, waiting, amount = sql.expenses(self.project.pk, self.period.starts_on, self.period.ends_on)
        if held.verdict is Verdict.FAIL:
            return held
        if not count:
            return self.check("expenses", Verdict.NONE, "There are none.")
        if not waiting:
            return self.check("expenses", Verdict.PASS, f"All {count} are posted.")
        return self.check(
            "expenses", Verdict.FAIL, f"{waiting} of {count} are not posted yet.", count=waiting, amount=amount,
            currency=self.month.currency, owner="finance",
            url=f"{reverse('ledger')}?project={self.project.code}&kind=expense",
            way_out="See where they stand; what is on its way needs nobody.",
        )  # fmt: skip

    def tax(self) -> Check:
        """A treatment that leaves the tax to the customer needs the customer's number."""
        paying = self._paying()
        lacking = [
            (customer, share) for customer, share in paying
            if customer.tax_treatment == Customer.TaxTreatment.REVERSE_CHARGE and not customer.tax_number
        ]  # fmt: skip
        if not lacking:
            return self.check("tax", Verdict.PASS, " ".join(_treated(customer, len(paying)) for customer, _ in paying))
        unasked = self.unasked or Decimal(0)
        amount = money.round_money(
            sum((unasked * share / 100 for _, share in lacking), Decimal(0)), self.month.currency
        )
        says = " ".join(
            f"{one.name} is treated as {one.get_tax_treatment_display().lower()} and has no tax number."
            for one, _ in lacking
        )
        return self.check(
            "tax", Verdict.FAIL, says, count=len(lacking), amount=amount or None, currency=self.month.currency, owner="finance",
            way_out="Ask the customer for the number and add it to the customer's record.",
            url=f"{reverse('master', args=['customer'])}?text={lacking[0][0].code}",
        )  # fmt: skip

    def _paying(self) -> list[tuple[Customer, Decimal]]:
        """Who pays for the project's work, and how much of it in per cent: its customer, or those who share it."""
        shares = self.contract.shares if self.contract else {}
        found = (
            list(Customer.objects.filter(code__in=shares).select_related("merged_into").order_by("code"))
            if shares
            else []
        )
        return [(one.merged_into or one, Decimal(str(shares[one.code]))) for one in found] or [
            (self.customer, Decimal(100))
        ]

    def terms(self) -> Check:
        """When the invoice goes out and how long the customer may take."""
        terms = terms_of(self.project)
        lacks = [] if terms.schedule else ["when it is invoiced"]
        if terms.terms_days is None and terms.is_invoiced:
            lacks.append("its payment terms")
        if not lacks:
            runs = terms.runs(timezone.localdate())
            when = f"Next invoice {figures.day(runs[0])}" if runs else "Invoiced by milestones or not at all"
            return self.check("terms", Verdict.PASS, f"{when}, {terms.terms_days or 0} days to pay.")
        return self.check(
            "terms", Verdict.FAIL, f"Nobody said {' and '.join(lacks)}.", count=len(lacks), amount=self.unasked,
            currency=self.month.currency, owner="finance",
            way_out="Add it to the contract or to the customer.",
            url=f"{reverse('master', args=['customer'])}?text={self.customer.code}",
        )  # fmt: skip

    def period_open(self) -> Check:
        """The period's books are open, or everything stands in them."""
        if self.period.state == AccountingPeriod.State.OPEN:
            return self.holds("period", f"{self.period.code} is open.")
        if not self.month.under_way and "period" not in self.held:
            return self.check(
                "period", Verdict.PASS, f"{self.period.code} is closed, and nothing waits to be booked in it."
            )
        found = self.holds("period", "")
        if found.verdict is Verdict.FAIL:
            return found
        return self.check(
            "period", Verdict.FAIL, f"{self.period.code} is closed while work is on its way to it.", owner="a controller",
            count=sql.on_their_way(self.project.pk, self.period.starts_on, self.period.ends_on),
            amount=self.month.under_way, currency=self.month.currency, way_out="It is held with the next open period offered.",
            url=f"{reverse('ledger')}?project={self.project.code}",
        )  # fmt: skip

    def fx(self) -> Check:
        """A rate into the entity's own currency, where the customer pays in another one."""
        books = self.project.entity.currency
        if self.month.currency == books:
            return self.check("fx", Verdict.NONE, f"The customer pays in {books}, as the books are kept.")
        rate = (
            ExchangeRate.objects.filter(
                currency=self.month.currency, to_currency=books, valid_from__lte=self.period.ends_on
            )
            .order_by("-valid_from")
            .first()
        )
        if rate is not None:
            worth = f"1 {self.month.currency} = {rate.rate.normalize():f} {books}"
            return self.check("fx", Verdict.PASS, f"{worth} from {figures.day(rate.valid_from)}, {rate.source}.")
        return self.check(
            "fx", Verdict.FAIL, f"No rate from {self.month.currency} into {books} by {figures.day(self.period.ends_on)}.",
            count=1, amount=self.unasked, currency=self.month.currency, owner="finance",
            way_out="Add the exchange rate.", url=reverse("master", args=["exchangerate"]),
        )  # fmt: skip

    def credits(self) -> Check:
        """A credit note that names no hours leaves it open which may be billed again."""
        notes = {pk: (number, total, code) for pk, number, total, code in sql.credit_notes(self.project.pk)}
        if not (causes := causes_of(notes, NO_HOURS)):
            return self.check("credits", Verdict.PASS, "None is open.")
        standing = [(pk, *note) for pk, note in notes.items() if pk in causes]
        first, number, _, currency = standing[0]
        total = sum((one[2] for one in standing if one[3] == currency), Decimal(0))
        more = f" and {len(standing) - 1} more" if len(standing) > 1 else ""
        return self.check(
            "credits", Verdict.FAIL, f"Credit note {number}{more} does not say which hours it credits.", count=len(standing),
            amount=total, currency=currency, owner=with_whom(causes[first]), url=reverse("bill", args=[first]),
            way_out="Name the hours; only these may be billed again.",
        )  # fmt: skip

    def all(self) -> list[Check]:
        """Every answer, in the order of the list."""
        return [
            self.approved(), self.exceptions(), self.rates(), self.mapping(), self.budget(), self.milestones(),
            self.expenses(), self.tax(), self.terms(), self.period_open(), self.fx(), self.credits(),
        ]  # fmt: skip


def checklist(month: ProjectMonth) -> list[Check]:
    """The twelve questions about one project month with their answers, in a fixed number of statements."""
    return _Asked(month).all()
