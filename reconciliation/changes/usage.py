"""What hangs on a record: the rows that name it, so that nothing is taken out from under them and people read why.

The rule here: the database would refuse as well; it is asked beforehand, so that the reason is a sentence with a way out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.db import models
from django.db.models import Count

from reconciliation.changes.kinds import Kind

Named = tuple[int, str]  # how many rows name a record, and what they are called
_WORDS = {"ledgerentry": ("booked or open entry", "booked or open entries")}


def named_by(
    kind: Kind, ids: Collection[int], *, besides: Mapping[type[models.Model], Collection[int]] | None = None
) -> dict[int, list[Named]]:
    """How many rows of which kinds name each record, but for those `besides`; in a fixed number of statements."""
    found: dict[int, list[Named]] = defaultdict(list)
    if not ids:
        return found
    for part in kind.model._meta.get_fields(include_hidden=True):
        if not isinstance(part, models.ManyToOneRel):
            continue
        pointer: Any = part.field
        if not pointer.db_constraint:
            continue
        model: Any = part.related_model
        name = pointer.attname
        rows = model._base_manager.filter(**{f"{name}__in": ids}).exclude(pk__in=list((besides or {}).get(model, ())))
        for pk, times in rows.order_by().values_list(name).annotate(Count("pk")):
            found[pk].append((times, _called(model, times)))
    return found


def sentence(kind: Kind, named: Iterable[Named]) -> str:
    """As in `is named by 16 booked or open entries; end it from a day on, or change its amount instead`."""
    who = ", ".join(f"{times:,} {words}" for times, words in sorted(named, reverse=True))
    change = "change its amount" if any(column.name == "amount" for column in kind.columns) else "change it"
    end = "switch it off" if kind.is_switched_off else "end it from a day on"
    return f"is named by {who}; {f'{end}, or {change}' if kind.ends else change} instead."


def _called(model: type[models.Model], times: int) -> str:
    one, many = _WORDS.get(model._meta.model_name or "", (model._meta.verbose_name, model._meta.verbose_name_plural))
    return str(one if times == 1 else many)
