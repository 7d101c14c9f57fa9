"""The addresses of finance's desk, and its places in the navigation."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver

from portal.screens import NavItem

NAVIGATION = (
    NavItem(label="Exceptions", url_name="exceptions", position=10, key="e"),
    NavItem(label="Reconciliation", url_name="reconciliation", position=20, key="r"),
)

urlpatterns: list[URLPattern | URLResolver] = []
