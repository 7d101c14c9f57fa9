"""A firm that may post: two entities, a customer with a contract and an agreed rate, a project, people, a route to an ERP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from django.db.models import Sum

from portal import canonical, ledger
from portal.models import (
    AccountingPeriod,
    Alias,
    Connection,
    Contract,
    CostCentre,
    Crosswalk,
    Customer,
    Document,
    Engagement,
    IntercompanyRelation,
    LedgerEntry,
    LedgerState,
    LegalEntity,
    Project,
    ProjectStatus,
    Rate,
    RateCard,
    Resource,
    Role,
    State,
)
from portal.models import ReadBack as StoredReadBack
from portal.records import ExpenseRecord, Receipt, Reference, SourceStatus, TimeEntryRecord
from reconciliation import validation
from reconciliation.models import ExceptionCase, Hold, Route
from tests import world

SINCE = date(2026, 1, 1)
DAY = date(2026, 10, 1)


@dataclass
class Firm:
    """What most tests of rules stand on; every record can be changed before documents are admitted."""

    entity: LegalEntity
    source: Connection
    target: Connection
    route: Route
    customer: Customer
    contract: Contract
    project: Project
    role: Role
    ana: Resource
    pat: Resource
    card: RateCard
    rate: Rate
    revisions: int = field(default=0)

    def time(self, external_id: str = "1", **changes: Any) -> TimeEntryRecord:
        """An approved time entry of Ana's on the project, eight hours at the agreed rate."""
        self.revisions += 1
        values: dict[str, Any] = {
            "resource": Reference("", "ana", "Ana Consultant"),
            "project": Reference("", "ACM-1", "Acme roll-out"),
            "approved_by": Reference("", "pat", "Pat Manager"),
            "work_date": DAY,
            **changes,
        }
        return world.time_record(external_id, f"{self.revisions:06d}", **values)

    def expense(self, external_id: str = "x1", **changes: Any) -> ExpenseRecord:
        """An approved train ticket of Ana's on the project, with a receipt."""
        self.revisions += 1
        values: dict[str, Any] = {
            "status": SourceStatus.APPROVED,
            "resource": Reference("", "ana", "Ana Consultant"),
            "project": Reference("", "ACM-1", "Acme roll-out"),
            "approved_by": Reference("", "pat", "Pat Manager"),
            "approved_at": datetime(2026, 10, 2, 10, tzinfo=UTC),
            "work_date": DAY,
            "billable": True,
            "currency": "USD",
            "description": "Train to Boston",
            "amount": Decimal("119.00"),
            "category": "Travel",
            "receipt_reference": "receipts/1.pdf",
            **changes,
        }
        return ExpenseRecord(external_id=external_id, revision=f"{self.revisions:06d}", **values)

    def take(self, *records: Any, source: Connection | None = None) -> list[int]:
        """Take records in as documents; those to be admitted."""
        return canonical.take_in(source or self.source, [(n, record) for n, record in enumerate(records)]).documents

    def admit(self, *records: Any, source: Connection | None = None) -> validation.Admitted:
        """Take records in and admit them."""
        return validation.admit(self.take(*records, source=source), actor="test")

    def policy(self, **settings: Any) -> None:
        """Set the route's policy."""
        self.route.policy = settings
        self.route.save()


def build(code: str = "US", currency: str = "USD") -> Firm:
    """The firm, with open periods for 2026 and keys in the target for what it posts."""
    entity = world.entity(code, currency)
    source = world.connection(f"harvest-{code.lower()}", "harvest", entity, is_source=True)
    target = world.connection(f"netsuite-{code.lower()}", "netsuite", entity, is_target=True)
    route = Route.objects.create(entity=entity, source=source, target=target, kind="time", valid_from=SINCE)
    Route.objects.create(entity=entity, source=source, target=target, kind="expense", valid_from=SINCE)
    periods(entity)
    customer = Customer.objects.create(code="ACME", name="Acme Inc.", currency=currency)
    contract = Contract.objects.create(
        code="ACME-2026", name="Acme", customer=customer, entity=entity, currency=currency
    )
    role = Role.objects.create(code="senior", name="Senior consultant")
    ana, pat = person("ana", "Ana Consultant", entity, role), person("pat", "Pat Manager", entity, role)
    card = RateCard.objects.create(code="ACME-2026", version=3, contract=contract, valid_from=SINCE)
    rate = Rate.objects.create(card=card, role=role, currency=currency, amount=Decimal("120.00"), valid_from=SINCE)
    found = project("ACM-1", entity, customer, contract)
    firm = Firm(entity, source, target, route, customer, contract, found, role, ana, pat, card, rate)
    for kind, record in (("project", found), ("resource", ana), ("resource", pat)):
        key(target, kind, record.pk)
    return firm


def periods(entity: LegalEntity, **states: str) -> None:
    """Monthly periods of 2026 and January 2027, open but for those named as p202610="closed"."""
    for index in range(13):
        year, month = 2026 + index // 12, index % 12 + 1
        following = date(2026 + (index + 1) // 12, (index + 1) % 12 + 1, 1)
        AccountingPeriod.objects.create(
            entity=entity,
            code=f"{year}-{month:02d}",
            starts_on=date(year, month, 1),
            ends_on=date.fromordinal(following.toordinal() - 1),
            state=states.get(f"p{year}{month:02d}", "open"),
        )


def lends(provider: LegalEntity, firm: Firm) -> IntercompanyRelation:
    """Leave for the people of another entity to work for the firm, with a price list in their own entity's currency."""
    card = RateCard.objects.create(code=f"IC-{provider.code}", entity=provider, valid_from=SINCE)
    Rate.objects.create(card=card, role=firm.role, currency=provider.currency, amount=Decimal(90), valid_from=SINCE)
    return IntercompanyRelation.objects.create(
        provider=provider, receiver=firm.entity, price_list=card, valid_from=SINCE
    )


def person(code: str, name: str, entity: LegalEntity, role: Role, **engagement: Any) -> Resource:
    """A person engaged by an entity since the beginning of the year."""
    resource = Resource.objects.create(code=code, name=name)
    Engagement.objects.create(
        **{"resource": resource, "entity": entity, "role": role, "valid_from": SINCE, **engagement}
    )
    return resource


def project(code: str, entity: LegalEntity, customer: Customer, contract: Contract | None, **more: Any) -> Project:
    """A project that is open since the beginning of the year."""
    found = Project.objects.create(
        code=code, name=code.title(), entity=entity, customer=customer, contract=contract, **more
    )
    ProjectStatus.objects.create(project=found, status="open", valid_from=SINCE)
    return found


def key(connection: Connection, kind: str, internal_id: int, external_id: str = "", **more: Any) -> Crosswalk:
    """What a connection's system calls one of our records."""
    values = {"valid_from": SINCE, **more}
    return Crosswalk.objects.create(
        system=connection.connector, realm=connection.realm, kind=kind, internal_id=internal_id,
        external_id=external_id or f"{kind[0].upper()}{internal_id}", **values,
    )  # fmt: skip


def alias(kind: str, code: str, internal_id: int, connection: Connection | None = None, **more: Any) -> Alias:
    """A code that stands for one of our records."""
    return Alias.objects.create(
        kind=kind, code=code, internal_id=internal_id, connection=connection, **{"valid_from": SINCE, **more}
    )


def centre(entity: LegalEntity, code: str = "CC1", **more: Any) -> CostCentre:
    """A cost centre."""
    return CostCentre.objects.create(entity=entity, code=code, name=f"Centre {code}", **more)


def rules_of(entry_id: int) -> set[str]:
    """The rules that hold an entry now."""
    return set(Hold.objects.filter(entry=entry_id, closed_at=None).values_list("rule", flat=True))


def hold(entry_id: int, rule: str) -> Hold:
    """The open hold of an entry by a rule."""
    found: Hold = Hold.objects.select_related("case").get(entry=entry_id, rule=rule, closed_at=None)
    return found


def case(rule: str, **filters: Any) -> ExceptionCase:
    """The one case of a rule."""
    return ExceptionCase.objects.get(rule=rule, **filters)


def entry(entry_id: int) -> LedgerEntry:
    """An entry with its state."""
    return LedgerEntry.objects.select_related("state_row").get(pk=entry_id)


def state(entry_id: int) -> str:
    """Where an entry stands."""
    return LedgerState.objects.get(entry=entry_id).state


def money(state: str) -> Decimal:
    """What all entries of a state are worth together."""
    found = LedgerEntry.objects.filter(state_row__state=state).aggregate(total=Sum("amount"))["total"]
    return Decimal(found or 0)


def post(entry_ids: Sequence[int], until: State = State.POSTED) -> None:
    """Let entries go to their target and be read back equal, as the outbox would."""
    refs = {entry_id: fence for entry_id, (_, fence) in ledger.refs_of(entry_ids).items()}
    ledger.send([(e, fence, f"hash-{e}") for e, fence in refs.items()], lease_seconds=180, actor="outbox")
    if until == State.SENDING:
        return
    if until == State.IN_DOUBT:
        ledger.doubt([(e, f + 1) for e, f in refs.items()], look_up_after_seconds=1, actor="outbox", reason="time-out")
        return
    if until == State.REJECTED:
        ledger.reject(
            [(e, f + 1) for e, f in refs.items()], from_state=State.SENDING, actor="outbox", reasons=["no"] * len(refs)
        )
        return
    target_id = LedgerEntry.objects.get(pk=next(iter(refs))).target_id
    ledger.accept(
        [(e, f + 1, Receipt(key=str(e), number=f"N{e}")) for e, f in refs.items()], State.SENDING,
        connection_id=target_id, actor="outbox",
    )  # fmt: skip
    if until == State.ACCEPTED:
        return
    moment = LedgerState.objects.get(entry=next(iter(refs))).moved_at
    StoredReadBack.objects.bulk_create(StoredReadBack(entry_id=e, at=moment, is_equal=True) for e in refs)
    ledger.prove([(e, f + 2) for e, f in refs.items()], actor="outbox", reason="read back equal")


def document_of(external_id: str = "1") -> Document:
    """A document by the source's id."""
    return Document.objects.get(external_id=external_id)
