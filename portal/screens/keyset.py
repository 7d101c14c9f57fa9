"""Pages beyond the farthest numbered one: what follows or precedes a row, by the order's own values.

The rule here: a place in a list is the values of one row in the list's order, with its key as the last word; so a page costs
the same at row ten and at row ten million. An order that cannot be compared row by row (an expression) has no such places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core import signing
from django.db.models import F, Q, QuerySet
from django.db.models.expressions import OrderBy

SALT = "portal.screens.keyset"


@dataclass(frozen=True, slots=True)
class Key:
    """One field of an order. PostgreSQL puts what is empty last when ascending and first when descending, unless told."""

    name: str
    descending: bool
    nulls_first: bool

    def turned(self) -> Key:
        """The same field the other way round."""
        return Key(self.name, not self.descending, not self.nulls_first)

    def ordering(self) -> OrderBy:
        """As Django wants it."""
        places = {"nulls_first": True} if self.nulls_first else {"nulls_last": True}
        return OrderBy(F(self.name), descending=self.descending, **places)

    def beyond(self, value: Any) -> Q:
        """The rows whose field comes after this value."""
        if value is None:
            return Q(**{f"{self.name}__isnull": False}) if self.nulls_first else Q(pk__in=())
        further = Q(**{f"{self.name}__{'lt' if self.descending else 'gt'}": value})
        return further if self.nulls_first or self.name == "pk" else further | Q(**{f"{self.name}__isnull": True})

    def same(self, value: Any) -> Q:
        """The rows whose field has this value."""
        return Q(**{f"{self.name}__isnull": True}) if value is None else Q(**{self.name: value})


def keys_of(queryset: QuerySet[Any]) -> list[Key] | None:
    """The order of a queryset, closed by the key; None where it is not by plain fields."""
    keys = []
    for one in queryset.query.order_by or queryset.model._meta.ordering:
        if isinstance(one, str):
            descending = one.startswith("-")
            keys.append(Key(one.lstrip("-+"), descending, descending))
        elif isinstance(one, OrderBy) and isinstance(one.expression, F):
            first = bool(one.nulls_first) or (one.descending and not one.nulls_last)
            name: str = getattr(one.expression, "name", "")
            keys.append(Key(name, bool(one.descending), first))
        else:
            return None
    named = [key.name for key in keys]
    if "?" in named:
        return None
    if "pk" in named:
        return keys[: named.index("pk") + 1]
    return [*keys, Key("pk", False, False)]


def after(queryset: QuerySet[Any], keys: Sequence[Key], values: Sequence[Any]) -> QuerySet[Any]:
    """The rows that follow a place, in order."""
    condition = Q(pk__in=())
    for position, key in enumerate(keys):
        equal = Q()
        for earlier, value in zip(keys[:position], values, strict=False):
            equal &= earlier.same(value)
        condition |= equal & key.beyond(values[position])
    return queryset.filter(condition).order_by(*(key.ordering() for key in keys))


def before(queryset: QuerySet[Any], keys: Sequence[Key], values: Sequence[Any]) -> QuerySet[Any]:
    """The rows that precede a place, the nearest first."""
    return after(queryset, [key.turned() for key in keys], values)


def place_of(queryset: QuerySet[Any], keys: Sequence[Key], record: Any) -> list[Any]:
    """The values of one row in the order, asked of the database, so that they compare there as they are."""
    return list(queryset.order_by().filter(pk=record.pk).values_list(*(key.name for key in keys))[0])


def token(number: int, values: Sequence[Any]) -> str:
    """A place as an address carries it; `number` is how many rows stand before the page that begins there."""
    return signing.dumps([number, [_plain(value) for value in values]], salt=SALT, compress=True)


def read(text: str, keys: Sequence[Key]) -> tuple[int, list[Any]] | None:
    """A place from an address; None when it is not one of ours or belongs to another order."""
    try:
        number, values = signing.loads(text, salt=SALT)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    return (number, values) if len(values) == len(keys) else None


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, int | str | bool) else str(value)
