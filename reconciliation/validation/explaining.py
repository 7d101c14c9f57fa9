"""Explaining: why a document costs what it costs and what stops it, by the very code that decides; nothing is written."""

from __future__ import annotations

from dataclasses import dataclass, field

from reconciliation import pricing
from reconciliation.facts import Draft, drafts_of, give_routes, load
from reconciliation.pricing import Candidate
from reconciliation.rules import Finding, Rule
from reconciliation.validation.admission import standing_of
from reconciliation.validation.judging import Judge


@dataclass(slots=True)
class Explained:
    """One document as validation sees it today."""

    draft: Draft
    rates: list[Candidate] = field(default_factory=list)
    findings: list[tuple[Rule, Finding]] = field(default_factory=list)


def explain(document_id: int) -> Explained | None:
    """Every rate that could price the document's current version and which one does, and the rules that stop it.

    None when the document is not known or has no route.
    """
    drafts = drafts_of([document_id], lock=False)
    _, entities = give_routes(drafts)
    routed = [draft for draft in drafts if draft.is_routed]
    if not routed:
        return None
    draft = routed[0]
    standing = standing_of([document_id])
    if document_id in standing:
        draft.standing = [*standing[document_id].booked, *standing[document_id].reversals]
    without = [entry.id for there in standing.values() for entry in there.every if entry.version == draft.version]
    facts = load([draft], entities, without=without)
    judge = Judge(facts)
    judge.prepare(draft)
    rates = pricing.explain(draft, facts) if draft.kind == "time" and draft.project is not None else []
    return Explained(draft, rates, judge.judge(draft, draft.part + 1).findings)
