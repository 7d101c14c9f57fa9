"""The inbox of a person: what concerned them, the bell that counts it, and the way to where it is dealt with."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import django_filters
from django.db.models import Max, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django_htmx.http import trigger_client_event

from portal import access, figures, sql
from portal.models import Digest, Notification, NotificationKind
from portal.screens import Action, Empty, ListScreen, Notice, Outcome, Screen, Tab
from portal.screens.panels import Line, Panel
from portal.tables import NotificationTable

ANNOUNCED = "announced_notice"  # in the session: the last notice that was said aloud
SAID_AT_ONCE = 3
PANEL_LINES = 5


class MarkRead(Action):
    """Put notices aside."""

    name, label, immediate = "read", "Mark as read", True
    roles = access.EVERYBODY

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """They are read, and go into no mail any more."""
        count = Notification.objects.filter(pk__in=queryset.values("pk"), read_at=None).update(read_at=sql.now())
        return Outcome("1 notice is read." if count == 1 else f"{count:,} notices are read.")


class NotificationFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Notices by why they came."""

    kind = django_filters.ChoiceFilter(choices=NotificationKind.choices, label="Why")

    class Meta:
        model = Notification
        fields: tuple[str, ...] = ()


class NotificationsScreen(ListScreen):
    """A person's notices, the latest first."""

    title = "Notifications"
    queryset = Notification.objects.select_related("entity", "by")
    filterset = NotificationFilter
    fresh = "at"
    table = NotificationTable
    actions = (MarkRead,)
    exportable = False
    tabs = (Tab("unread", "Unread", lambda _user: Q(read_at=None)), Tab("all", "All"))

    def rows(self) -> QuerySet[Any]:
        """The person's own, whatever entities are looked at."""
        return self.queryset.all().visible_to(self.request.user)

    def buttons(self) -> list[tuple[str, str]]:
        """Where one says what to be told."""
        return [("What I am told, and how", f"{reverse('settings')}#notifications")]

    def notices(self) -> list[Notice]:
        """The last mail, when nobody knows whether it came."""
        last = Digest.objects.filter(person_id=self.request.user.pk).first()
        if last is None or last.state != Digest.State.IN_DOUBT:
            return []
        return [
            Notice(f"A mail of {last.claimed_at:%d %b %H:%M} may not have reached you. Everything in it stands here.")
        ]

    def nothing(self) -> Empty:
        """All read, or nothing yet."""
        if self.tab and self.tab.slug == "unread" and self.base.exists():
            return Empty("Nothing unread", "What concerned you before stands under All.", "?tab=all", "All notices")
        return Empty(
            "Nothing concerned you yet", "You are told when something is assigned to you, mentions you or ends."
        )


def panel(request: HttpRequest) -> Panel | None:
    """For the first page: what the person was told and has not looked at."""
    unread = Notification.objects.visible_to(request.user).unread()
    return Panel(
        key="told", title="Told to you, not yet read", position=5,
        lines=[
            Line(
                text=notice.subject, url=reverse("notification", args=[notice.pk]),
                note=f"{notice.get_kind_display()} · {figures.age(notice.at)} ago",
            )
            for notice in unread[:PANEL_LINES]
        ],
        nothing="You have read everything that concerns you.",
        url=reverse("notifications"),
    )  # fmt: skip


class OpenNotification(Screen):
    """Leads from a notice to where it is dealt with; it is read from then on."""

    def get(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """On to the page."""
        notice = get_object_or_404(Notification.objects.visible_to(request.user), pk=pk)
        if notice.read_at is None:
            Notification.objects.filter(pk=pk).update(read_at=sql.now())
        return HttpResponseRedirect(notice.url, status=HTTPStatus.SEE_OTHER)


class Bell(Screen):
    """The figure at the bell; what came since the last look is said in a toast, once."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """The figure."""
        unread = Notification.objects.visible_to(request.user).unread().order_by("-pk")
        answer = render(request, "components/bell_count.html", {"count": unread.count()})
        last = request.session.get(ANNOUNCED)
        if last is None:
            newest = Notification.objects.filter(person_id=request.user.pk).aggregate(last=Max("pk"))["last"]
            request.session[ANNOUNCED] = newest or 0
            return answer
        fresh = list(unread.filter(pk__gt=last)[:SAID_AT_ONCE])
        if fresh:
            request.session[ANNOUNCED] = fresh[0].pk
            said = "; ".join(notice.subject for notice in reversed(fresh))
            trigger_client_event(
                answer, "tieout:notice", {"text": said, "tone": "good", "url": reverse("notifications")}
            )
        return answer
