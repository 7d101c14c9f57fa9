"""Ledger entries for benches that begin there: as many as asked for, READY, with documents behind them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from django.db import transaction

from integrations.bench.firm import Firm
from integrations.bench.work import CURRENCIES, FIRST
from portal import ledger, sql
from portal.ledger import Figures
from portal.models import State

BATCH = 5000


def empty(tables: str) -> None:
    """Take all rows of evidence, which no trigger lets anybody do: as a superuser of a database of this bench's own."""
    with transaction.atomic():
        sql.execute("SET LOCAL session_replication_role = replica")
        sql.execute(f"TRUNCATE {tables} CASCADE")


def ready(firm: Firm, count: int, *, offset: int = 0) -> list[int]:
    """READY entries of all four entities, with target keys."""
    ids: list[int] = []
    moment = sql.now()
    for start in range(0, count, BATCH):
        numbers = range(offset + start, offset + min(start + BATCH, count))
        documents = sql.draw_ids("portal_document", len(numbers))
        sql.copy_in(
            "portal_document",
            ("id", "connection_id", "entity_id", "kind", "external_id", "current_version", "seen_revision", "content_digest",
             "created_at"),
            ([d, firm.sources[n % 4].pk, firm.entities[n % 4], "time", f"bench-{n}", 1, "1", "", moment]
             for d, n in zip(documents, numbers, strict=True)),
        )  # fmt: skip
        rows = [(_figures(firm, document, n), State.READY, "") for document, n in zip(documents, numbers, strict=True)]
        ids += ledger.enter(rows, actor="bench", reason="measured")
    return ids


def _figures(firm: Firm, document: int, number: int) -> Figures:
    entity = number % 4
    project = (number // 4 * 4) % (len(firm.projects) // 4 * 4) + entity
    person = (number // 4 * 4) % (len(firm.people) // 4 * 4) + entity
    day = FIRST + timedelta(days=number % 28)
    return Figures(
        document_id=document, version=1, kind="time", entity_id=firm.entities[entity], source_id=firm.sources[entity].pk,
        target_id=firm.target.pk, project_id=firm.projects[project], resource_id=firm.people[person], work_date=day,
        post_on=day, hours=Decimal("1.5"), rate=Decimal(120), rate_version="K v1", amount=Decimal(180),
        currency=CURRENCIES[entity], is_billable=True, memo=f"Work item {number}",
        target_keys={"project": str(500_000 + project), "resource": str(800_000 + person), "entity": str(entity + 1)},
    )  # fmt: skip
