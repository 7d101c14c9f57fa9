"""What finance's desk puts into an auditor's pack: causes with how they ended, what was decided on them, and comparisons."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime

from django.db.models import Count, Q

from portal.export import Cell
from portal.packs import Part, Range
from reconciliation.models import ExceptionCase, Hold, ReconciliationRun
from reconciliation.rules import BY_CODE

_CHUNK = 2_000


def causes(of: Range) -> Iterator[Sequence[Cell]]:
    """Every cause that stood in these days, with how it ended and how its holds did."""
    stood = ExceptionCase.objects.visible_to(of.person).filter(entity__in=of.ids, opened_at__lt=of.ends)
    counted = stood.filter(Q(closed_at=None) | Q(closed_at__gte=of.begins)).annotate(
        every=Count("holds"),
        waived=Count("holds", filter=Q(holds__outcome=Hold.Outcome.WAIVED)),
        passed=Count("holds", filter=Q(holds__outcome=Hold.Outcome.PASSED)),
        withdrawn=Count("holds", filter=Q(holds__outcome=Hold.Outcome.WITHDRAWN)),
    )
    rows = counted.select_related("entity", "owner", "team").order_by("pk")
    for case in rows.iterator(chunk_size=_CHUNK):
        rule = BY_CODE.get(case.rule)
        yield (
            f"EX-{case.pk}", case.entity.code, rule.title if rule else case.rule, case.subject_type, case.subject_key,
            case.sentence, case.get_state_display(), _at(case.opened_at),
            _at(case.closed_at), case.regressions,
            case.owner.get_username() if case.owner else "", case.team.name if case.team else "", case.every, case.passed,
            case.waived, case.withdrawn, case.open_holds,
        )  # fmt: skip


def resolutions(of: Range) -> Iterator[Sequence[Cell]]:
    """Every hold that closed in these days: how, by whom and why."""
    closed = Hold.objects.visible_to(of.person).filter(
        case__entity__in=of.ids, closed_at__gte=of.begins, closed_at__lt=of.ends
    )
    rows = closed.order_by("closed_at", "pk").values_list(
        "case_id", "entry_id", "rule", "sentence", "opened_at", "closed_at", "outcome", "closed_by__username", "reason"
    )
    for case_id, entry_id, rule, sentence, opened, ended, outcome, who, reason in rows.iterator(chunk_size=_CHUNK):
        yield (
            f"EX-{case_id}", entry_id, rule, sentence, _at(opened),
            _at(ended), Hold.Outcome(outcome).label, who or "by itself", reason,
        )  # fmt: skip


def comparisons(of: Range) -> Iterator[Sequence[Cell]]:
    """Every comparison of a period that was asked for in these days, leg by leg."""
    asked = ReconciliationRun.objects.visible_to(of.person).filter(
        entity__in=of.ids, started_at__gte=of.begins, started_at__lt=of.ends
    )
    for run in asked.select_related("entity", "period", "requested_by").order_by("pk").iterator(chunk_size=_CHUNK):
        head = (
            run.pk, run.entity.code, run.period.code, run.get_state_display(),
            _at(run.started_at), run.requested_by.get_username() if run.requested_by else "",
        )  # fmt: skip
        legs = run.totals or {"": {}}
        for leg, totals in legs.items():
            yield (
                *head,
                leg,
                totals.get("matched"),
                totals.get("open"),
                totals.get("differing"),
                _json(totals),
                run.failure,
            )


def _at(moment: datetime | None) -> str:
    return moment.isoformat(sep=" ", timespec="seconds") if moment is not None else ""


def _json(totals: object) -> str:
    return json.dumps(totals, ensure_ascii=False, sort_keys=True) if totals else ""


PARTS = (
    Part(
        "cases", "Exception cases",
        ("case", "entity", "rule", "subject", "subject_key", "sentence", "state", "opened", "closed", "regressions", "owner",
         "team", "entries", "passed", "waived", "withdrawn", "open"),
        causes, 40,
    ),
    Part(
        "resolutions", "How holds ended",
        ("case", "entry", "rule", "sentence", "opened", "closed", "outcome", "by", "reason"), resolutions, 45,
    ),
    Part(
        "comparisons", "Comparisons of periods",
        ("run", "entity", "period", "state", "started", "asked_by", "leg", "matched", "open", "differing", "totals", "failure"),
        comparisons, 50,
    ),
)  # fmt: skip
