"""The person who began an operation is told once that it is held up, and once that it has come to its end."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from django.urls import reverse

from portal import figures
from portal.models import Notification, NotificationKind
from portal.notifications import Notice, notify_each
from portal.screens.doors import ClosedDoor, closed_doors
from reconciliation.fixes import FIXES
from reconciliation.models import Operation


def tell_ends(operation_ids: Collection[int]) -> None:
    """Tell of those among these operations that have come to their end; three statements, whatever their number."""
    ended = Operation.objects.filter(pk__in=operation_ids, settled_at__isnull=False, confirmed_at__isnull=False)
    notify_each(
        [
            _notice(
                one,
                NotificationKind.FINISHED,
                f"{'Cancelled' if one.state == Operation.State.CANCELLED else 'Finished'}: {one.title}",
                _came_of(one),
            )
            for one in ended.order_by("pk")
        ]
    )


def tell_held(held: Mapping[int, Mapping[int, int]]) -> None:
    """Tell of operations some of whose entries wait (how many, by operation and target), once for each, and at which door."""
    known = set(
        Notification.objects.filter(kind=NotificationKind.HELD, key__in=[_key(number) for number in held]).values_list(
            "key", flat=True
        )
    )
    fresh = [number for number in held if _key(number) not in known]
    doors = closed_doors({target_id for number in fresh for target_id in held[number]})
    if fresh:
        notify_each(
            [
                _notice(
                    one,
                    NotificationKind.HELD,
                    f"Held up: {one.title}",
                    _waiting(one, held[one.pk], doors),
                )
                for one in Operation.objects.filter(pk__in=fresh).order_by("pk")
            ]
        )


def _waiting(operation: Operation, by_target: Mapping[int, int], doors: Mapping[int, ClosedDoor]) -> str:
    """How many wait, at which door and what ends it; what waits at no closed door waits for another entry of its own."""
    words = [f"{sum(by_target.values()):,} of {operation.total:,} entries wait."]
    for door in (doors[target_id] for target_id in sorted(by_target) if target_id in doors):
        until = f", until {figures.written(door.until)} at the earliest" if door.until is not None else ""
        words.append(f"{door.target} {door.sentence.rstrip('.')}{until}. {door.ends}")
    return " ".join([*words, "Nothing is lost."])


def _notice(operation: Operation, kind: NotificationKind, subject: str, note: str) -> Notice:
    return Notice(
        person_id=operation.created_by_id, kind=kind, subject=subject, note=note, entity_id=operation.entity_id,
        url=reverse("operation", args=[operation.pk]), key=_key(operation.pk),
    )  # fmt: skip


def _key(operation_id: int) -> str:
    return f"operation:{operation_id}"


def _came_of(operation: Operation) -> str:
    failed = operation.failed + operation.refused
    if FIXES[operation.fix].leaves_held:
        words = [f"{operation.done:,} of {operation.total:,} done"]
    else:
        words = [f"{operation.posted:,} of {operation.total:,} posted"]
    if failed:
        words.append(f"{failed:,} not")
    return ", ".join(words)
