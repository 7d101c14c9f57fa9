"""The addresses of operations, and their places in the navigation."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from integrations import webhooks
from portal.screens import NavItem

NAVIGATION = (
    NavItem(label="Inbox", url_name="inbox", group="Operate", position=10, key="i"),
    NavItem(label="Runs", url_name="runs", group="Operate", position=20, key="s"),
    NavItem(label="Connections", url_name="connections", group="Operate", position=30, key="c"),
)

urlpatterns: list[URLPattern | URLResolver] = [
    path("hooks/<slug:code>/", webhooks.hook, name="webhook"),
]
