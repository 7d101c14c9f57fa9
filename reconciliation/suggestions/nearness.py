"""How near a record is to what a source said, and why: the words, the people's history, the days, the client, the approver.

The rule here: words decide, evidence shifts. Each reason for and against is said beside the score, so that a person can
judge the score itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from rapidfuzz import fuzz

from portal import figures

NEAR = 70  # of 100: worth showing
SURE = 90  # of 100: filled into the form, when nothing else is as near
CLOSE = 5  # points: two that are nearer to each other than this are never told apart by us
HABIT = 62  # what a record gets that the people book most, whatever its words
_HISTORY, _CLIENT, _APPROVER, _DAYS = 8, 5, 5, 15  # points of each kind of evidence


@dataclass(frozen=True, slots=True)
class Candidate:
    """One record that may be meant. `approvers` are codes and names of who approves there; no days mean any day."""

    pk: int
    entity_id: int | None
    code: str
    name: str
    client: str = ""
    days: tuple[tuple[date, date | None], ...] = ()
    approvers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Said:
    """What the entries of one cause say: code, name, client and approvers in the source's words, and their days."""

    code: str = ""
    name: str = ""
    clients: frozenset[str] = frozenset()
    approvers: frozenset[str] = frozenset()
    first: date | None = None
    last: date | None = None
    booked: Mapping[int, int] = field(default_factory=dict)  # record: entries of these people on it lately


@dataclass(frozen=True, slots=True)
class Near:
    """One candidate with its score, the reasons for it and those against it."""

    candidate: Candidate
    score: int
    reasons: tuple[str, ...]
    against: tuple[str, ...]


def nearest(said: Said, candidates: Sequence[Candidate], limit: int) -> list[Near]:
    """The candidates that are near enough, the nearest first."""
    found = [near for candidate in candidates if (near := _judge(said, candidate)).score >= NEAR]
    return sorted(found, key=lambda near: (-near.score, near.candidate.code))[:limit]


def sure(found: Sequence[Near]) -> Near | None:
    """The one that may be filled in: near, without a doubt about its days, and nothing else close to it or as good."""
    if not found or found[0].score < SURE:
        return None
    if len(found) > 1 and (found[1].score >= SURE or found[0].score - found[1].score <= CLOSE):
        return None
    return found[0]


def _judge(said: Said, candidate: Candidate) -> Near:
    score, reasons = _words(said, candidate)
    against: list[str] = []
    score = _history(said, candidate, score, reasons, against)
    if said.clients and candidate.client:
        alike = max(fuzz.token_set_ratio(_plain(one), _plain(candidate.client)) for one in said.clients)
        score += _told(alike >= SURE, _CLIENT, f"same client, {candidate.client}", reasons)
        if alike < NEAR:
            score -= _CLIENT
            against.append(f"another client: {candidate.client}")
    if said.approvers and candidate.approvers:
        same = bool({_plain(one) for one in said.approvers} & candidate.approvers)
        score += _told(same, _APPROVER, "same manager approves", reasons)
        if not same:
            against.append("another manager approves there")
    if candidate.days and said.first is not None:
        inside = all(_holds(candidate, day) for day in (said.first, said.last or said.first))
        if inside:
            reasons.append("open on these days")
        else:
            score -= _DAYS
            against.append(_when(candidate))
    return Near(candidate, max(0, min(100, round(score))), tuple(reasons), tuple(against))


def _words(said: Said, candidate: Candidate) -> tuple[float, list[str]]:
    by_code = fuzz.ratio(_plain(said.code), _plain(candidate.code)) if said.code else 0.0
    by_name = fuzz.token_sort_ratio(_plain(said.name), _plain(candidate.name)) if said.name else 0.0
    reasons = [
        f"{word} {round(score)} % alike" for word, score in (("code", by_code), ("name", by_name)) if score >= NEAR
    ]
    return max(by_code, by_name), reasons


def _history(said: Said, candidate: Candidate, score: float, reasons: list[str], against: list[str]) -> float:
    """The people's own booking, lately: it lifts what they book, and alone it makes their usual record worth showing."""
    total = sum(said.booked.values())
    if not total:
        return score
    count = said.booked.get(candidate.pk, 0)
    if not count:
        against.append("these people have not booked on it lately")
        return score
    share = count / total
    reasons.append(f"these people booked {figures.number(count)} entries on it lately")
    return max(score, HABIT if share >= 0.5 else 0) + _HISTORY * share


def _told(holds: bool, points: int, reason: str, reasons: list[str]) -> int:
    if holds:
        reasons.append(reason)
    return points if holds else 0


def _holds(candidate: Candidate, day: date) -> bool:
    return any(start <= day and (end is None or day <= end) for start, end in candidate.days)


def _when(candidate: Candidate) -> str:
    start, end = candidate.days[-1]
    return f"open from {figures.day(start)}" + (f" to {figures.day(end)}" if end else "") + ", not on all of these days"


def _plain(words: Any) -> str:
    return " ".join(str(words).casefold().split())
