"""The records whose every change leaves history: which there are, who may see each, and how its lists look.

The rule here: what has an entity is seen by those who hold a grant in it; what hangs on such a record is seen with it; what
belongs to all entities is seen by everybody who holds a grant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import chain
from typing import Any

from django.apps import apps
from django.db.models import Case, CharField, Model, OuterRef, Q, QuerySet, Subquery, Value, When
from django.urls import reverse

from portal import keys
from portal.access import entities_of
from portal.history import has_history
from portal.models import (
    AccountingPeriod,
    Alias,
    ApprovalStep,
    Assignment,
    Contract,
    CostCentre,
    Crosswalk,
    Customer,
    Engagement,
    EntityGrant,
    ExchangeRate,
    IntercompanyRelation,
    LegalEntity,
    Milestone,
    Project,
    ProjectStatus,
    PurchaseOrder,
    Rate,
    RateCard,
    Resource,
    Role,
    Task,
)
from portal.models.access import GrantRole, Scope, entities_held
from portal.screens.navigation import APPS

Visible = Callable[[Any], QuerySet[Any]]
_GRANT_READERS = frozenset({GrantRole.ADMIN, GrantRole.CONTROLLER, GrantRole.AUDITOR})
_KINDS: dict[str, type[Model]] = {
    Crosswalk.Kind.ENTITY: LegalEntity,
    Crosswalk.Kind.COST_CENTRE: CostCentre,
    Crosswalk.Kind.CUSTOMER: Customer,
    Crosswalk.Kind.PROJECT: Project,
    Crosswalk.Kind.TASK: Task,
    Crosswalk.Kind.RESOURCE: Resource,
}


def _everybody(model: Any) -> Visible:
    return lambda user: model.objects.all() if user.roles() else model.objects.none()


def _rate_cards(user: Any) -> QuerySet[RateCard]:
    """Cards of the person's entities, of their customers and contracts, and those for everybody."""
    seen = entities_of(user)
    ours = Q(contract__entity__in=seen) | Q(entity__in=seen) | Q(customer__entity__in=seen)
    shared = Q(contract=None, entity=None, customer__entity=None)
    cards: QuerySet[RateCard] = RateCard.objects.filter(ours | shared)
    return cards if user.roles() else cards.none()


def _rates(user: Any) -> QuerySet[Rate]:
    return Rate.objects.filter(card__in=_rate_cards(user))


def _of_visible_records(rows: QuerySet[Any], user: Any) -> QuerySet[Any]:
    """Keys and codes of records that the person sees, each with the record's code as `meant`."""
    condition = Q(kind=Crosswalk.Kind.ITEM)
    meanings = []
    for kind, model in _KINDS.items():
        manager: Any = model._default_manager
        condition |= Q(kind=kind, internal_id__in=manager.visible_to(user).values("pk"))
        code = model._base_manager.filter(pk=OuterRef("internal_id")).values("code")[:1]
        meanings.append(When(kind=kind, then=Subquery(code)))
    meant = Case(*meanings, default=Value(""), output_field=CharField())
    named: QuerySet[Any] = rows.filter(condition).annotate(meant=meant)
    return named


def _crosswalks(user: Any) -> QuerySet[Crosswalk]:
    rows = Crosswalk.objects.all() if user.roles() else Crosswalk.objects.none()
    return _of_visible_records(rows, user)


def _aliases(user: Any) -> QuerySet[Alias]:
    return _of_visible_records(Alias.objects.visible_to(user), user)


def _grants(user: Any) -> QuerySet[EntityGrant]:
    """Who may do what, for those who answer for it or audit it: in their entities, and what holds in all of them."""
    held = entities_held(user, _GRANT_READERS)
    grants = EntityGrant.objects.all()
    if not held:
        return grants.none()
    return grants if None in held else grants.filter(Q(entity__in=held) | Q(entity=None))


_SEEN: dict[type[Model], Visible] = {
    EntityGrant: _grants,
    Role: _everybody(Role),
    ExchangeRate: _everybody(ExchangeRate),
    RateCard: _rate_cards,
    Rate: _rates,
    Crosswalk: _crosswalks,
    Alias: _aliases,
}


def _of_all(rows: QuerySet[Any], ids: Sequence[int]) -> QuerySet[Any]:
    return rows


def _of_cards(rows: QuerySet[Any], ids: Sequence[int], prefix: str = "") -> QuerySet[Any]:
    names = [f"{prefix}{name}" for name in ("contract__entity", "entity", "customer__entity")]
    ours = Q()
    for name in names:
        ours |= Q(**{f"{name}__in": ids})
    return rows.filter(ours | Q(**{f"{name}__isnull": True for name in names}))


def _of_keys(rows: QuerySet[Any], ids: Sequence[int]) -> QuerySet[Any]:
    condition = Q(kind=Crosswalk.Kind.ITEM)
    for kind, model in _KINDS.items():
        scope: Scope = getattr(model, "scope", Scope())
        ours = Q(**{f"{scope.path}__in": ids})
        if scope.shared:
            ours |= Q(**{f"{scope.path}__isnull": True})
        condition |= Q(kind=kind, internal_id__in=model._base_manager.filter(ours).values("pk"))
    return rows.filter(condition)


SPECIAL: dict[type[Model], Callable[[QuerySet[Any], Sequence[int]], QuerySet[Any]]] = {
    EntityGrant: lambda rows, ids: rows.filter(Q(entity__in=ids) | Q(entity=None)),
    Role: _of_all,
    ExchangeRate: _of_all,
    RateCard: _of_cards,
    Rate: lambda rows, ids: _of_cards(rows, ids, "card__"),
    Crosswalk: _of_keys,
    Alias: _of_keys,
}  # kinds whose way to their entities is no path: how rows are narrowed to some entities


@cache
def governed() -> dict[str, type[Model]]:
    """Every model whose changes leave history, by the name that audit events and addresses use."""
    return {str(model._meta.model_name): model for model in apps.get_models() if has_history(model)}


def visible(model: type[Model], user: Any) -> QuerySet[Any]:
    """The records of one model that a person may see."""
    if model in _SEEN:
        return _SEEN[model](user)
    manager: Any = model._default_manager
    rows: QuerySet[Any] = manager.visible_to(user)
    return rows


def name_of_kind(kind: str) -> str:
    """The name by which addresses know the model of a kind of record; empty for a kind without one of its own."""
    model = _KINDS.get(kind)
    return str(model._meta.model_name) if model is not None else ""


def kind_of_name(name: str) -> str:
    """The kind by which crosswalks know the records of a model; empty where systems have no keys for it."""
    return next((str(kind) for kind, model in _KINDS.items() if model._meta.model_name == name), "")


def address_of(user: Any, name: str, key: str) -> str:
    """The history page of a record by its model's name and key; empty when there is none that the person may see."""
    model = governed().get(name)
    number = keys.key(key)
    if model is None or number is None or not visible(model, user).filter(pk=number).exists():
        return ""
    return reverse("history", args=[name, number])


@dataclass(frozen=True, slots=True, kw_only=True)
class Master:
    """How one kind of master data is listed: the field that names a row, the one under it, the columns, what is searched."""

    model: type[Model]
    label: str
    main: str = "code"
    second: str = "name"
    columns: tuple[str, ...]
    search: tuple[str, ...]
    note: str = ""
    readers: frozenset[str] = frozenset()  # who sees any of them; whoever holds a role where empty


_LISTS = (
    Master(model=Project, label="Projects", columns=("entity", "customer", "contract", "billing_model", "manager"),
           search=("code", "name", "customer__code", "customer__name", "contract__code")),
    Master(model=Customer, label="Customers",
           columns=("entity", "currency", "tax_treatment", "invoice_schedule", "invoice_day", "payment_terms_days",
                    "merged_into", "active_to"),
           search=("code", "name")),
    Master(model=Contract, label="Contracts",
           columns=("entity", "customer", "billing_model", "cap_amount", "currency", "invoice_schedule", "invoice_day",
                    "payment_terms_days", "rounding", "ends_on"),
           search=("code", "name", "customer__code", "customer__name")),
    Master(model=Resource, label="People", columns=("email",), search=("code", "name", "email")),
    Master(model=Engagement, label="Engagements", main="resource", second="entity",
           columns=("role", "cost_centre", "valid_from", "valid_to"),
           search=("resource__code", "resource__name", "role__name"), note="For whom and as what people work."),
    Master(model=RateCard, label="Rate cards", columns=("version", "contract", "customer", "entity", "valid_from", "valid_to"),
           search=("code", "name", "contract__code", "customer__code")),
    Master(model=Rate, label="Rates", main="card", second="unit",
           columns=("role", "resource", "task", "amount", "currency", "valid_from", "valid_to"),
           search=("card__code", "role__name", "role__code", "resource__name", "resource__code"),
           note="The most exact rate wins: a person's before a role's. Zero is a rate; a missing one is not zero."),
    Master(model=AccountingPeriod, label="Periods", second="entity", columns=("starts_on", "ends_on", "state"),
           search=("code",)),
    Master(model=ProjectStatus, label="Project statuses", main="project", second="status",
           columns=("status", "valid_from", "valid_to"), search=("project__code", "project__name")),
    Master(model=Task, label="Tasks", columns=("project", "is_billable", "is_active", "is_default"),
           search=("code", "name", "project__code")),
    Master(model=Assignment, label="Assignments", main="project", second="resource",
           columns=("resource", "valid_from", "valid_to"),
           search=("project__code", "project__name", "resource__code", "resource__name"),
           note="Who may record time on which project."),
    Master(model=ApprovalStep, label="Approval chains", main="project", second="approver",
           columns=("sequence", "approver"), search=("project__code", "project__name", "approver__code", "approver__name"),
           note="Who approves time on a project, in which order."),
    Master(model=PurchaseOrder, label="Purchase orders", main="number", second="contract",
           columns=("amount", "currency", "valid_from", "valid_to"), search=("number", "contract__code")),
    Master(model=Milestone, label="Milestones", columns=("project", "amount", "currency", "due_on", "signed_on"),
           search=("code", "name", "project__code")),
    Master(model=Crosswalk, label="Crosswalks", main="external_id", second="system",
           columns=("kind", "meant", "realm", "allows_many", "valid_from", "valid_to"), search=("external_id", "system"),
           note="Another system's own key for one of our records."),
    Master(model=Alias, label="Aliases", second="reason", columns=("kind", "meant", "connection", "valid_from", "valid_to"),
           search=("code", "reason"), note="A mistyped or foreign code that stands for one of our records."),
    Master(model=LegalEntity, label="Entities", columns=("currency", "zone", "parent"), search=("code", "name")),
    Master(model=CostCentre, label="Cost centres", columns=("entity", "valid_from", "valid_to"), search=("code", "name")),
    Master(model=Role, label="Roles", columns=(), search=("code", "name")),
    Master(model=ExchangeRate, label="Exchange rates", main="currency", second="source",
           columns=("to_currency", "rate", "valid_from"), search=("currency", "to_currency", "source"),
           note="They order the exceptions of several currencies. Nothing is ever booked at them."),
    Master(model=EntityGrant, label="Grants", main="user", second="role", columns=("entity", "valid_from", "valid_to"),
           search=("user__username", "user__first_name", "user__last_name", "role", "entity__code"),
           note="Who may do what in which entity; without one, in all of them.", readers=_GRANT_READERS),
    Master(model=IntercompanyRelation, label="Intercompany", main="provider", second="receiver",
           columns=("receiver", "valid_from", "valid_to"), search=("provider__code", "receiver__code")),
)  # fmt: skip


@cache
def masters() -> dict[str, Master]:
    """Every kind of master data that is listed, by the name of its model: this app's, and what the others name in `MASTERS`."""
    told = (getattr(import_module(f"{app}.urls"), "MASTERS", ()) for app in APPS)
    return {str(master.model._meta.model_name): master for master in (*_LISTS, *chain.from_iterable(told))}
