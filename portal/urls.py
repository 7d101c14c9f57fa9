"""The addresses of the site. Each app brings its own; this module names them by string."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from portal import health
from portal.screens import NavItem
from portal.views import ledger, shell, styleguide

NAVIGATION = (
    NavItem(label="Ledger", url_name="ledger", position=30, key="l"),
    NavItem(label="Audit", url_name="audit", group="Govern", position=90, key="h"),
)

urlpatterns: list[URLPattern | URLResolver] = [
    path("health/live", health.live, name="health_live"),
    path("health/ready", health.ready, name="health_ready"),
    path("health/deep", health.deep, name="health_deep"),
    path("", shell.home, name="home"),
    path("preferences/", shell.preferences, name="preferences"),
    path("preferences/keyboard/", shell.KeyboardScreen.as_view(), name="keyboard"),
    path("entities/", shell.entities, name="entities"),
    path("ledger/", ledger.LedgerList.as_view(), name="ledger"),
    path("styleguide/", styleguide.StyleguideScreen.as_view(), name="styleguide"),
    path("api/v1/", include("reconciliation.api_urls")),
    path("", include("reconciliation.urls")),
    path("", include("integrations.urls")),
    path("accounts/", include("allauth.account.urls")),
    path("accounts/2fa/", include("allauth.mfa.urls")),
    path("admin/", admin.site.urls),
]
