"""What protects the quality of master data, and so the ERP's: rules over records as they would be, whoever brings them.

The rule here: records are judged before they are written, many at once and in a fixed number of queries; each fault names the
field, the value and the way out. What stands already is not judged again where it does not change.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from typing import Any, NamedTuple

from babel.core import get_global
from django.db.models import Q
from stdnum import get_cc_module

from portal.models import Contract, Customer, IntercompanyRelation, LegalEntity, Project, ProjectStatus

Treatment = Customer.TaxTreatment
_PREFIXES = {"EL": "GR", "XI": "GB"}  # what tax numbers say where it is not the country's code


class Weight(Enum):
    """What a fault stops."""

    RECORD = "the record"
    FIELD = "the field alone"
    NOTHING = "nothing; a person should know"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one field of one record: the rest of a sentence that begins with the value.

    `causes` are other fields of the record whose change may have brought it about, `beside` those that it was only held against.
    """

    key: Any
    field: str
    message: str
    weight: Weight = Weight.FIELD
    causes: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


@dataclass(slots=True)
class Proposed:
    """One record as it would be. `values` are attributes of its model by attname; `before` is what stands, if anything.

    `by_code`: what stands was found by the code alone, so that it might be another record.
    """

    key: Any
    pk: int | None
    values: Mapping[str, Any]
    before: Any = None
    by_code: bool = False
    changed: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        before = self.before
        self.changed = frozenset(
            name for name, value in self.values.items() if before is None or getattr(before, name) != value
        )

    def get(self, name: str) -> Any:
        """The value that the attribute would have."""
        if name in self.values:
            return self.values[name]
        return getattr(self.before, name) if self.before is not None else None


def plain(words: str) -> str:
    """A name without case, punctuation and doubled blanks."""
    return " ".join(re.sub(r"[^\w\s]", " ", words.casefold()).split())


_FORMS = frozenset({
    "ab", "ag", "aktiengesellschaft", "aps", "as", "asa", "bv", "co", "company", "corp", "corporation", "eg", "ek", "ev", "gmbh",
    "haftungsbeschränkt", "inc", "incorporated", "kg", "kgaa", "kk", "limited", "llc", "llp", "lp", "ltd", "mbh", "nv", "ohg",
    "oy", "oyj", "plc", "pte", "pty", "sa", "sarl", "sas", "se", "sl", "spa", "spzoo", "srl", "ug",
})  # fmt: skip


def bare(words: str) -> str:
    """A name without case, punctuation and what kind of company it is: ACME Inc. and Acme, Incorporated are one."""
    said = plain(words).split()
    while forms := [size for size in (1, 2, 3, 4) if size < len(said) and "".join(said[-size:]) in _FORMS]:
        del said[-forms[0] :]
    return " ".join(said)


def compact(number: str) -> str:
    """A tax number without blanks and punctuation."""
    return re.sub(r"[^0-9A-Z]", "", number.upper())


def country_of_number(number: str) -> str:
    """The country whose prefix a tax number carries; empty when it carries none that is known."""
    prefix = number[:2].upper()
    country = _PREFIXES.get(prefix, prefix)
    known = country.isalpha() and country.isascii() and get_cc_module(country.lower(), "vat") is not None
    return country if known else ""


def tax_number_holds(number: str) -> bool:
    """Whether a number's check digits hold; one whose country is not known cannot be judged."""
    country = country_of_number(number)
    module = get_cc_module(country.lower(), "vat") if country else None
    return module is None or bool(module.is_valid(number))


def country_of(entity: LegalEntity) -> str:
    """Where a company sits, by its time zone; empty for a zone that is of no country, as UTC."""
    return str(get_global("zone_territories").get(entity.zone, ""))


# Customers


def customers(proposed: Sequence[Proposed], today: date, twins: Twins | None = None) -> list[Fault]:
    """What speaks against these customers; `twins` where the same questions are asked again and again."""
    return [
        *_codes(Customer, proposed, today, "customer"),
        *_tax(proposed),
        *_alike(proposed, twins),
        *_parents(proposed, today),
        *_currency_under_contract(proposed),
    ]


def _tax(proposed: Sequence[Proposed]) -> Iterator[Fault]:
    """A number that does not hold, and a treatment that does not fit it."""
    chosen = [one for one in proposed if one.changed & {"tax_number", "tax_treatment", "entity_id"}]
    companies = LegalEntity.objects.in_bulk({one.get("entity_id") for one in chosen} - {None}) if chosen else {}
    for one in chosen:
        number, treatment = str(one.get("tax_number") or ""), one.get("tax_treatment") or Treatment.DOMESTIC
        if number and "tax_number" in one.changed and not tax_number_holds(number):
            yield Fault(one.key, "tax_number", "does not look like a valid tax number; check it with the customer.")
            continue
        if treatment == Treatment.REVERSE_CHARGE and not number:
            yield Fault(one.key, "tax_treatment", "needs a tax number; without one the customer owes no tax itself.",
                        beside=("tax_number",))  # fmt: skip
            continue
        company = companies.get(one.get("entity_id"))
        ours, theirs = country_of(company) if company else "", country_of_number(number)
        if not ours or not theirs:
            continue
        if treatment == Treatment.DOMESTIC and ours != theirs:
            yield Fault(
                one.key, "tax_treatment",
                f"does not fit {number}: {company} sits in {ours} and the number is of {theirs}; "
                "expected reverse_charge, export or exempt.", beside=("tax_number", "entity_id"),
            )  # fmt: skip
        elif treatment == Treatment.REVERSE_CHARGE and ours == theirs:
            yield Fault(
                one.key, "tax_treatment",
                f"does not fit {number}: {company} and the number are both of {ours}; expected domestic.",
                beside=("tax_number", "entity_id"),
            )  # fmt: skip


class _Known(NamedTuple):
    pk: int | None
    code: str
    name: str
    number: str
    parent_id: int | None
    entity_id: int | None


class Twins:
    """Customers by name and by tax number: read once for many questions, and told of what changes meanwhile."""

    def __init__(self) -> None:
        """One query, whatever their number."""
        self._rows: dict[str, _Known] = {}
        self._codes: dict[str, set[str]] = defaultdict(set)  # under “name …” and “number …”
        standing = Customer.objects.filter(merged_into=None)
        for pk, code, name, number, *rest in standing.values_list(
            "pk", "code", "name", "tax_number", "parent_id", "entity_id"
        ):
            self._remember(_Known(pk, code, bare(name), compact(number), *rest))

    def remember(self, one: Proposed) -> _Known:
        """A customer as it would be."""
        words = {name: str(one.get(name) or "") for name in ("code", "name", "tax_number")}
        number = compact(words["tax_number"])
        known = _Known(one.pk, words["code"], bare(words["name"]), number, one.get("parent_id"), one.get("entity_id"))
        self._remember(known)
        return known

    def others(self, known: _Known, by: str) -> list[_Known]:
        """Other customers of its name or its number (`by`)."""
        value = getattr(known, by)
        codes = self._codes.get(f"{by} {value}", ()) if value else ()
        found = [self._rows[code] for code in sorted(codes) if code != known.code]
        return [one for one in found if getattr(one, by) == value]

    def _remember(self, known: _Known) -> None:
        self._rows[known.code] = known
        self._codes[f"name {known.name}"].add(known.code)
        self._codes[f"number {known.number}"].add(known.code)


def _alike(proposed: Sequence[Proposed], twins: Twins | None) -> Iterator[Fault]:
    """Another customer of the same name and tax number is the same one; one that shares either may be."""
    chosen = [one for one in proposed if one.changed & {"name", "tax_number"} and not one.get("merged_into_id")]
    if not chosen:
        return
    twins = twins or Twins()
    known = [(one, twins.remember(one)) for one in chosen]
    for one, mine in known:
        names = twins.others(mine, "name")
        both = [other for other in names if mine.number and other.number == mine.number]
        if both:
            message = f"is {_told(mine, both)} already, by name and tax number; map the key to it, or merge them."
            yield Fault(one.key, "name", message, Weight.RECORD)
        elif others := [other for other in twins.others(mine, "number") if not _related(mine, other)]:
            message = f"is the tax number of {_told(mine, others)} too; they may be the same."
            yield Fault(one.key, "tax_number", message, Weight.NOTHING)
        elif names := [other for other in names if not (mine.number and other.number) and not _related(mine, other)]:
            message = f"is the name of {_told(mine, names)} too, but for spelling and legal form; they may be the same."
            yield Fault(one.key, "name", message, Weight.NOTHING)


def _told(one: _Known, others: Sequence[_Known]) -> str:
    """Another customer by its code, unless it is another entity's: who reads this may not see that one."""
    seen = next((other for other in others if other.entity_id in (None, one.entity_id)), None)
    return f"customer {seen.code}" if seen is not None else "a customer of another entity"


def _related(one: _Known, other: _Known) -> bool:
    """Branches of one company share its number."""
    above = one.parent_id is not None and one.parent_id in (other.pk, other.parent_id)
    return above or (one.pk is not None and other.parent_id == one.pk)


def _parents(proposed: Sequence[Proposed], today: date) -> Iterator[Fault]:
    """A parent that is merged or has ended, and a circle."""
    chosen = [one for one in proposed if "parent_id" in one.changed and one.get("parent_id")]
    if not chosen:
        return
    above = dict(Customer.objects.exclude(parent=None).values_list("pk", "parent_id"))
    above |= {one.pk: one.get("parent_id") for one in proposed if one.pk is not None and "parent_id" in one.values}
    parents = Customer.objects.select_related("merged_into").in_bulk({one.get("parent_id") for one in chosen})
    for one in chosen:
        parent = parents.get(one.get("parent_id"))
        if one.pk is not None and _leads_back(one.pk, above):
            yield Fault(one.key, "parent_id", "would stand below itself; name another parent.")
        elif parent is not None and parent.merged_into is not None:
            yield Fault(one.key, "parent_id", f"was merged into {parent.merged_into.code}; name that one.")
        elif parent is not None and parent.active_to is not None and parent.active_to < today:
            yield Fault(one.key, "parent_id", f"ended on {parent.active_to}; name a customer that is active.")


def _leads_back(start: int, above: Mapping[int, int | None]) -> bool:
    seen: set[int] = set()
    at = above.get(start)
    while at is not None and at not in seen:
        if at == start:
            return True
        seen.add(at)
        at = above.get(at)
    return False


def _currency_under_contract(proposed: Sequence[Proposed]) -> Iterator[Fault]:
    """A customer's currency while contracts in another one run."""
    chosen = [one for one in proposed if one.before is not None and "currency" in one.changed]
    held: dict[int, Contract] = {}
    if chosen:
        for contract in Contract.objects.filter(customer__in=[one.pk for one in chosen]).order_by("-code"):
            if contract.currency != next(one.get("currency") for one in chosen if one.pk == contract.customer_id):
                held[contract.customer_id] = contract
    for one in chosen:
        if (other := held.get(one.pk or 0)) is not None:
            ours = one.get("entity_id") in (None, other.entity_id)
            named = f"contract {other.code}" if ours else "a contract of another entity"
            yield Fault(one.key, "currency", f"differs from {named}, which is in {other.currency}.")


# Contracts and projects


def contracts(proposed: Sequence[Proposed], today: date) -> list[Fault]:
    """What speaks against these contracts."""
    return [*_codes(Contract, proposed, today, "contract"), *_contract_fits(proposed)]


def _contract_fits(proposed: Sequence[Proposed]) -> Iterator[Fault]:
    chosen = [one for one in proposed if one.changed & {"customer_id", "entity_id", "currency"}]
    customers_of = _customers({one.get("customer_id") for one in chosen})
    entities = _entities({one.get("entity_id") for one in chosen})
    for one in chosen:
        customer, entity = customers_of.get(one.get("customer_id")), entities.get(one.get("entity_id"))
        if customer is None or entity is None:
            continue
        yield from _served(one, customer, entity, "entity_id")
        if one.get("currency") != customer.currency:
            message = f"differs from {customer.currency}, in which customer {customer.code} is billed."
            yield Fault(one.key, "currency", message, causes=("customer_id",))


def projects(proposed: Sequence[Proposed], today: date) -> list[Fault]:
    """What speaks against these projects."""
    return [*_codes(Project, proposed, today, "project"), *_project_fits(proposed, today)]


def _project_fits(proposed: Sequence[Proposed], today: date) -> Iterator[Fault]:
    chosen = [one for one in proposed if one.changed & {"customer_id", "entity_id", "contract_id"}]
    if not chosen:
        return
    found = Contract.objects.select_related("customer").in_bulk({one.get("contract_id") for one in chosen} - {None})
    customers_of = _customers({one.get("customer_id") for one in chosen})
    entities = _entities({one.get("entity_id") for one in chosen})
    families = dict(Customer.objects.exclude(parent=None).values_list("pk", "parent_id")) if found else {}
    pairs = _pairs(today)
    for one in chosen:
        customer, entity = customers_of.get(one.get("customer_id")), entities.get(one.get("entity_id"))
        if customer is None or entity is None:
            continue
        yield from _served(one, customer, entity, "customer_id", pairs)
        contract = found.get(one.get("contract_id"))
        if contract is None:
            continue
        if _top(customer.pk, families) != _top(contract.customer_id, families):
            message = f"is of customer {contract.customer.code}, and the project of {customer.code}."
            yield Fault(one.key, "contract_id", message, causes=("customer_id",))
        elif contract.entity_id != entity.pk and frozenset({contract.entity_id, entity.pk}) not in pairs:
            message = f"is of another entity than {entity}, and no intercompany relation joins them."
            yield Fault(one.key, "contract_id", message, causes=("entity_id",))


def _served(
    one: Proposed, customer: Customer, entity: LegalEntity, name: str, pairs: Collection[frozenset[int]] = ()
) -> Iterator[Fault]:
    """A customer that was merged, or that another entity serves."""
    if customer.merged_into is not None and "customer_id" in one.changed:
        yield Fault(one.key, "customer_id", f"was merged into {customer.merged_into.code}; name that one.")
    elif customer.entity_id not in (None, entity.pk) and frozenset({customer.entity_id, entity.pk}) not in pairs:
        message = f"does not fit: customer {customer.code} is served by {customer.entity}, not by {entity}."
        yield Fault(one.key, name, message, causes=("customer_id", "entity_id"))


def _customers(ids: Collection[Any]) -> dict[int, Customer]:
    return Customer.objects.select_related("merged_into", "entity").in_bulk(set(ids) - {None})


def _entities(ids: Collection[Any]) -> dict[int, LegalEntity]:
    return LegalEntity.objects.in_bulk(set(ids) - {None})


def _pairs(today: date) -> set[frozenset[int]]:
    """Entities that work for each other today."""
    holding = IntercompanyRelation.objects.filter(Q(valid_to=None) | Q(valid_to__gte=today), valid_from__lte=today)
    return {frozenset(pair) for pair in holding.values_list("provider_id", "receiver_id")}


def _top(pk: int, above: Mapping[int, int | None]) -> int:
    seen = {pk}
    while (following := above.get(pk)) is not None and following not in seen:
        seen.add(following)
        pk = following
    return pk


# Codes


def _codes(model: Any, proposed: Sequence[Proposed], today: date, noun: str) -> Iterator[Fault]:
    """A code that another record has had is not given to another; nor is that of one that ended."""
    chosen = {str(one.get("code")): one for one in proposed if "code" in one.changed and one.get("code")}
    if chosen:
        used = model.history.filter(code__in=chosen).exclude(id__in=[one.pk for one in chosen.values() if one.pk])
        for code, pk in used.values_list("code", "id").distinct():
            if pk != chosen[code].pk:
                message = f"was the code of another {noun} before; give this one a code of its own."
                yield Fault(chosen[code].key, "code", message, Weight.RECORD)
    renamed = [one for one in proposed if one.by_code and one.before is not None and "name" in one.changed]
    closed = _closed([one.pk for one in renamed], today) if model is Project else {}
    for one in renamed:
        ended = closed.get(one.pk) or ended_on(one.before, today)
        if ended and plain(one.before.name) != plain(str(one.get("name") or "")):
            message = f"is the code of {one.before.name}, which ended ({ended}); give this one a code of its own."
            yield Fault(one.key, "code", message, Weight.RECORD)


def _closed(ids: Sequence[int | None], today: date) -> dict[int | None, str]:
    """Which of these projects are closed by their latest status, in words."""
    rows = ProjectStatus.objects.filter(project__in=ids, valid_from__lte=today) if ids else ProjectStatus.objects.none()
    latest = rows.order_by("project_id", "-valid_from").distinct("project_id")
    return {
        one.project_id: f"closed on {one.valid_from}" for one in latest if one.status == ProjectStatus.Status.CLOSED
    }


def ended_on(row: Any, today: date) -> str:
    """When a record ended, in words; empty when it did not. A project's end is in its statuses and not asked here."""
    if isinstance(row, Customer):
        if row.merged_into_id is not None:
            return "merged"
        return str(row.active_to) if row.active_to is not None and row.active_to < today else ""
    end = getattr(row, "ends_on", None) or getattr(row, "valid_to", None)
    return str(end) if end is not None and end < today else ""
