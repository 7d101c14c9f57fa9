"""What is said against a key of a system: another record of ours that the same code stands for, or another value over there.

The rule here: the same grounds as those on which the row is called conflicting. What the person does not see is not named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from portal.models import Alias, Customer, ForeignRecord, RejectedValue
from reconciliation.changes import BY_CODE
from reconciliation.models import Mapping


def conflicts_of(row: Mapping, user: Any) -> list[str]:
    """With what a conflicting row conflicts, both names in a sentence each."""
    if not row.is_conflicting:
        return []
    found = [*_aliases(row, user), *_tax_numbers(row, user), *_values(row, user)]
    return found or ["What it conflicts with belongs to an entity that you do not see."]


def _ours(row: Mapping) -> str:
    return f"{row.code} {row.name or ''}".strip()


def _aliases(row: Mapping, user: Any) -> Iterator[str]:
    """The codes of it that stand for another record of ours as well."""
    words = {word.lower() for word in (row.external_id, row.their_code) if word}
    holds = Q(valid_to=None) | Q(valid_to__gte=timezone.localdate())
    here = Q(connection=None) | Q(connection__connector=row.system, connection__realm=row.realm)
    aliases = Alias.objects.annotate(word=Lower("code")).filter(holds, here, kind=row.kind, word__in=words)
    aliases = aliases.exclude(internal_id=row.internal_id or 0).order_by("code", "pk")
    kind = BY_CODE.get(row.kind)
    seen: dict[int, Any] = {}
    if kind is not None:
        manager: Any = kind.model._default_manager
        seen = manager.visible_to(user).in_bulk([alias.internal_id for alias in aliases])
    for alias in aliases:
        other = seen.get(alias.internal_id)
        who = f"{other.code} {getattr(other, 'name', '')}".strip() if other is not None else "a record you do not see"
        yield f"{row.connection.name} means {_ours(row)} by “{alias.code}”, and as an alias it stands for {who}."


def _tax_numbers(row: Mapping, user: Any) -> Iterator[str]:
    """The tax numbers of both sides, where they differ."""
    customers = Customer.objects.visible_to(user) if row.kind == "customer" else Customer.objects.none()
    customer = customers.filter(pk=row.internal_id or 0).first()
    theirs = ForeignRecord.objects.filter(pk=row.foreign_id or 0).first()
    there = str((theirs.attributes or {}).get("tax_number") or "") if theirs is not None else ""
    if customer is not None and there and customer.tax_number and _plain(there) != _plain(customer.tax_number):
        their_name = f"{row.their_code or ''} {row.their_name or ''}".strip() or row.external_id
        yield (
            f"{_ours(row)} has the tax number {customer.tax_number} here, and {their_name} has {there} in "
            f"{row.connection.name}."
        )


def _plain(number: str) -> str:
    return re.sub("[^0-9A-Z]", "", number.upper())


def _values(row: Mapping, user: Any) -> Iterator[str]:
    """What systems of the account say of our record and nobody has decided on."""
    values = RejectedValue.objects.visible_to(user).filter(
        state=RejectedValue.State.OPEN, kind=row.kind, internal_id=row.internal_id,
        connection__connector=row.system, connection__realm=row.realm,
    )  # fmt: skip
    for value in values.select_related("connection").order_by("field", "pk"):
        field = value.field.replace("_", " ")
        yield f"As {field} of {_ours(row)} stands “{value.stands}” here, and {value.connection} says “{value.said}”."
