"""What the demo firm's ERP bills for the month, and what its people and its customers' banks then do to the bills.

invoice            what                                                              what comes of it
ACM-2213           a flight and a cab are on it; half a day is credited, hours named  open to bill again
ACM-2240           voided and billed again under another number, which is paid        its hours follow
THM-3301           part of it is paid; the rest comes and is applied to nothing       paid in part, a rule suggests
MRL-6100           three invoices, one payment settles them                           paid
NRD-5100           a line is changed in the ERP afterwards                            a person decides
CRN-4100           deleted in the ERP                                                 a person decides

The Dutch write none by hand: theirs is proposed, released, approved and made in Business Central (`story.py`), paid in two parts,
and a few euros of it are given up there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from integrations.demo import firm
from integrations.demo.firm import Month
from portal.models import LedgerEntry, Receipt, State

TAXES = {"US": Decimal(0), "GB": Decimal("0.20"), "DE": Decimal("0.19"), "SG": Decimal("0.09")}
BILLED = {"ACM-2213": 1, "ACM-2240": 1, "THM-3301": 1, "MRL-6100": 3, "NRD-5100": 1, "CRN-4100": 1}
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Line:
    """The line of what is posted: the id of its time bill or expense report, hours, rate and net."""

    number: str
    hours: Decimal
    rate: Decimal
    net: Decimal
    text: str


def lines_of(project: str) -> list[Line]:
    """The hours of a project that are posted, billable and not reversed, in order."""
    return _posted(project, "time")


def _posted(project: str, kind: str) -> list[Line]:
    entries = LedgerEntry.objects.filter(
        project__code=project, state_row__state__in=[State.POSTED, State.RECONCILED], amount__gt=0, reverses=None,
        target__code="netsuite", kind=kind,
    ).order_by("work_date", "pk")  # fmt: skip
    receipts = dict(Receipt.objects.filter(entry__in=entries).values_list("entry_id", "number"))
    return [
        Line(receipts[one.pk], Decimal(one.hours or 0), Decimal(one.rate or 0), Decimal(one.amount or 0), one.memo)
        for one in entries
    ]


def invoices(month: Month) -> dict[str, list[dict[str, Any]]]:
    """The month's invoices, by project; what was spent stands on the first."""
    return {
        project: [
            invoice(month, project, place, lines[place::parts], spent=() if place else _posted(project, "expense"))
            for place in range(parts)
            if lines[place::parts]
        ]
        for project, parts in BILLED.items()
        if (lines := lines_of(project))
    }


def invoice(
    month: Month, project: str, place: int, lines: Sequence[Line], *, spent: Sequence[Line] = (), suffix: str = ""
) -> dict[str, Any]:
    """One invoice as NetSuite holds it: the time bills and expenses that it applies, with the account's own tax."""
    code = project.partition("-")[0]
    customer = next(one for one in firm.CUSTOMERS if one.code == code)
    entity = next(one for one in firm.ENTITIES if one.code == customer.entity)
    net = sum((line.net for line in (*lines, *spent)), Decimal(0))
    job = firm.project(project)
    worked = [_time(line, job, reference) for reference, line in enumerate(lines, start=1)]
    costs = [_cost(line, job, reference) for reference, line in enumerate(spent, start=len(lines) + 1)]
    taxes = _taxes([*worked, *costs], TAXES[entity.code])
    tax = sum((Decimal(str(one["taxAmount"])) for one in taxes), Decimal(0))
    due = month.last + timedelta(days=int(customer.invoiced[2] or 30))
    return {
        "id": invoice_id(project, place, is_again=bool(suffix)),
        "tranId": f"{project}-{month.first:%y%m}-{place + 1}{suffix}",
        "entity": {"id": customer.key, "refName": customer.name},
        "subsidiary": {"id": entity.subsidiary, "refName": entity.name},
        "currency": {"id": firm.CURRENCY_KEYS[entity.currency], "refName": entity.currency},
        "exchangeRate": 1.0,
        "tranDate": month.last.isoformat(),
        "dueDate": due.isoformat(),
        "subtotal": float(net),
        "taxTotal": float(tax),
        "total": float(net + tax),
        "amountPaid": 0,
        "amountRemaining": float(net + tax),
        "status": {"id": "A", "refName": "Open"},
        "time": {"items": worked},
        "expCost": {"items": costs},
        "taxDetails": {"items": taxes},
        "lastModifiedDate": stamp(),
    }


def invoice_id(project: str, place: int = 0, *, is_again: bool = False) -> str:
    """NetSuite's id of an invoice of the month."""
    return f"9{firm.project(project).job}{place}{1 if is_again else 0}"


def held(records: Sequence[dict[str, Any]], project: str) -> list[dict[str, Any]]:
    """The invoices of a project as NetSuite holds them, in order."""
    by_id = {str(one["id"]): {**one, "id": str(one["id"])} for one in records}
    wanted = [invoice_id(project, place) for place in range(BILLED[project])]
    return [by_id[one] for one in wanted if one in by_id]


def _taxes(lines: Sequence[dict[str, Any]], rate: Decimal) -> list[dict[str, Any]]:
    """The tax of each line, rounded by line, as SuiteTax keeps it beside them."""
    return [
        {
            "taxDetailsReference": {"id": line["taxDetailsReference"]}, "lineType": "Item", "netAmount": line["amount"],
            "taxBasis": line["amount"], "taxRate": float(rate * 100), "taxCode": {"id": "7", "refName": f"S-{rate * 100:f}"},
            "taxAmount": float((Decimal(str(line["amount"])) * rate).quantize(_CENT)),
        }
        for line in lines
    ]  # fmt: skip


def _time(line: Line, job: firm.Project, reference: int) -> dict[str, Any]:
    minutes = int(line.hours * 60)
    return {
        "apply": True, "doc": {"id": line.number}, "rate": float(line.rate), "quantity": f"{minutes // 60}:{minutes % 60:02}",
        "amount": float(line.net), "memo": line.text, "job": {"id": job.job, "refName": job.name},
        "taxDetailsReference": str(reference),
    }  # fmt: skip


def _cost(line: Line, job: firm.Project, reference: int) -> dict[str, Any]:
    return {
        "apply": True, "doc": {"id": line.number}, "line": 1, "amount": float(line.net), "originalAmount": float(line.net),
        "memo": line.text, "job": {"id": job.job, "refName": job.name}, "taxDetailsReference": str(reference),
    }  # fmt: skip


def half_a_day_credited(month: Month, billed: dict[str, Any]) -> dict[str, Any]:
    """A credit memo over four of the first line's hours, which it names."""
    first = billed["time"]["items"][0]
    rate = Decimal(str(first["rate"]))
    net, share = rate * 4, Decimal(str(billed["total"])) / Decimal(str(billed["subtotal"]))
    total = (net * share).quantize(_CENT)
    return {
        "id": f"8{billed['id'][1:]}", "tranId": f"C-{billed['tranId']}", "entity": billed["entity"],
        "subsidiary": billed["subsidiary"], "currency": billed["currency"], "createdFrom": {"id": billed["id"]},
        "tranDate": (month.last + timedelta(days=5)).isoformat(), "subtotal": float(net), "taxTotal": float(total - net),
        "total": float(total), "amountRemaining": 0, "status": {"id": "B", "refName": "Fully Applied"},
        "item": {"items": [{"line": 1, "quantity": 4, "rate": float(rate), "amount": float(net),
                            "description": "Half a day, as agreed", "custcol_tieout_posting": first["doc"]["id"]}]},
        "apply": {"items": [{"doc": {"id": billed["id"]}, "apply": True, "amount": float(total)}]},
        "lastModifiedDate": stamp(),
    }  # fmt: skip


def paid(
    billed: Sequence[dict[str, Any]], month: Month, share: Decimal = Decimal(1)
) -> list[tuple[str, dict[str, Any]]]:
    """One payment over some invoices, for all or a share of each: the payment, and the invoices as they then stand."""
    sums = [(Decimal(str(one["total"])) * share).quantize(_CENT) for one in billed]
    first = billed[0]
    payment = {
        "id": f"7{first['id'][1:]}", "tranId": f"PAY-{first['tranId']}", "customer": first["entity"],
        "subsidiary": first["subsidiary"], "currency": first["currency"],
        "tranDate": (month.last + timedelta(days=12)).isoformat(), "payment": float(sum(sums)), "applied": float(sum(sums)),
        "unapplied": 0, "checkNumber": f"BANK-{first['id']}", "status": {"id": "C", "refName": "Deposited"},
        "apply": {"items": [{"doc": {"id": one["id"]}, "apply": True, "amount": float(amount)}
                            for one, amount in zip(billed, sums, strict=True)]},
        "lastModifiedDate": stamp(),
    }  # fmt: skip
    after = [
        {**one, "amountPaid": float(amount), "amountRemaining": float(Decimal(str(one["total"])) - amount),
         "status": {"id": "B", "refName": "Paid In Full"} if share == 1 else one["status"], "lastModifiedDate": stamp()}
        for one, amount in zip(billed, sums, strict=True)
    ]  # fmt: skip
    return [("customerPayment", payment), *(("invoice", one) for one in after)]


def paid_in_business_central(billed: Sequence[dict[str, Any]], share: Decimal) -> dict[str, Any]:
    """A share of each of some invoices of Business Central is paid on its day: what its ledger and its custom page then hold."""
    parts = [{"Application": (Decimal(str(one["totalAmountIncludingTax"])) * share).quantize(_CENT)} for one in billed]
    return _settled("0008", billed, parts)


def rest_given_up(billed: Sequence[dict[str, Any]], given_up: Decimal) -> dict[str, Any]:
    """What is left of some invoices is paid but for a small sum of each, which the books give up as tolerance."""
    rests = [Decimal(str(one["remainingAmount"])) for one in billed]
    return _settled("0009", billed, [{"Application": rest - given_up, "Payment Tolerance": given_up} for rest in rests])


def _settled(series: str, billed: Sequence[dict[str, Any]], parts: Sequence[dict[str, Decimal]]) -> dict[str, Any]:
    """A payment of each of some invoices, with what the customer ledger says that its parts are; money is *Application*."""
    seed: dict[str, Any] = {"customerPaymentEntries": [], "actions": []}
    for number, (one, by) in enumerate(zip(billed, parts, strict=True)):
        named = {"invoiceId": one["id"], "invoiceNumber": one["number"], "unapplied": False}
        seed["actions"].append({"do": "pay", "invoice": one["id"], "amount": float(sum(by.values()))})
        seed["customerPaymentEntries"].append({
            "id": f"7d115c9c-{series}-4000-8000-{number:012}", "documentNumber": f"PAY-{series}-{one['number']}",
            "externalDocumentNumber": f"BANK-{one['number']}", "customerNumber": one["customerNumber"],
            "customerName": one["customerName"], "postingDate": one["postingDate"],
            "currencyCode": "", "amount": -float(by["Application"]), "remainingAmount": 0, "reversed": False,
            "applications": [{**named, "entryType": kind, "amount": -float(amount)} for kind, amount in by.items()],
        })  # fmt: skip
    return seed


def paid_without_a_word(billed: dict[str, Any], month: Month) -> dict[str, Any]:
    """A payment of what is left of an invoice that nobody applied to it."""
    rest = billed["amountRemaining"]
    return {
        "id": f"6{billed['id'][1:]}", "tranId": f"PAY-REST-{billed['tranId']}", "customer": billed["entity"],
        "subsidiary": billed["subsidiary"], "currency": billed["currency"],
        "tranDate": (month.last + timedelta(days=20)).isoformat(), "payment": rest, "applied": 0, "unapplied": rest,
        "checkNumber": f"BANK-6{billed['id']}", "status": {"id": "C", "refName": "Deposited"}, "apply": {"items": []},
        "lastModifiedDate": stamp(),
    }  # fmt: skip


def voided(billed: dict[str, Any]) -> dict[str, Any]:
    """The invoice, void."""
    return {**billed, "status": {"id": "V", "refName": "Voided"}, "amountRemaining": 0, "lastModifiedDate": stamp()}


def changed(billed: dict[str, Any]) -> dict[str, Any]:
    """The invoice after somebody took ten off its first line in the ERP."""
    first, *rest = billed["time"]["items"]
    lines = [{**first, "amount": first["amount"] - 10}, *rest]
    taxes = _taxes(lines, Decimal(str(billed["taxDetails"]["items"][0]["taxRate"])) / 100)
    net, tax = (
        sum((Decimal(str(row[name])) for row in rows), Decimal(0))
        for rows, name in ((lines, "amount"), (taxes, "taxAmount"))
    )
    paid_so_far = Decimal(str(billed["total"])) - Decimal(str(billed["amountRemaining"]))
    return {
        **billed, "time": {"items": lines}, "taxDetails": {"items": taxes}, "subtotal": float(net), "taxTotal": float(tax),
        "total": float(net + tax), "amountRemaining": float(net + tax - paid_so_far), "lastModifiedDate": stamp(),
    }  # fmt: skip


def stamp() -> str:
    """Now, as NetSuite writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
