"""The addresses of the site. Each app brings its own; this module names them by string."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.generic import RedirectView

from portal import health
from portal.screens import NavItem
from portal.views import (
    api,
    audit,
    exports,
    history,
    home,
    ledger,
    notifications,
    pack,
    pack_parts,
    settings,
    shell,
    styleguide,
    tokens,
)

NAVIGATION = (
    NavItem(label="My work", url_name="home", position=0, key="w"),
    NavItem(label="Ledger", url_name="ledger", position=30, key="l"),
    NavItem(label="Records", url_name="master_data", group="Master data", position=10, key="m"),
    NavItem(label="Audit", url_name="audit", group="Govern", position=90, key="h"),
)

HOME = (notifications.panel,)

PACK = pack_parts.PARTS  # what this app puts into an auditor's pack

urlpatterns: list[URLPattern | URLResolver] = [
    path("health/live", health.live, name="health_live"),
    path("health/ready", health.ready, name="health_ready"),
    path("health/deep", health.deep, name="health_deep"),
    path("", home.HomeScreen.as_view(), name="home"),
    path("preferences/", shell.preferences, name="preferences"),
    path("settings/", settings.SettingsScreen.as_view(), name="settings"),
    path("settings/tokens/", tokens.TokensScreen.as_view(), name="tokens"),
    path("settings/keyboard/", settings.KeyboardScreen.as_view(), name="keyboard"),
    path("notifications/", notifications.NotificationsScreen.as_view(), name="notifications"),
    path("notifications/bell/", notifications.Bell.as_view(), name="bell"),
    path("notifications/<int:pk>/", notifications.OpenNotification.as_view(), name="notification"),
    path("entities/", shell.entities, name="entities"),
    path("ledger/", ledger.LedgerList.as_view(), name="ledger"),
    path("audit/", audit.AuditScreen.as_view(), name="audit"),
    path("audit/verify/", audit.VerifyScreen.as_view(), name="audit_verify"),
    path("audit/pack/", pack.PackScreen.as_view(), name="audit_pack"),
    path("audit/<int:pk>/", audit.EventScreen.as_view(), name="audit_event"),
    path("history/<slug:model>/<int:pk>/", history.HistoryScreen.as_view(), name="history"),
    path("master/", RedirectView.as_view(url="/master/project/"), name="master_data"),
    path("exports/", exports.ExportsScreen.as_view(), name="exports"),
    path("exports/making/", exports.MakingPart.as_view(), name="exports_making"),
    path("exports/<int:pk>/file/", exports.ExportFileScreen.as_view(), name="export_file"),
    path("styleguide/", styleguide.StyleguideScreen.as_view(), name="styleguide"),
    path("api/v1/", include("reconciliation.api_urls")),
    path("api/v1/", include("integrations.api_urls")),
    re_path(r"^api/", api.nothing_here, name="api_nothing_here"),
    path("", include("reconciliation.urls")),
    path("", include("integrations.urls")),
    path("accounts/", include("allauth.account.urls")),
    path("accounts/2fa/", include("allauth.mfa.urls")),
]
