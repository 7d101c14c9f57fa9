"""What probes are told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.utils import timezone

from portal import health
from portal.models import Heartbeat


def test_a_living_process_answers_without_a_database(client: Client) -> None:
    answer = client.get("/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "live"})


@pytest.mark.django_db
def test_ready_when_the_tables_are_those_of_the_code(client: Client) -> None:
    answer = client.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json()["checks"]["migrations"] == {"ok": True, "detail": "applied"}
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.django_db
def test_not_ready_while_a_migration_is_missing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_migrated", False)
    MigrationRecorder.Migration.objects.filter(app="integrations").delete()
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert "not applied; run manage.py migrate" in answer.json()["checks"]["migrations"]["detail"]


@pytest.mark.django_db
def test_not_ready_without_a_database(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        raise OperationalError("connection refused by db.example.org")

    monkeypatch.setattr(connection, "cursor", refused)
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["checks"]["database"] == {"ok": False, "detail": "the database does not answer"}


@pytest.mark.django_db
def test_the_deep_check_names_who_is_silent(client: Client, settings: Any, tmp_path: Path) -> None:
    settings.BROKER_DIR = tmp_path  # no message of another test waits in it
    health.heard_from("sweeper", claimed=3)
    Heartbeat.objects.create(name="beat", at=timezone.now() - timedelta(minutes=5))
    answer = client.get("/health/deep")
    checks = answer.json()["checks"]
    assert answer.status_code == 503
    assert checks["sweeper"]["ok"]
    assert not checks["beat"]["ok"]
    assert checks["beat"]["detail"].startswith("beat was last alive 3")
    health.heard_from("beat")
    assert client.get("/health/deep").status_code == 200
