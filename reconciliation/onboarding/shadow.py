"""A range of days in shadow: the real documents judged by the real rules and prices, and nothing written.

The rule here: the shadow is a list in memory. No entry, hold or case comes of it, so none of it can be sent, queued or counted.
A month that is closed by now is judged as if it were open, because it was when the work was done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from itertools import groupby
from typing import Any

from django.db import transaction

from reconciliation.facts import Draft, drafts_of, give_routes, load, name
from reconciliation.onboarding.comparing import NO_ROUTE, Line
from reconciliation.rules import Rule
from reconciliation.rules.base import Check
from reconciliation.sql import rehearsals as sql
from reconciliation.validation.batches import one_batch
from reconciliation.validation.judging import Judge, Judged

CHUNK = 2_000  # documents judged together; those of one day always are
CLOSED = "period-closed"
_BUDGETS = ("left_of_contract", "left_of_purchase_order")


class _Then(Judge):
    """Judges as on the day of the work: that the period was closed since stops nothing."""

    def rules_for(self, draft: Draft) -> list[tuple[Rule, Check]]:
        """Every rule but the one about closed periods."""
        return [(rule, check) for rule, check in super().rules_for(draft) if rule.code != CLOSED]


def days(
    entity_id: int, source_id: int | None, start: date, end: date, *, said: Callable[[int], None]
) -> Iterator[Line]:
    """What the approved documents of an entity (of one source) with these work dates would become. `said` hears how far it is.

    What is left of a cap is carried from day to day, as it would be when the entries went in the order of their days.
    """
    left: dict[str, dict[int, Decimal]] = {}
    done = 0
    for ids in _chunks(sql.documents_between(entity_id, source_id, start, end)):
        with one_batch(), transaction.atomic():
            lines = list(_judged(ids, left))
            transaction.set_rollback(True)  # the caps were locked to be read, and nothing else was touched
        yield from lines
        done += len(ids)
        said(done)


def _chunks(documents: Sequence[tuple[int, date]]) -> Iterator[list[int]]:
    chunk: list[int] = []
    for _, of_day in groupby(documents, key=lambda document: document[1]):
        chunk.extend(document_id for document_id, _ in of_day)
        if len(chunk) >= CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _judged(ids: Sequence[int], left: dict[str, dict[int, Decimal]]) -> Iterator[Line]:
    drafts = drafts_of(ids, lock=False)
    _, entities = give_routes(drafts)
    routed = sorted(
        (draft for draft in drafts if draft.is_routed), key=lambda draft: (draft.work_date, draft.document_id)
    )
    unrouted = [draft for draft in drafts if not draft.is_routed]
    name(unrouted, entities)
    yield from (_unrouted(draft) for draft in unrouted)
    facts = load(routed, entities)
    for budget in _BUDGETS:
        here = getattr(facts, budget)
        here.update({key: value for key, value in left.get(budget, {}).items() if key in here})
    judge = _Then(facts)
    for draft in routed:
        judge.prepare(draft)
        judged: Judged | None = judge.judge(draft, draft.part + 1)
        while judged is not None:
            yield _line(judged)
            judged = judged.rest
    for budget in _BUDGETS:
        left.setdefault(budget, {}).update(getattr(facts, budget))


def _line(judged: Judged) -> Line:
    draft = judged.draft
    rule, finding = judged.findings[0] if judged.findings else (None, None)
    return Line(
        kind=draft.kind,
        work_date=draft.work_date,
        **_whose(draft),
        hours=draft.hours if draft.kind == "time" else None,
        amount=draft.amount if draft.kind == "time" else draft.gross if draft.amount is None else draft.amount,
        rate=draft.rate,
        currency=draft.currency or draft.says_currency,
        target_id=draft.route.target.id,
        document_id=draft.document_id,
        rule=rule.code if rule else "",
        sentence=finding.sentence if finding else "",
    )


def _whose(draft: Draft) -> dict[str, Any]:
    """Who worked on what: our records where they are known, else what the source calls them."""
    person, project = draft.resource, draft.project
    return {
        "person": ("resource", person.id) if person else f"{draft.resource_key}{draft.resource_code}",
        "project": ("project", project.id) if project else f"{draft.project_key}{draft.project_code}",
        "person_name": person.name if person else draft.resource_name or draft.resource_code,
        "project_name": project.code if project else draft.project_code or draft.project_name,
    }


def _unrouted(draft: Draft) -> Line:
    return Line(
        kind=draft.kind, work_date=draft.work_date, **_whose(draft), hours=draft.hours, amount=draft.gross, rate=None,
        currency=draft.says_currency, document_id=draft.document_id, rule=NO_ROUTE,
        sentence=f"No route leads it from {draft.source.name} to a target on {draft.work_date}; add a route.",
    )  # fmt: skip
