"""The numbers of a dry-run are the numbers that come: random changes of every kind over random worlds of work.

The work is open, booked, billed and partly credited. What came is asked of the ledger itself as well, not only of the change set:
of every open document, whether the change set says that it touches it or not, and of every booked entry. Whatever is validated
once more afterwards stays as it is, to the cent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, Phase, assume, event, example, given, note, settings
from hypothesis import strategies as st

from portal.models import (
    AccountingPeriod,
    Engagement,
    GrantRole,
    IntercompanyRelation,
    LedgerEntry,
    LedgerState,
    ProjectStatus,
    Task,
    User,
)
from portal.records import Reference
from reconciliation import changes, validation
from reconciliation.changes import ChangeRefused, Line, measuring
from reconciliation.models import ChangeSet
from reconciliation.rates.matrix import Span, span_of
from tests import bills, world
from tests.reconciliation import desk
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, build, post

pytestmark = pytest.mark.django_db
FIRST = date(2026, 10, 1)
UNKNOWN = "P-9000"  # a key of the source that nobody mapped

days = st.integers(0, 30).map(lambda number: (FIRST + timedelta(days=number)).isoformat())
amounts = st.decimals(0, 400, places=2).map(str)
yes_no = st.sampled_from(["true", "false"])

# The changes: what each kind of record may be asked to say


def rate(firm: Firm, amount: str, last: str | None) -> Line:
    return Line("rate", firm.rate.pk, "change", {"amount": amount, **({"valid_to": last} if last else {})})


def person(_firm: Firm, amount: str, first: str) -> Line:
    values = {"card": "ACME-2026", "card_version": "3", "resource": "ana", "currency": "USD", "amount": amount}
    return Line("rate", None, "add", {**values, "valid_from": first})


def card(firm: Firm, last: str) -> Line:
    return Line("rate_card", firm.card.pk, "change", {"valid_to": last})


def tolerance(firm: Firm, amount: str) -> Line:
    return Line("contract", firm.contract.pk, "change", {"rate_tolerance": amount})


def cap(firm: Firm, amount: str) -> Line:
    return Line("contract", firm.contract.pk, "change", {"cap_amount": amount})


def order(firm: Firm, needed: str) -> Line:
    return Line("contract", firm.contract.pk, "change", {"requires_purchase_order": needed})


def purchase(firm: Firm, amount: str) -> Line:
    values = {"contract": firm.contract.code, "number": "PO-1", "amount": amount, "currency": "USD"}
    return Line("purchase_order", None, "add", {**values, "valid_from": "2026-01-01"})


def customer(firm: Firm, last: str) -> Line:
    return Line("customer", firm.customer.pk, "change", {"active_to": last})


def project(firm: Firm, needed: str, model: str) -> Line:
    return Line("project", firm.project.pk, "change", {"requires_task": needed, "billing_model": model})


def closing(firm: Firm, last: str) -> Line:
    status = ProjectStatus.objects.get(project=firm.project)
    return Line("project_status", status.pk, "end", {"valid_to": last})


def approver(firm: Firm, who: str) -> Line:
    return Line("approval_step", None, "add", {"project": firm.project.code, "sequence": "1", "approver": who})


def assignment(firm: Firm, first: str) -> Line:
    return Line("assignment", None, "add", {"project": firm.project.code, "resource": "ana", "valid_from": first})


def task(_firm: Firm, billable: str) -> Line:
    return Line("task", Task.objects.get().pk, "change", {"is_billable": billable})


def milestone(firm: Firm, amount: str) -> Line:
    values = {"project": firm.project.code, "code": "M1", "name": "Go-live", "due_on": "2026-12-01", "amount": amount}
    return Line("milestone", None, "add", {**values, "currency": "USD"})


def engagement(firm: Firm, last: str) -> Line:
    return Line("engagement", Engagement.objects.get(resource=firm.ana).pk, "change", {"valid_to": last})


def resource(firm: Firm, name: str) -> Line:
    return Line("resource", firm.ana.pk, "change", {"name": name})


def role(firm: Firm, name: str) -> Line:
    return Line("role", firm.role.pk, "change", {"name": name})


def centre(firm: Firm, code: str) -> Line:
    return Line(
        "cost_centre", None, "add", {"entity": firm.entity.code, "code": code, "name": code, "valid_from": "2026-01-01"}
    )


def period(firm: Firm, state: str) -> Line:
    month = AccountingPeriod.objects.get(entity=firm.entity, code="2026-10")
    return Line("period", month.pk, "change", {"state": state})


def alias(_firm: Firm, code: str, first: str) -> Line:
    return Line("alias", None, "add", {"kind": "project", "alias": desk.MISTYPED, "code": code, "valid_from": first})


def mapping(firm: Firm, code: str, first: str) -> Line:
    values = {
        "connection": firm.source.code,
        "kind": "project",
        "external_id": UNKNOWN,
        "code": code,
        "valid_from": first,
    }
    return Line("crosswalk", None, "add", values)


def lending(_firm: Firm, last: str) -> Line:
    return Line("intercompany", IntercompanyRelation.objects.get().pk, "change", {"valid_to": last})


def route(firm: Firm, most: str, off: list[str]) -> Line:
    return Line("route", firm.route.pk, "change", {"policy": json.dumps({"hours_max": most, "rules_off": off})})


def policy(firm: Firm, most: str, off: list[str]) -> Line:
    return Line("entity", firm.entity.pk, "change", {"policy": json.dumps({"hours_max": most, "rules_off": off})})


def exchange(_firm: Firm, amount: str) -> Line:
    values = {"currency": "USD", "to_currency": "EUR", "rate": amount, "valid_from": "2026-10-01", "source": "ECB"}
    return Line("exchange_rate", None, "add", values)


hours = st.sampled_from(["3", "4.5", "6", "8", "24"])
off = st.lists(st.sampled_from(["rate-mismatch", "rate-missing"]), max_size=1)
codes = st.sampled_from(["ACM-2213", "ACM-1"])
WAYS: dict[str, list[tuple[Callable[..., Line], list[Any]]]] = {
    "rate": [(rate, [amounts, st.none() | days]), (person, [amounts, days])],
    "rate_card": [(card, [days])],
    "contract": [
        (tolerance, [st.sampled_from(["0", "5", "10", "1000"])]),
        (cap, [st.sampled_from(["0", "1000", "5000.5", "100000"])]),
        (order, [yes_no]),
    ],
    "purchase_order": [(purchase, [st.sampled_from(["500", "100000"])])],
    "customer": [(customer, [days])],
    "project": [(project, [yes_no, st.sampled_from(["", "fixed_fee", "time_and_material"])])],
    "project_status": [(closing, [days])],
    "approval_step": [(approver, [st.sampled_from(["pat", "ana"])])],
    "assignment": [(assignment, [days])],
    "task": [(task, [yes_no])],
    "milestone": [(milestone, [st.sampled_from(["500", "100000"])])],
    "engagement": [(engagement, [days])],
    "resource": [(resource, [st.sampled_from(["Ana", "Ann"])])],
    "role": [(role, [st.sampled_from(["Senior", "Junior"])])],
    "cost_centre": [(centre, [st.sampled_from(["CC1", "CC2"])])],
    "period": [(period, [st.sampled_from(["closed", "closing", "future"])])],
    "alias": [(alias, [codes, days])],
    "crosswalk": [(mapping, [codes, days])],
    "intercompany": [(lending, [days])],
    "route": [(route, [hours, off])],
    "entity": [(policy, [hours, off])],
    "exchange_rate": [(exchange, [st.sampled_from(["0.9", "1.1"])])],
}  # fmt: skip
OF_NO_ENTRY = {
    "connection",
    "stream",
    "grant",
}  # what is told of a connection has its own tests; a right alters no entry
asked = st.sampled_from(sorted(WAYS)).flatmap(
    lambda kind: st.sampled_from(WAYS[kind]).flatmap(lambda way: st.tuples(st.just(way[0]), *way[1]))
)

# The worlds: work of every kind, open, booked, billed and partly credited

WORK = (
    "ready",
    "mistyped",
    "unmapped",
    "off rate",
    "lent",
    "on a task",
    "expense",
    "posted",
    "billed",
    "partly credited",
)
worked = st.lists(
    st.tuples(st.sampled_from(WORK), st.integers(0, 27), st.sampled_from(["2.5", "4", "8"])), min_size=3, max_size=10
)


def take_in(firm: Firm, work: Sequence[tuple[str, int, str]]) -> None:
    """The work of a world, each piece where it stands by now."""
    for number, (kind, day, length) in enumerate(work):
        more: dict[str, Any] = {
            "work_date": FIRST + timedelta(days=day),
            "hours": Decimal(length),
            "description": f"{number}",
        }
        match kind:
            case "mistyped":
                more["project"] = Reference("", desk.MISTYPED, "")
            case "unmapped":
                more["project"] = Reference(UNKNOWN, "", "")
            case "off rate":
                more["rate"] = Decimal("110.00")
            case "lent":
                more["resource"] = Reference("", "bob", "")
            case "on a task":
                more["task"] = Reference("", "DEV", "")
        name = str(100 + number)
        if kind == "expense":
            firm.admit(firm.expense(name, work_date=more["work_date"]))
            continue
        admitted = firm.admit(firm.time(name, **more))
        if kind in ("posted", "billed", "partly credited"):
            post(admitted.ready)
        if kind in ("billed", "partly credited"):
            bill(firm, admitted.ready[0], name, Decimal(length), credited=kind == "partly credited")


def bill(firm: Firm, entry_id: int, name: str, length: Decimal, *, credited: bool) -> None:
    invoice = bills.bill(firm, f"5{name}")
    allocation = bills.allocate(invoice, entry_id, str(length), str(length * 120))
    if credited:
        note = bills.bill(firm, f"6{name}", "credit_note")
        bills.allocate(
            invoice, entry_id, "-1", "-120.00", line=note.current.lines.get(), cause=note.current, takes_back=allocation
        )


@pytest.fixture
def furnished() -> tuple[Firm, User, User]:
    """A firm that another entity lends somebody to, and two people of all entities."""
    firm = build()
    desk.near(firm)
    gb = world.entity("GB", "GBP")
    firms.periods(gb)
    firms.key(firm.target, "resource", firms.person("bob", "Bob", gb, firm.role).pk)
    firms.lends(gb, firm)
    Task.objects.create(project=firm.project, code="DEV", name="Development")
    zoe, yan = (world.user(name, GrantRole.CONTROLLER, everywhere=True) for name in ("zoe", "yan"))
    return firm, zoe, yan


def test_every_kind_that_can_alter_an_entry_is_among_the_random_changes() -> None:
    assert WAYS.keys() | OF_NO_ENTRY == changes.BY_CODE.keys()


@settings(
    max_examples=30, deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # an example is a month in a database: none is made smaller
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip
@given(work=worked, wanted=st.lists(asked, min_size=1, max_size=3))
@example(work=[(kind, 2 * place, "8") for place, kind in enumerate(WORK)], wanted=[(rate, "133.33", None)])
@example(
    work=[(kind, 2 * place, "4") for place, kind in enumerate(WORK)],
    wanted=[
        (alias, "ACM-2213", "2026-10-01"),
        (mapping, "ACM-2213", "2026-10-01"),
        (cap, "1000"),
        (person, "99.99", "2026-10-15"),
    ],
)
def test_the_numbers_of_the_dry_run_are_the_numbers_that_come(
    furnished: tuple[Firm, User, User], work: list[tuple[str, int, str]], wanted: list[tuple[Any, ...]]
) -> None:
    firm, zoe, yan = furnished
    with measuring.rolled_back():
        note(f"{work} and then {[(make.__name__, *values) for make, *values in wanted]}")
        take_in(firm, work)
        change_set = written(zoe, of_different_records([make(firm, *values) for make, *values in wanted]))
        assume(change_set is not None)  # what cannot stand is refused, and changes nothing
        assert change_set is not None
        before, booked = stands(), of_booked()
        changes.apply(changes.approve(change_set, yan, signed_in_again=True))
        assert (change_set.state, change_set.done) == ("applied", change_set.total), change_set.problem
        assert change_set.result == change_set.preview
        assert changes.due() == []
        told = change_set.preview
        assert outcome(before, stands()) == {
            name: told[name]["entries"] for name in ("passes", "fails", "leaves", "repriced")
        }
        assert differently(booked, of_booked()) == told["booked"]["entries"]
        for name in ("passes", "fails", "repriced", "leaves", "booked"):
            event(f"{name}: {bool(told[name]['entries'])}")
        nothing_is_left_to_be_done()
        rates_hold()


def written(by: User, lines: list[Line]) -> ChangeSet | None:
    try:
        change_set = changes.draft(by=by, title=f"As of {timezone.localdate()}", reason="at random", lines=lines)
        return changes.submit(change_set, by)
    except ChangeRefused:
        return None


def of_different_records(lines: list[Line]) -> list[Line]:
    """One line for a record, and one new record of a kind."""
    found: dict[Any, Line] = {}
    for line in lines:
        found.setdefault((line.model, line.key), line)
    return list(found.values())


# What stands, asked of the ledger itself

Standing = dict[int, tuple[bool, Decimal | None]]


def stands() -> Standing:
    """Every open document: whether something stops it, and what it is worth."""
    found: Standing = {}
    rows = LedgerState.objects.filter(state__in=["held", "ready", "rejected"], entry__reverses=None)
    for document, state, amount in rows.order_by("entry").values_list("entry__document", "state", "entry__amount"):
        stopped, worth = found.get(document, (False, None))
        both = amount if worth is None else worth if amount is None else worth + amount
        found[document] = (stopped or state != "ready", both)
    return found


def outcome(before: Standing, after: Standing) -> dict[str, int]:
    """How many documents pass, fail, leave and are worth something else."""
    pairs = [(was, after.get(document)) for document, was in before.items()]
    return {
        "passes": sum(now is not None and was[0] and not now[0] for was, now in pairs),
        "fails": sum(now is not None and now[0] and not was[0] for was, now in pairs),
        "leaves": sum(now is None for _, now in pairs),
        "repriced": sum(now is not None and was[1] != now[1] for was, now in pairs),
    }


def of_booked() -> measuring.Booked:
    """What every booked entry would say by the master data as it stands, where that is something else."""
    rows = LedgerState.objects.filter(state__in=["accepted", "posted", "reconciled"], entry__reverses=None)
    return measuring.otherwise(sorted(rows.values_list("entry", flat=True)))


def differently(before: measuring.Booked, after: measuring.Booked) -> int:
    return sum(
        entry not in before or measuring.said(before[entry][1]) != measuring.said(figures)
        for entry, (_, figures) in after.items()
    )


def nothing_is_left_to_be_done() -> None:
    """Exactly what the change touches was validated: whatever is open stays as it is when all of it is looked at again."""
    then = stands()
    validation.recheck(sorted(LedgerState.objects.filter(
        state__in=["held", "ready", "rejected"], entry__reverses=None
    ).values_list("entry", flat=True)), actor="test", reason="a second look")  # fmt: skip
    assert stands() == then


def rates_hold() -> None:
    """No two rates for one thing share a day, asked by SQL alone; what a line names held on its work date."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM portal_rate a JOIN portal_rate b"
            " ON a.id < b.id AND a.card_id = b.card_id AND a.currency = b.currency"
            " AND (a.resource_id, a.role_id, a.task_id) IS NOT DISTINCT FROM (b.resource_id, b.role_id, b.task_id)"
            " WHERE daterange(a.valid_from, a.valid_to, '[]') && daterange(b.valid_from, b.valid_to, '[]')"
        )
        assert cursor.fetchone() == (0,)
    lines = LedgerEntry.objects.exclude(state_row__state="cancelled").exclude(rate_used=None).filter(
        state_row__state__in=["held", "ready"]
    )  # fmt: skip
    for line in lines.select_related("rate_used__card"):
        assert line.rate_used is not None
        for record in (line.rate_used, line.rate_used.card):
            assert span_of(record).overlap(Span(line.work_date, line.work_date)) is not None
        assert line.rate_version.startswith(f"{line.rate_used.card.code} v{line.rate_used.card.version}")
