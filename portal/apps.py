"""What is true: master data, documents, the ledger, audit; also the site itself."""

from __future__ import annotations

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """The app that imports no other."""

    name = "portal"
    verbose_name = "Portal"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Name the Celery app that tasks belong to, and refuse to serve with unsafe settings."""
        from portal import celery, roles_check, settings_check  # noqa: F401 - registers its check

        celery.app.set_default()
        settings_check.refuse_unsafe()
