"""Runs: each reading of each stream, and the stream itself, which a person may have read now or release."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import Any

from django import forms
from django.db.models import Count, Q, QuerySet, Sum
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.safestring import SafeString

from integrations import connections, standing, streams
from integrations.filters import RunFilter
from integrations.models import InboxMessage, Run, Stream
from integrations.tables import RunTable, took
from portal import charts
from portal.access import OPERATORS, roles_in
from portal.screens import Action, DetailScreen, Empty, ListScreen, Outcome, Refused, Tab, within

State = Run.State
STRIP_RUNS = 2_000  # runs of one day that the strip draws
STRIP_ROWS = 16


class SyncNow(Action):
    """Read a stream as soon as a worker is free."""

    name, label, immediate, in_bulk = "sync", "Sync now", True, False
    roles = OPERATORS

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Make it due and wake a reader."""
        stream = queryset.select_related("connection").get()
        if stream.connection.paused_at is not None:
            raise Refused(f"{stream.connection} is paused: {stream.connection.pause_reason}. Resume it first.")
        if not (stream.connection.is_active and stream.connection.is_source):
            raise Refused(f"{stream.connection} is not read: it is switched off or no source.")
        hinted = connections.sync_now(stream, user)
        when = "now" if hinted else "by the next sweep, within seconds"
        return Outcome(f"{stream.name} of {stream.connection} is read {when}.", url=stream_address(stream))


class Release(Action):
    """Believe a silence."""

    name, label, button, in_bulk = "release", "Release", "Release the stream", False
    roles = OPERATORS
    sentence = "Believe the silence of this stream"
    reason = forms.CharField(
        max_length=500,
        help_text="Why so little came: a holiday, a plant that closed. The next reading moves the cursor whatever comes.",
        widget=forms.Textarea(attrs={"rows": 2}),
    )

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Let the cursor move again."""
        stream = queryset.select_related("connection__entity").get()
        if not stream.held_reason:
            raise Refused(f"{stream.name} is not held any more.")
        streams.release(stream, user, self.cleaned_data["reason"])
        return Outcome(f"{stream.name} is released; its next reading moves the cursor.", url=stream_address(stream))


def stream_address(stream: Stream) -> str:
    """The page of a stream."""
    return reverse("stream", args=[stream.pk])


class RunsScreen(ListScreen):
    """Every reading, and a day's strip of them."""

    title = "Runs"
    template_name = "integrations/runs.html"
    queryset = Run.objects.select_related("connection", "requested_by").order_by("-pk")
    filterset = RunFilter
    table = RunTable
    tabs = (
        Tab("all", "All"),
        Tab("running", "Running", lambda _user: Q(state=State.RUNNING)),
        Tab("trouble", "In trouble", lambda _user: Q(state__in=[State.FAILED, State.TRUNCATED, State.HELD])),
        Tab("done", "Done", lambda _user: Q(state=State.DONE)),
    )
    totals = {"read": Sum("read", default=0), "filed": Sum("filed", default=0)}
    caption = "Runs, latest first"

    def headline(self) -> str:
        """What a run is."""
        return "Each reading of a source. The cursor moves only with what was filed, so a run that fails loses nothing."

    def nothing(self) -> Empty:
        """By tab."""
        if self.tab and self.tab.slug == "trouble":
            return Empty("No run is in trouble", "Every reading came to its end.", "?tab=all", "See all runs")
        if self.tab and self.tab.slug == "running":
            return Empty(
                "Nothing is being read now", "Streams are read when they are due; a stream's page reads it now."
            )
        return Empty("No run yet", "A run appears when a stream is read for the first time.")

    def strip(self) -> SafeString:
        """The last 24 hours, one line a stream; a gap is a stream that was not read."""
        return day_strip(within(Run.objects.visible_to(self.request.user), self.request))


def day_strip(runs: QuerySet[Run]) -> SafeString:
    """The runs of the last 24 hours on one line a stream, the unlucky streams first."""
    now = timezone.now()
    start = now - timedelta(days=1)
    recent = runs.filter(started_at__gte=start).select_related("connection").order_by("-pk")[:STRIP_RUNS]
    lines: dict[str, list[charts.Span]] = defaultdict(list)
    trouble: dict[str, int] = defaultdict(int)
    for run in recent:
        label = f"{run.connection} · {run.stream}"
        words = standing.run_words(run, now)
        trouble[label] += words.tone in ("bad", "warn")
        lines[label].append(
            charts.Span(
                run.started_at,
                run.finished_at or now,
                words.tone,
                f"{label}, {timezone.localtime(run.started_at):%H:%M}: {words.label.lower()}, {run.filed:,} new",
            )
        )
    chosen = sorted(lines, key=lambda label: (-trouble[label], label))[:STRIP_ROWS]
    return charts.strip(
        [(label, lines[label]) for label in chosen], start=start, end=now, title="Runs of the last 24 hours"
    )


class RunScreen(DetailScreen):
    """One reading."""

    queryset = Run.objects.select_related("connection__entity", "requested_by")
    template_name = "integrations/run.html"
    object: Run

    def heading(self) -> str:
        """Connection and stream."""
        return f"{self.object.connection} · {self.object.stream}"

    def context(self, **more: Any) -> dict[str, Any]:
        """The run in words, what came of its records, and the run before it."""
        run = self.object
        return super().context(
            **more,
            words=standing.run_words(run),
            stuck=standing.is_stuck(run),
            took=took(run),
            stream=Stream.objects.filter(connection=run.connection_id, name=run.stream).first(),
            records=self.records,
            previous=self._beside("pk__lt", "-pk"),
            following=self._beside("pk__gt", "pk"),
            may_sync=bool(OPERATORS & self._held()),
        )

    def _held(self) -> frozenset[str]:
        return roles_in(self.request.user, self.object.connection.entity_id)

    @cached_property
    def records(self) -> dict[str, int]:
        """What became of the messages this run filed, by state in words; of those that its reader sees."""
        seen = InboxMessage.objects.visible_to(self.request.user)
        counted = seen.filter(connection=self.object.connection_id, run_id=self.object.pk)
        found = counted.order_by().values_list("state").annotate(count=Count("pk"))
        return {str(InboxMessage.State(state).label): count for state, count in found}

    def _beside(self, lookup: str, order: str) -> Run | None:
        same = Run.objects.filter(connection=self.object.connection_id, stream=self.object.stream)
        return same.filter(**{lookup: self.object.pk}).order_by(order).first()


class StreamScreen(DetailScreen):
    """One stream: where reading stands, when it goes on, and its latest runs."""

    queryset = Stream.objects.select_related("connection__entity", "connection__breaker")
    template_name = "integrations/stream.html"
    actions = (SyncNow, Release)
    object: Stream

    def heading(self) -> str:
        """Connection and stream."""
        return f"{self.object.connection} · {self.object.name}"

    def permitted(self, roles: frozenset[str]) -> list[type[Action]]:
        """Release is offered only while the stream is held."""
        return [action for action in super().permitted(roles) if action is not Release or self.object.held_reason]

    def context(self, **more: Any) -> dict[str, Any]:
        """The stream in words and its latest runs."""
        if "object" not in more:
            return super().context(**more)
        stream = self.object
        runs = Run.objects.filter(connection=stream.connection_id, stream=stream.name).select_related("connection")
        latest = list(runs.select_related("requested_by").order_by("-pk")[:12])
        return super().context(
            **more,
            words=standing.stream_words(stream),
            runs=[(run, standing.run_words(run), took(run)) for run in latest],
            volumes=charts.spark([run.read for run in reversed(latest)], label="Records of the latest runs"),
            usual=round(stream.usual_volume),
            every=_every(stream.every_seconds),
        )


def _every(seconds: int) -> str:
    if not seconds:
        return "only by hand or by webhook"
    minutes = seconds // 60
    return f"every {minutes} min" if minutes else f"every {seconds} s"
