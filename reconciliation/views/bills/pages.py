"""The pages of a bill, of one of its lines and of a payment: versions, hours, credits, payments, and what is to be decided."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.core.exceptions import BadRequest, ValidationError
from django.db.models import Q
from django.forms import DecimalField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.functional import cached_property

from portal import access, figures
from portal.importing.cells import with_point
from portal.models import Allocation, Invoice, InvoiceLine, Payment, PaymentAllocation
from portal.screens import DetailScreen, Screen
from portal.tables import name_of
from reconciliation import billing, taken_back, triage
from reconciliation.bill_filters import STANDS
from reconciliation.models import ExceptionCase
from reconciliation.sql import billing as billing_sql
from reconciliation.tables import title_of
from reconciliation.views.bills import deciding, lines
from reconciliation.views.bills.lists import PAYMENT_TONES, standing
from reconciliation.views.bills.told import systems

ZERO = Decimal(0)


class BillPage(DetailScreen):
    """One bill: what its system states, whom it bills for which hours, what settles it, and what has to be decided."""

    queryset = Invoice.objects.select_related(
        "entity", "connection", "current__customer", "agreed", "credits__current", "invoice_draft__proposal"
    ).annotate(stands=STANDS)
    template_name = "bills/bill.html"
    object: Invoice

    def heading(self) -> str:
        """Its kind and number."""
        return str(self.object)

    @cached_property
    def held(self) -> frozenset[str]:
        """The person's roles in the bill's entity."""
        return access.roles_in(self.request.user, self.object.entity_id)

    def context(self, **more: Any) -> dict[str, Any]:
        """Everything that is known of the bill; a fixed number of queries."""
        if "object" not in more:
            return super().context(**more)
        bill, user = self.object, self.request.user
        settlements = list(_settlements(bill).visible_to(user))
        settled = sum((row.amount for row in settlements), ZERO) if bill.kind == "invoice" else ZERO
        may = bool(self.held & access.FIXERS)
        found = _cases("bill", bill.pk, user)
        differs = bill.agreed_id != bill.current_id and bill.agreed is not None and bill.current.status != "voided"
        compared = billing.compared(bill, lines.SHOWN) if differs else []
        decidable = may and (bool(compared) or "bill-not-as-approved" in {case.rule for case, _ in found})
        hours = lines.hours_of(bill) if compared else {}
        versions = list(bill.versions.order_by("-version"))
        words, tone = standing(bill)
        return super().context(
            **more,
            bill=bill,
            version=bill.current,
            status=words,
            tone=tone,
            lines=lines.of(bill),
            is_gone=lines.is_gone(bill),
            drafted=bill.current.status == "draft" and getattr(bill, "invoice_draft", None) is not None,
            settlements=settlements,
            settled=settled,
            left=ZERO if bill.current.status in (*lines.DEAD, "draft") else bill.current.total - settled,
            is_dead=bill.current.status in lines.DEAD,
            short=billing.short_of(bill, settled) if bill.kind == "invoice" else None,
            notes=bill.credit_notes.visible_to(user).select_related("current").order_by("pk"),
            versions=versions,
            changes=billing.between(versions),
            open_cases=found,
            systems=systems("invoice", bill.pk, user),
            choices=deciding.offered(bill, compared) if decidable else [],
            compared=[(one, hours.get(one.key, ())) for one in compared],
            days=deciding.days_of(bill),
            restorers=deciding.restorers(bill) if decidable else [],
            asked_to=self.request.POST.get("to", ""),
            **deciding.decision_of(bill, user, self.held),
            decisions=[
                (one, deciding.said(one))
                for one in bill.decisions.select_related("by", "approved_by", "ended_by", "version")
            ],
            owed=taken_back.owed([bill.pk]).get(bill.pk, ()) if bill.kind == "invoice" else (),
            off_by_rates=[one for one in billing_sql.owed_by_rates([bill.pk]).get(bill.pk, ()) if one.left],
            names_hours=may and "credit-without-hours" in {case.rule for case, _ in found},
            takes_back=may
            and bill.kind == "credit_note"
            and bool(billing.named_by_hand(bill, bill.agreed_id or bill.current_id) or billing.beside(bill)),
        )

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Decide about the version that was on the page; agree to a decision, refuse it, or withdraw it."""
        reason = request.POST.get("reason", "")
        try:
            deciding.decide(request, self.object, _number(request.POST.get("seen", "")))
        except billing.Decided as same:
            messages.info(request, str(same))
            return HttpResponseRedirect(reverse("bill", args=[self.object.pk]), status=HTTPStatus.SEE_OTHER)
        except (billing.NotDecidable, triage.NotPossible) as refusal:
            found = self.context(
                title=self.heading(), object=self.object, offered=[], here=request.get_full_path(), refusal=str(refusal),
                reason=reason,
            )  # fmt: skip
            return self.page(found, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        messages.success(request, "Decided, and kept in the audit trail.")
        return HttpResponseRedirect(reverse("bill", args=[self.object.pk]), status=HTTPStatus.SEE_OTHER)


class BillLinePage(Screen):
    """One line of a bill, its amount explained to the cent."""

    template_name = "bills/line.html"

    def get(self, request: HttpRequest, pk: int, line: int) -> HttpResponse:
        """The line with each thing on it."""
        bill = get_object_or_404(Invoice.objects.visible_to(request.user).select_related("entity", "current"), pk=pk)
        found = get_object_or_404(InvoiceLine.objects.select_related("version"), pk=line, version__invoice=bill)
        settled = billing.settled_by_kind(PaymentAllocation.objects.filter(invoice=bill))
        steps, parts = billing.explained(bill, found, settled)
        told = [(part, name_of(part.entry) if part.entry else "Milestone") for part in parts]
        return self.page(
            self.context(title=f"{bill}, line {found.position}", bill=bill, line=found, steps=steps, parts=told)
        )


class CreditPage(Screen):
    """Which hours a credit note gives back, where the note does not say it; or that it lowers the price alone."""

    template_name = "bills/credit.html"
    roles = frozenset(str(role) for role in access.FIXERS)

    def note(self) -> Invoice:
        """The credit note, where the person may fix in its entity."""
        found = Invoice.objects.visible_to(self.request.user, roles=self.roles)
        return get_object_or_404(
            found.select_related("entity", "current", "credits__current").filter(kind="credit_note"),
            pk=self.kwargs["pk"],
        )

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The form."""
        return self.show(self.note())

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Keep what was chosen; show the form again with what would fit."""
        note, reason, hours = self.note(), request.POST.get("reason", ""), ZERO
        try:
            if request.POST.get("action") == "take-back":
                billing.take_back(note, by=request.user, reason=reason)  # type: ignore[arg-type]
                messages.success(request, "Taken back. What it gives back is to be named again.")
                return HttpResponseRedirect(reverse("bill", args=[note.pk]), status=HTTPStatus.SEE_OTHER)
            if request.POST.get("action") == "beside":
                billing.credit_beside(note, by=request.user, reason=reason)  # type: ignore[arg-type]
                messages.success(
                    request, "It gives back none of our work: no hour is open again, and no price is lower."
                )
                return HttpResponseRedirect(reverse("bill", args=[note.pk]), status=HTTPStatus.SEE_OTHER)
            if request.POST.get("action") == "price":
                billing.credit_price(note, by=request.user, reason=reason)  # type: ignore[arg-type]
            else:
                picks = _picks(request)
                rest_is_beside = request.POST.get("action") == "hours-and-beside"
                billing.credit_hours(note, picks, by=request.user, reason=reason, rest_is_beside=rest_is_beside)  # type: ignore[arg-type]
                hours = sum((part.quantity for part in picks.values()), ZERO)
        except (billing.NotCreditable, ValueError) as refusal:
            return self.show(note, refusal=str(refusal), status=HTTPStatus.UNPROCESSABLE_ENTITY)
        messages.success(request, _named(hours))
        return HttpResponseRedirect(reverse("bill", args=[note.pk]), status=HTTPStatus.SEE_OTHER)

    def show(self, note: Invoice, *, refusal: str = "", status: int = HTTPStatus.OK) -> HttpResponse:
        """The invoice's hours that stand billed, each with a field for what is given back."""
        rows = []
        for row in lines.standing(Q(line__version__invoice=note.credits_id))[: lines.SHOWN]:
            prefix = f"{row.pk}-"
            typed = (self.request.POST.get(f"{prefix}hours", ""), self.request.POST.get(f"{prefix}amount", ""))
            rows.append((row, name_of(row.entry) if row.entry else str(row.milestone), typed))
        credited = sum((r.amount for r in Allocation.objects.filter(line__version__invoice=note)), ZERO)
        return self.page(
            self.context(
                title=f"Which hours does {note} give back?", note=note, rows=rows, refusal=refusal,
                wanted=note.current.net + credited, reason=self.request.POST.get("reason", ""),
            ),
            status=status,
        )  # fmt: skip


class PaymentPage(DetailScreen):
    """One payment: what its system states, which bills it settles, and what was taken back."""

    queryset = Payment.objects.select_related("entity", "connection", "current__customer")
    template_name = "bills/payment.html"
    object: Payment

    def heading(self) -> str:
        """Its kind and number."""
        return str(self.object)

    def context(self, **more: Any) -> dict[str, Any]:
        """Everything that is known of the payment; a fixed number of queries."""
        if "object" not in more:
            return super().context(**more)
        payment, user = self.object, self.request.user
        parts = list(
            PaymentAllocation.objects.visible_to(user)
            .filter(payment_version__payment=payment)
            .select_related("invoice__current")
            .order_by("pk")
        )
        applied = sum((part.amount for part in parts), ZERO)
        stated = payment.current.unapplied
        return super().context(
            **more,
            payment=payment,
            version=payment.current,
            tone=PAYMENT_TONES.get(payment.current.status, ""),
            parts=parts,
            applied=applied,
            left=stated if stated is not None else payment.current.amount - applied,
            versions=payment.versions.order_by("-version"),
            open_cases=_cases("payment", payment.pk, user),
            systems=systems("payment", payment.pk, user),
        )


def _settlements(bill: Invoice) -> Any:
    rows = PaymentAllocation.objects.select_related(
        "payment_version__payment__current", "credit_version__invoice__current", "invoice__current"
    ).order_by("pk")
    return rows.filter(invoice=bill) if bill.kind == "invoice" else rows.filter(credit_version__invoice=bill)


def _cases(kind: str, number: int, user: Any) -> list[tuple[ExceptionCase, str]]:
    found = ExceptionCase.objects.visible_to(user).filter(state="open", subject_type=kind, subject_key=str(number))
    return [(case, title_of(case.rule)) for case in found.order_by("pk")]


def _named(hours: Decimal) -> str:
    """What follows from what was named: only hours that were given back are open again."""
    if not hours:
        return "It lowers the price alone: no hour is open to be billed again."
    return f"The hours are named. {figures.hours(hours)} h, and only these, are open to be billed again."


def _number(typed: str) -> int:
    """The version that a form names. Raises BadRequest."""
    if not typed.isdecimal() or len(typed) > 9:
        raise BadRequest("The form says not which version of the bill was seen.")
    return int(typed)


_FIGURE = DecimalField(min_value=ZERO, max_digits=18, decimal_places=4)


def _picks(request: HttpRequest) -> dict[int, billing.Part]:
    """What was typed: allocation → hours and amount. Raises ValueError with a sentence."""
    typed: dict[int, list[Decimal]] = defaultdict(lambda: [ZERO, ZERO])
    for name, value in request.POST.items():
        number, _, what = name.partition("-")
        if what in ("hours", "amount") and number.isdecimal() and str(value).strip():
            try:
                typed[int(number)][what == "amount"] = _FIGURE.clean(with_point(str(value).strip()))
            except ValidationError:
                raise ValueError(
                    f"“{value}” is no figure from 0 on with at most 4 decimals; write it with a point, as 1250.50."
                ) from None
    return {number: billing.Part(*both) for number, both in typed.items()}
