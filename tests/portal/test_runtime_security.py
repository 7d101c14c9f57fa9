"""Sessions, headers, settings and logs: what must hold before anybody signs in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
import time_machine
from django.conf import settings
from django.test import Client, override_settings
from django.urls import reverse

from portal import logs, settings_check
from portal.models import User

PRODUCTION = {
    "TIEOUT_DEMO": "0",
    "SECRET_KEY": "4vR2mZ8sQ1xK7wT5nB9cL3jH6gF0dP2yU8eA4iO7rM1tE5uW9k",
    "ALLOWED_HOSTS": "tieout.example.org",
    "CSRF_TRUSTED_ORIGINS": "https://tieout.example.org",
    "DATABASE_URL": "postgres://tieout@database.example.org/tieout",
    "REDIS_URL": "redis://broker.example.org/0",
}


def python(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    foreign = {"TIEOUT_PROCESS", "DJANGO_ALLOW_ASYNC_UNSAFE", *PRODUCTION}
    environment = {name: value for name, value in os.environ.items() if name not in foreign}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=settings.BASE_DIR,
        env={**environment, **more},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_deployment_check_has_no_warning() -> None:
    done = python("manage.py", "check", "--deploy", "--fail-level", "WARNING", **PRODUCTION)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("process", ["portal.wsgi", "portal.celery"])
def test_a_serving_process_refuses_to_start_with_nothing_set(process: str) -> None:
    program = f"import {process}, django; django.setup()"
    done = python("-c", program, DJANGO_SETTINGS_MODULE="portal.settings", TIEOUT_PROCESS="worker", TIEOUT_DEMO="0")
    assert done.returncode != 0
    for word in ("SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL", "REDIS_URL"):
        assert word in done.stderr


@pytest.mark.parametrize(
    ("values", "number"),
    [
        ({"LOCAL": True, "ALLOWED_HOSTS": ["tieout.example.org"]}, 1),
        ({"SECRET_KEY": "short"}, 2),
        ({"ALLOWED_HOSTS": ["*"]}, 3),
        ({"ALLOWED_HOSTS": [".example.org"]}, 3),
        ({"REDIS_URL": ""}, 5),
        ({"ALLOW_LOOPBACK": True}, 6),
        ({"CSRF_TRUSTED_ORIGINS": ["http://tieout.example.org"]}, 7),
    ],
)
def test_each_unsafe_value_is_named(values: Mapping[str, Any], number: int) -> None:
    safe = {
        "LOCAL": False,
        "SECRET_KEY": PRODUCTION["SECRET_KEY"],
        "ALLOWED_HOSTS": ["tieout.example.org"],
        "REDIS_URL": "redis://broker.example.org/0",
        "ALLOW_LOOPBACK": False,
        "CSRF_TRUSTED_ORIGINS": [],
    }
    with override_settings(**safe):
        assert settings_check.settings_are_safe(None) == []
    with override_settings(**{**safe, **values}):
        assert [error.id for error in settings_check.settings_are_safe(None)] == [f"tieout.E{number:03}"]


@pytest.fixture
def person(client: Client, db: None) -> User:
    user = User.objects.create_user("ann", password="correct horse battery")
    client.force_login(user)
    return user


def is_signed_in(client: Client) -> bool:
    return client.get(reverse("account_reauthenticate")).wsgi_request.user.is_authenticated


@pytest.mark.usefixtures("person")
def test_half_an_hour_of_silence_ends_a_session(client: Client) -> None:
    with time_machine.travel("2026-03-02 09:00Z", tick=False) as clock:
        assert is_signed_in(client)
        clock.shift(29 * 60)
        assert is_signed_in(client)
        clock.shift(29 * 60)
        assert is_signed_in(client), "the last request counts, not the first"
        clock.shift(31 * 60)
        assert not is_signed_in(client)


@pytest.mark.usefixtures("person")
def test_ten_hours_end_a_session_however_busy_it_was(client: Client) -> None:
    with time_machine.travel("2026-03-02 09:00Z", tick=False) as clock:
        for _ in range(30):
            assert is_signed_in(client)
            clock.shift(20 * 60)
        clock.shift(60)
        assert not is_signed_in(client)


@pytest.mark.usefixtures("person")
def test_pages_of_signed_in_people_are_kept_by_no_cache(client: Client) -> None:
    assert "no-store" in client.get(reverse("account_reauthenticate"))["Cache-Control"]


@pytest.mark.django_db
def test_the_policy_of_every_page_is_exact(client: Client) -> None:
    answer = client.get(reverse("account_login"))
    directives = dict(part.strip().split(" ", 1) for part in answer["Content-Security-Policy"].split(";"))
    assert directives == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "font-src": "'self'",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "object-src": "'none'",
        "frame-ancestors": "'none'",
    }
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
    assert not re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|\son[a-z]+=", answer.content.decode())


@pytest.mark.django_db
def test_nobody_signs_up(client: Client) -> None:
    before = User.objects.count()
    client.post(
        reverse("account_signup"),
        {"username": "mallory", "password1": "correct horse battery", "password2": "correct horse battery"},
    )
    assert User.objects.count() == before


def test_no_secret_reaches_the_log() -> None:
    canary = "c4n4ry"
    event = {
        "event": f"GET https://user:{canary}@erp.example.org/?token={canary}&page=2 Authorization: Bearer {canary}",
        "headers": {"Authorization": f"Bearer {canary}", "Accept": "json"},
        "nested": [{"client_secret": canary}, {"deep": {"password": canary}}],
        "api_key": canary,
    }
    kept = logs.redact(None, "info", event)
    assert canary not in repr(kept)
    assert kept["headers"]["Accept"] == "json"
    assert "page=2" in kept["event"]


def test_a_log_line_cannot_be_forged() -> None:
    event = logs.one_line(None, "info", {"event": "signed in\n2026-01-01 ERROR all is lost\x1b[31m"})
    assert "\n" not in event["event"]
    assert "\x1b" not in event["event"]
