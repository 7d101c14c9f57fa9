"""Whose data is old: a strip above every list that rests on it, naming the connection and its age."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import DurationField, ExpressionWrapper, F, Q
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from integrations.models import Stream
from portal import figures
from portal.screens import Notice, within

LATE = 4  # intervals
SHOWN = 2


def sources(request: HttpRequest) -> Iterator[Notice]:
    """Streams that were not read to their end for more than four of their intervals; the latest of each connection."""
    overdue = ExpressionWrapper(F("every_seconds") * timedelta(seconds=LATE), output_field=DurationField())
    streams = within(Stream.objects.visible_to(request.user), request).filter(
        Q(succeeded_at__lt=Now() - overdue), every_seconds__gt=0, connection__is_active=True
    )
    oldest: dict[str, Stream] = {}
    for stream in streams.select_related("connection").order_by("succeeded_at", "pk"):
        oldest.setdefault(stream.connection.name, stream)
    for name, stream in list(oldest.items())[:SHOWN]:
        at = stream.succeeded_at
        if at is not None:
            age, when = figures.span(timezone.now() - at), timezone.localtime(at)
            yield Notice(
                f"{name}: data is {age} old. {stream.name.capitalize()} were last read to the end at {when:%d %b %H:%M}.",
                "warn",
                reverse("connection", args=[stream.connection.code]),
                "Look at the connection",
            )
    if len(oldest) > SHOWN:
        yield Notice(f"{len(oldest) - SHOWN} more connections are behind.", "warn", reverse("connections"), "See them")
