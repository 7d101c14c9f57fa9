"""The addresses of operations, and their places in the navigation."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from integrations import abilities, webhooks
from integrations.views import (
    connecting,
    connections,
    doors,
    entries,
    forgetting,
    inbox,
    lateness,
    published,
    runs,
    uploads,
    work,
)
from portal.screens import NavItem

NAVIGATION = (
    NavItem(label="Inbox", url_name="inbox", group="Operate", position=10, key="i", badge=inbox.badge),
    NavItem(label="Runs", url_name="runs", group="Operate", position=20, key="s"),
    NavItem(
        label="Connections", url_name="connections", group="Operate", position=30, key="c", badge=connections.badge
    ),
    NavItem(label="Published", url_name="published", group="Operate", position=35),
    NavItem(label="Uploads", url_name="uploads", group="Operate", position=40),
)

DOORS = doors.closed

SAYS = abilities.why_untold

FRESHNESS = (lateness.sources,)

HOME = (work.failed, work.unwell, work.news)

urlpatterns: list[URLPattern | URLResolver] = [
    path("hooks/<slug:code>/", webhooks.hook, name="webhook"),
    path("ledger/<int:pk>/", entries.EntryPage.as_view(), name="entry"),
    path("ledger/<int:pk>/doubt/", entries.DoubtPart.as_view(), name="entry_doubt"),
    path("ledger/<int:pk>/comment/", entries.CommentScreen.as_view(), name="entry_comment"),
    path("ledger/<int:pk>/settle/", entries.SettleScreen.as_view(), name="entry_settle"),
    path("ledger/<int:pk>/attempts/<int:attempt>/", entries.AttemptPage.as_view(), name="entry_attempt"),
    path("milestones/<int:pk>/", entries.MilestonePage.as_view(), name="milestone_thread"),
    path("inbox/", inbox.InboxScreen.as_view(), name="inbox"),
    path("inbox/<int:pk>/", inbox.MessageScreen.as_view(), name="inbox_message"),
    path("published/", published.PublishedScreen.as_view(), name="published"),
    path("published/<int:pk>/", published.PublishedPage.as_view(), name="published_record"),
    path("runs/", runs.RunsScreen.as_view(), name="runs"),
    path("runs/<int:pk>/", runs.RunScreen.as_view(), name="run"),
    path("streams/<int:pk>/", runs.StreamScreen.as_view(), name="stream"),
    path("connections/", connections.ConnectionsScreen.as_view(), name="connections"),
    path("connections/new/", connecting.ChooseScreen.as_view(), name="connection_choose"),
    path("connections/new/<slug:connector>/", connecting.ConnectScreen.as_view(), name="connection_new"),
    path("connections/<slug:code>/edit/", connecting.ReconnectScreen.as_view(), name="connection_edit"),
    path("connections/<slug:code>/", connections.ConnectionScreen.as_view(), name="connection"),
    path("people/forgotten/", forgetting.ErasureList.as_view(), name="erasures"),
    path("people/forgotten/<int:pk>/", forgetting.ErasurePage.as_view(), name="erasure"),
    path("people/<int:pk>/forget/", forgetting.AskScreen.as_view(), name="forget"),
    path("uploads/", uploads.UploadsScreen.as_view(), name="uploads"),
    path("uploads/new/", uploads.NewUploadScreen.as_view(), name="upload_new"),
    path("uploads/<int:pk>/", uploads.UploadScreen.as_view(), name="upload"),
    path("uploads/<int:pk>/file/", uploads.UploadedFileScreen.as_view(), name="upload_file"),
]
