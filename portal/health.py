"""Whether the site lives, may take requests, and does its work. Probes ask here; the numbers carry no business data."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from celery import current_app
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import DurationField, ExpressionWrapper, F
from django.db.models.functions import Now
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from portal import broker
from portal.models import Heartbeat, LedgerState, State

# Seconds after which silence is a failure.
BEAT_SILENCE = 90
SWEEPER_SILENCE = 90
LATE_HINT = 300
LATE_MESSAGE = 120

_migrated = False  # once true in a process it stays true


class Failing(Exception):
    """A check did not hold; the message says what and by how much."""


def heard_from(name: str, **detail: Any) -> None:
    """Note that a part of the machinery (beat, sweeper, a worker) is alive now, by the database's clock."""
    Heartbeat.objects.bulk_create(
        [Heartbeat(name=name, at=Now(), detail=detail)],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["at", "detail"],
    )


def is_silent(name: str, seconds: float) -> bool:
    """Whether a part was not heard from for so long, by the database's clock."""
    return not Heartbeat.objects.filter(name=name, at__gt=Now() - timedelta(seconds=seconds)).exists()


@require_safe
@never_cache
def live(request: HttpRequest) -> JsonResponse:
    """The process answers."""
    return JsonResponse({"status": "live"})


@require_safe
@never_cache
def ready(request: HttpRequest) -> JsonResponse:
    """Requests may come: the database answers and its tables are those of this code."""
    return _answer({"database": _database, "migrations": _migrations})


@require_safe
@never_cache
def deep(request: HttpRequest) -> JsonResponse:
    """The work is done: broker, beat and sweeper live, and nothing due has waited long."""
    return _answer(
        {
            "database": _database,
            "migrations": _migrations,
            "broker": _broker,
            "beat": lambda: _heartbeat("beat", BEAT_SILENCE),
            "sweeper": lambda: _heartbeat("sweeper", SWEEPER_SILENCE),
            "oldest_hint": _oldest_hint,
        }
    )


def _answer(checks: dict[str, Callable[[], str]]) -> JsonResponse:
    results: dict[str, dict[str, Any]] = {}
    for name, check in checks.items():
        try:
            results[name] = {"ok": True, "detail": check()}
        except Failing as failure:
            results[name] = {"ok": False, "detail": str(failure)}
        except DatabaseError:
            results[name] = {"ok": False, "detail": "the database does not answer"}
    healthy = all(result["ok"] for result in results.values())
    return JsonResponse(
        {"status": "ready" if healthy else "failing", "checks": results}, status=200 if healthy else 503
    )


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "answers"


def _migrations() -> str:
    global _migrated  # noqa: PLW0603 - a fact of the process, not of a request
    if not _migrated:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if missing:
            raise Failing(f"{len(missing)} migrations are not applied; run manage.py migrate")
        _migrated = True
    return "applied"


def _broker() -> str:
    if not settings.REDIS_URL:
        age = broker.oldest_message_seconds(settings.BROKER_DIR)
        if age is not None and age > LATE_MESSAGE:
            raise Failing(f"a message has waited {age:.0f} s; no worker takes messages")
        return "answers"
    try:
        with current_app.connection_for_write() as link:
            link.ensure_connection(max_retries=1, timeout=3)
    except OSError as error:
        raise Failing("the broker does not answer") from error
    return "answers"


def _heartbeat(name: str, limit: int) -> str:
    silence = Heartbeat.objects.filter(name=name).values_list(_since("at"), flat=True).first()
    if silence is None:
        raise Failing(f"{name} has never shown life")
    seconds = silence.total_seconds()
    if seconds > limit:
        raise Failing(f"{name} was last alive {seconds:.0f} s ago")
    return f"alive {seconds:.0f} s ago"


def _oldest_hint() -> str:
    """The oldest entry that is due and waits on nothing but a worker."""
    due = LedgerState.objects.filter(state=State.READY, waits_on="", next_attempt_at__lte=Now())
    late = due.order_by("next_attempt_at").values_list(_since("next_attempt_at"), flat=True).first()
    if late is None:
        return "nothing waits"
    seconds = late.total_seconds()
    if seconds > LATE_HINT:
        raise Failing(f"an entry has been due for {seconds:.0f} s")
    return f"oldest due for {seconds:.0f} s"


def _since(field: str) -> ExpressionWrapper[Any]:
    """How long ago a moment was, by the database's clock."""
    return ExpressionWrapper(Now() - F(field), output_field=DurationField())
