"""Connections: how each account at a vendor fares, what it cannot do, and what a person may do about it.

The rule here: a credential is named and never shown; whoever stops or starts a connection says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django import forms
from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from integrations import abilities, breaker, connections, outbox, standing, windows, wording
from integrations.filters import ConnectionFilter
from integrations.models import Breaker, InboxMessage, MaintenanceWindow, RefusedDelivery, Run, Slot, Stream
from integrations.tables import ConnectionTable, roles_in_words
from portal.access import CONFIGURERS, OPERATORS, roles_in
from portal.audit import in_words
from portal.export import Sheet
from portal.models import AuditEvent, Connection, GrantRole
from portal.models.access import entities_held
from portal.screens import Action, Badge, Content, DetailScreen, Empty, ListScreen, Outcome, Refused, Tab, Tile
from portal.screens.exporting import ROWS
from reconciliation.changes import BY_CODE
from reconciliation.models import ChangeLine, ChangeSet
from reconciliation.views.records import as_imported

COUNTED = timedelta(days=7)
SETTINGS_READERS = OPERATORS | {GrantRole.AUDITOR}
AS_IMPORTED = Content("import", "As it is imported")
STREAMS_AS_IMPORTED = Content("streams", "Streams, as they are imported")


def connections_with_standing() -> QuerySet[Connection]:
    """Connections with all that `standing.health` looks at, in a fixed number of statements."""
    unread = InboxMessage.objects.filter(connection=OuterRef("pk"), state=InboxMessage.State.FAILED)
    with_unread = Connection.objects.annotate(is_unread=Exists(unread))
    return with_unread.select_related("entity", "breaker").prefetch_related(
        Prefetch("streams", Stream.objects.order_by("name")), "maintenance_windows"
    )


def address(connection: Connection) -> str:
    """The page of a connection."""
    return reverse("connection", args=[connection.code])


class Reasoned(Action):
    """An act on one connection that needs a reason."""

    in_bulk = False
    roles = CONFIGURERS
    reason = forms.CharField(
        max_length=300, help_text="Kept in the audit trail.", widget=forms.Textarea(attrs={"rows": 2})
    )


class TestConnection(Action):
    """Ask the account whether it answers; nothing is written."""

    name, label, immediate, in_bulk = "test", "Test connection", True, False
    roles = OPERATORS

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Call it, and say what it said."""
        connection = queryset.get()
        tested = connections.test(connection, user)
        return Outcome(tested.sentence, url=address(connection), tone="good" if tested.is_good else "bad")


class Pause(Reasoned):
    """Call it no more."""

    name, label, tone, button = "pause", "Pause", "danger", "Pause it"
    sentence = "Call this connection no more"

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Stop it."""
        connection = queryset.get()
        if connection.paused_at is not None:
            raise Refused(f"{connection} is paused already: {connection.pause_reason}")
        connections.pause(connection, user, self.cleaned_data["reason"])
        return Outcome(f"{connection} is paused; what is owed to it waits.", url=address(connection))


class Resume(Reasoned):
    """Let it go on."""

    name, label, button = "resume", "Resume", "Resume it"
    sentence = "Let this connection go on"

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Start it."""
        connection = queryset.get()
        if connection.paused_at is None:
            raise Refused(f"{connection} is not paused.")
        connections.resume(connection, user, self.cleaned_data["reason"])
        return Outcome(f"{connection} goes on; its streams are due now.", url=address(connection))


class OpenBreaker(Reasoned):
    """Let nothing through."""

    name, label, tone, button = "open_breaker", "Open the breaker", "danger", "Open it"
    sentence = "Let no call through until a person closes the breaker again"

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Open it."""
        connection = queryset.get()
        breaker.open_by_hand(connection, user, self.cleaned_data["reason"])
        return Outcome(f"Nothing goes through to {connection} until its breaker is closed.", url=address(connection))


class CloseBreaker(Reasoned):
    """Let calls through again, slowly at first."""

    name, label, button = "close_breaker", "Close the breaker", "Close it"
    sentence = "Let calls through again, one at a time at first"

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Close it."""
        connection = queryset.get()
        breaker.close_by_hand(connection, user, self.cleaned_data["reason"])
        return Outcome(f"Calls to {connection} go through again, one at a time at first.", url=address(connection))


class ConnectionsScreen(ListScreen):
    """Every account, and how it fares."""

    title = "Connections"
    queryset = connections_with_standing()
    filterset = ConnectionFilter
    table = ConnectionTable
    tabs = (
        Tab("all", "All"),
        Tab("sources", "Sources", lambda _user: standing.SOURCES),
        Tab("targets", "Targets", lambda _user: standing.TARGETS),
        Tab("recipients", "Recipients", lambda _user: standing.RECIPIENTS),
        Tab("billers", "Billers", lambda _user: standing.BILLERS),
    )
    caption = "Connections and how they fare"
    empty = Empty(
        "No connection yet",
        "Add one here, or write it in a TOML file and run manage.py configure FILE.toml.",
    )

    def headline(self) -> str:
        """What a connection is."""
        return "One account at one vendor each. A connection that fails stops only what goes through it."

    def buttons(self) -> list[tuple[str, str]]:
        """Adding one, or several by file, for those who may."""
        may = self.request.user.roles() & CONFIGURERS  # type: ignore[union-attr]
        by_file = f"{reverse('import_new')}?kind=connection"
        return [("Import", by_file), ("New connection", reverse("connection_choose"))] if may else []

    @property
    def contents(self) -> Sequence[Content]:  # type: ignore[override]
        """Its rows; for who may read settings, also as they are imported."""
        may = self.request.user.roles() & SETTINGS_READERS  # type: ignore[union-attr]
        return (ROWS, AS_IMPORTED, STREAMS_AS_IMPORTED) if may else (ROWS,)

    def tell(self, records: Sequence[Any]) -> None:
        """What of each queue its reader may count, in one statement for all rows."""
        waiting = standing.queues((row.pk for row in records if row.is_target), self.request.user)
        for row in records:
            row.waiting = waiting.get(row.pk, standing.Waiting())

    def sheet(self, of: str = "", *, columns: Sequence[str] = ()) -> Sheet:
        """The same in a file, or as an import takes it: without secrets, and only what its reader may read the settings of."""
        if of not in (AS_IMPORTED.slug, STREAMS_AS_IMPORTED.slug):
            return replace(super().sheet(of, columns=columns), prepare=self.tell)
        held = entities_held(self.request.user, SETTINGS_READERS)
        rows = self.ordered() if None in held else self.ordered().filter(entity__in=held)
        if of == AS_IMPORTED.slug:
            kind = BY_CODE["connection"]
        else:
            kind = BY_CODE["stream"]
            rows = Stream.objects.filter(connection__in=rows.order_by().values("pk")).order_by(
                "connection__code", "name"
            )
        return as_imported(kind, rows, self.heading_of(self.title, self.summary_of(rows)))

    def tiles(self) -> list[Tile]:
        """How many are well, failing, paused, and how much waits."""
        rows = list(self.base)
        states = [standing.health(row) for row in rows]
        waiting = standing.queues((row.pk for row in rows if row.is_target), self.request.user)
        failing = sum(state.tone == "bad" for state in states)
        notable = sum(state.tone in ("warn", "info") for state in states)
        return [
            Tile("Healthy", f"{sum(state.tone == 'good' for state in states)} of {len(rows)}"),
            Tile("Failing", str(failing), tone="bad" if failing else ""),
            Tile("Paused, held or unsteady", str(notable), tone="warn" if notable else ""),
            Tile("Entries on their way", f"{sum(one.total for one in waiting.values()):,}"),
        ]


class ConnectionScreen(DetailScreen):
    """One account: health, streams, queue, windows, credentials by name, and what it cannot do."""

    queryset = connections_with_standing()
    lookup = "code"
    template_name = "integrations/connection.html"
    actions = (TestConnection, Pause, Resume, OpenBreaker, CloseBreaker)
    object: Connection

    def permitted(self, roles: frozenset[str]) -> list[type[Action]]:
        """Only what changes something as the connection stands."""
        row: Breaker | None = getattr(self.object, "breaker", None)
        is_open = row is not None and row.state == Breaker.State.OPEN
        is_refused = row is not None and row.unauthorised_at is not None
        senseless: set[type[Action]] = {Pause if self.object.paused_at else Resume}
        senseless.add(OpenBreaker if is_open or is_refused else CloseBreaker)
        return [action for action in super().permitted(roles) if action not in senseless]

    def context(self, **more: Any) -> dict[str, Any]:
        """The connection as it stands now."""
        if "object" not in more:
            return super().context(**more)
        connection, now = self.object, timezone.now()
        row: Breaker | None = getattr(connection, "breaker", None)
        seen = AuditEvent.objects.visible_to(self.request.user)
        events = seen.filter(object_type="connection", object_id=str(connection.pk))
        slots = list(Slot.objects.filter(connection=connection).values_list("lease_until", flat=True))
        refused = RefusedDelivery.objects.filter(connection=connection, at__gte=now - COUNTED).count()
        return super().context(
            **more,
            health=standing.health(connection, now),
            role_words=roles_in_words(connection),
            breaker=row,
            failing_since=standing.failing_since(connection),
            last_success=standing.last_success(connection),
            streams=[(stream, standing.stream_words(stream, now)) for stream in connection.streams.all()],
            queue=outbox.queue(connection, self._seen()) if connection.is_target else None,
            waiting=standing.queues([connection.pk], self.request.user).get(connection.pk),
            slots_in_use=sum(lease is not None and lease > now for lease in slots),
            planned=_windows(list(connection.maintenance_windows.all())),
            next_window=windows.next_start(connection.maintenance_windows.all(), now),
            credentials=standing.credentials(connection),
            may_configure=bool(roles_in(self.request.user, connection.entity_id) & CONFIGURERS),
            may_operate=bool(roles_in(self.request.user, connection.entity_id) & OPERATORS),
            cannot=abilities.cannot(connection),
            abilities=abilities.abilities(connection),
            told=abilities.told(connection),
            settings_told=abilities.settings_told(connection) if self._may_read_settings() else [],
            unread=self._unread(),
            changes=self._changes(),
            refused=refused,
            runs=[
                (run, standing.run_words(run, now), wording.in_words(run.failure).sentence if run.failure else "")
                for run in Run.objects.filter(connection=connection).order_by("-pk")[:6]
            ],
            events=[(event, in_words(event.action)) for event in events.order_by("-pk")[:8]],
        )

    def _may_read_settings(self) -> bool:
        return bool(roles_in(self.request.user, self.object.entity_id) & SETTINGS_READERS)

    def _unread(self) -> int:
        """How many of its messages cannot be read, of those that this person sees."""
        seen = InboxMessage.objects.visible_to(self.request.user).filter(connection=self.object.pk)
        return seen.filter(state=InboxMessage.State.FAILED)[:100].count()

    def _changes(self) -> list[ChangeSet]:
        """The latest change sets that made or changed it or what of it is read, of those that this person sees."""
        streams = [stream.pk for stream in self.object.streams.all()]
        about = Q()
        for model, keys in (("connection", [self.object.pk]), ("stream", streams)):
            about |= Q(model=model) & (Q(key__in=keys) | Q(made__in=keys))
        found = ChangeSet.objects.visible_to(self.request.user).filter(
            pk__in=ChangeLine.objects.filter(about).values("change_set")
        )
        return list(found.select_related("created_by", "decided_by").order_by("-pk")[:6])

    def _seen(self) -> list[int] | None:
        """The entities whose entries this person may count; None where it is all of them."""
        held = entities_held(self.request.user, None)
        return None if None in held else [one for one in held if one is not None]


_DAYS = ("", "Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")


def _windows(planned: list[MaintenanceWindow]) -> list[str]:
    """Each window in one sentence."""
    said = []
    for window in planned:
        why = f": {window.reason}" if window.reason else ""
        if window.starts_at is not None and window.ends_at is not None:
            said.append(f"{window.starts_at:%d %b %Y %H:%M} to {window.ends_at:%d %b %Y %H:%M} UTC{why}")
        elif window.weekday and window.start_time and window.minutes:
            length = f"{window.minutes} min"
            said.append(f"{_DAYS[window.weekday]} at {window.start_time:%H:%M}, {length}, {window.zone}{why}")
    return said


def badge(user: Any) -> Badge | None:
    """The worst that holds among the connections, as a dot for the navigation."""
    states = [standing.health(row) for row in connections_with_standing().visible_to(user)]  # type: ignore[attr-defined]
    if not states:
        return None
    failing = sum(state.tone == "bad" for state in states)
    uneasy = sum(state.tone == "warn" for state in states)
    if failing:
        return Badge(f"{failing} failing", tone="bad")
    if uneasy:
        return Badge(f"{uneasy} paused, held or unsteady", tone="warn")
    return Badge("all healthy", tone="good")
