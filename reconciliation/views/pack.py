"""What finance's desk puts into an auditor's pack: causes and how they ended, comparisons, certificates, what went live."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime

from django.db.models import Count, Q

from portal.export import Cell
from portal.packs import Part, Range
from reconciliation.models import (
    Certificate,
    CutOver,
    ExceptionCase,
    Hold,
    Onboarding,
    ReconciliationRun,
    RehearsedLine,
)
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


def certificates(of: Range) -> Iterator[Sequence[Cell]]:
    """Every certificate that stood in these days: who prepared and who signed it, what it said, and how and why it ended."""
    stood = Certificate.objects.visible_to(of.person).filter(
        Q(ended_at=None) | Q(ended_at__gte=of.begins), period__entity__in=of.ids, prepared_at__lt=of.ends
    )
    people = ("period__entity", "prepared_by", "certified_by", "ended_by")
    for one in stood.select_related(*people).order_by("pk").iterator(chunk_size=_CHUNK):
        ended = (one.ended_by.get_username() if one.ended_by else "by itself") if one.ended_at else ""
        yield (
            one.pk, one.period.entity.code, one.period.code, one.get_state_display(), one.books, one.run_id,
            one.prepared_by.get_username(), _at(one.prepared_at), one.certified_by.get_username() if one.certified_by else "",
            _at(one.certified_at), one.differing, one.note,
            _json(one.uncompared) if one.uncompared else "", _at(one.ended_at), ended, one.why, " ".join(one.changes),
            _json(one.totals),
        )  # fmt: skip


def going_live(of: Range) -> Iterator[Sequence[Cell]]:
    """Every entity and source that went live or was on its way in these days: on which rehearsal, by whom, from which days."""
    stood = Onboarding.objects.visible_to(of.person).filter(
        Q(decided_at=None) | Q(decided_at__gte=of.begins), entity__in=of.ids, started_at__lt=of.ends
    )
    people = ("entity", "source", "started_by", "proposed_by", "decided_by", "rehearsal__period")
    for one in stood.select_related(*people).order_by("pk").iterator(chunk_size=_CHUNK):
        days = CutOver.objects.filter(entity=one.entity_id).select_related("source")
        if one.source_id:
            days = days.filter(source=one.source_id)
        lines = RehearsedLine.objects.filter(rehearsal=one.rehearsal_id).exclude(outcome=RehearsedLine.Outcome.AGREES)
        who = sorted(set(lines.exclude(decided_by=None).values_list("decided_by__username", flat=True)))
        yield (
            one.pk, one.entity.code, one.source.code if one.source else "every source", one.get_state_display(),
            one.started_by.get_username(), _at(one.started_at), one.reason,
            one.rehearsal.period.code if one.rehearsal else "", lines.count() if one.rehearsal_id else None, ", ".join(who),
            one.proposed_by.get_username() if one.proposed_by else "", _at(one.proposed_at), one.proposed_because,
            one.decided_by.get_username() if one.decided_by else "", _at(one.decided_at), one.comment,
            "; ".join(f"{day.source.code} {day.kind} from {day.first_day}" for day in days),
        )  # fmt: skip


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
    Part(
        "certificates", "Certificates and their drops",
        ("certificate", "entity", "period", "state", "books", "run", "prepared_by", "prepared", "certified_by", "certified",
         "open_items", "note", "accepted_unproved", "ended", "ended_by", "why", "changed", "totals"),
        certificates, 55,
    ),
    Part(
        "going_live", "Going live",
        ("onboarding", "entity", "source", "state", "begun_by", "begun", "reason", "rehearsed", "differences", "decided_by",
         "proposed_by", "proposed", "because", "let_live_by", "let_live", "comment", "cut_overs"),
        going_live, 60,
    ),
)  # fmt: skip
