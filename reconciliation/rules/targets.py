"""Rules about the target: it knows what the entry names, and takes its text. A text is adapted visibly, never the original."""

from __future__ import annotations

from datetime import timedelta

from reconciliation.facts.records import Draft
from reconciliation.facts.tables import Book, Facts
from reconciliation.rules.base import Finding, rule

_DEMANDS = {
    "project": "required",
    "resource": "required",
    "task": "where_kept",
    "entity": "where_kept",
    "cost_centre": "where_kept",
    "item": "where_kept",
}
_WORDS = {
    "project": "project",
    "resource": "person",
    "task": "task",
    "entity": "legal entity",
    "cost_centre": "cost centre",
    "item": "service item",
}
TEXT_ADAPTED = "text-adapted"


def address(entry: Draft, facts: Facts) -> None:
    """Set the entry's keys in the target's own words, and note which are missing; then its text as the target takes it."""
    book = facts.books[entry.route.target.id]
    plan = facts.plans.get((entry.route.id, entry.kind))
    if plan is None:
        plan = facts.plans[entry.route.id, entry.kind] = _plan(entry, book)
    day = entry.work_date
    keys: dict[str, str] = {}
    for kind, attribute, demand in plan:
        record = getattr(entry, attribute)
        if record is None:
            continue
        if demand == "own_code":
            keys[kind] = record.code
            continue
        key = book.key(kind, record.id, day)
        if kind == "resource" and entry.engagement is not None and entry.engagement.external_id:
            key = entry.engagement.external_id
        elif kind == "item" and not key:
            key = _item(entry, record.code)
        if key:
            keys[kind] = key
        elif demand == "required":
            entry.missing_keys.append(f"{kind}:{record.id}")
    if entry.kind == "expense" and (item := _item(entry, entry.category)):
        keys["item"] = item
    entry.target_keys = keys
    entry.memo = adapt(entry)


def _plan(entry: Draft, book: Book) -> list[tuple[str, str, str]]:
    """(kind, what of the entry, required or optional or own code) for each kind of key that a route's postings may carry."""
    plan = []
    for kind, default in _DEMANDS.items():
        demand = entry.policy.target_keys.get(kind, default)
        if demand == "where_kept":
            demand = "required" if kind in book.kept and kind != "item" else "optional"
        unknown = demand == "optional" and kind not in book.kept and not (kind == "item" and entry.policy.items)
        if demand == "none" or unknown or (kind == "item" and entry.kind == "expense"):
            continue
        plan.append((kind, "role" if kind == "item" else kind, demand))
    return plan


def _item(entry: Draft, code: str) -> str:
    items = entry.policy.items
    return items.get(code) or items.get("*", "") if items else ""


def adapt(entry: Draft) -> str:
    """The description as the target takes it; the entry is tagged where that differs."""
    text, policy = entry.description, entry.policy
    if (
        len(text) <= policy.memo_limit
        and text.isprintable()
        and not (policy.memo_forbidden and any(mark in text for mark in policy.memo_forbidden))
        and (policy.memo_beyond_bmp or text.isascii() or max(text) <= "\uffff")
    ):
        return text
    kept = "".join(
        " "
        if mark in policy.memo_forbidden
        or not (mark.isprintable() or mark == "\n")
        or (mark > "\uffff" and not policy.memo_beyond_bmp)
        else mark
        for mark in text
    )
    lines = (" ".join(line.split()) for line in kept.split("\n"))
    memo = "\n".join(lines).strip()
    if len(memo) > policy.memo_limit:
        memo = memo[: policy.memo_limit - 1].rstrip() + "…" if policy.memo_limit > 1 else memo[: policy.memo_limit]
    if memo != text:
        entry.tags.append(TEXT_ADAPTED)
    return memo


@rule(
    "target-wrong-entity",
    title="The target keeps another entity's books",
    subject="connection",
    waivable=False,
    remedies=("add-route",),
    cases=(111, 114),
)
def target_wrong_entity(entry: Draft, facts: Facts) -> Finding | None:
    """A target that belongs to an entity takes what that entity owes and nothing else; a shared one takes everybody's."""
    target = entry.route.target
    if target.entity_id is None or target.entity_id == entry.entity_id:
        return None
    owner = facts.entities[target.entity_id]
    return Finding(
        sentence=f"{entry.source.name} is routed to {target.name}, which keeps the books of {owner.code}, and this work is "
        f"{entry.entity.code}'s; route it to a target of {entry.entity.code}, or say that {target.name} is shared, if one "
        "account there keeps the books of both.",
        subject_key=str(target.id),
        cause=f"Work of {entry.entity.code} is routed into the books of {owner.code} at {target.name}.",
        detail={"target_id": target.id, "owner": owner.code, "entity": entry.entity.code, "kind": entry.kind},
        connection_id=target.id,
    )


@rule(
    "crosswalk-missing",
    title="Target does not know it yet",
    subject="record",
    waivable=False,
    can_be_off=True,
    remedies=("add-crosswalk", "hand-back"),
    cases=(29,),
)
def crosswalk_missing(entry: Draft, facts: Facts) -> Finding | None:
    """The target has a key for everything that the posting must name; where the policy says so, the entry waits for it."""
    if not entry.missing_keys:
        return None
    target = entry.route.target
    missing = entry.missing_keys[0]
    if entry.policy.parent_missing == "wait" and not _waited_long(entry, facts):
        entry.waits_on = entry.waits_on or f"parent:{missing}"
        return None
    kind, _, internal_id = missing.partition(":")
    record = getattr(entry, {"item": "role"}.get(kind, kind))
    name = f"{_WORDS[kind]} {record.code} {record.name}"
    return Finding(
        sentence=f"{target.name} has no key for {name} on {entry.work_date}; create it there, or add its key to the crosswalk.",
        subject_key=f"{target.id}:{missing}",
        cause=f"{target.name} does not know {name}.",
        detail={
            "kind": kind,
            "internal_id": int(internal_id),
            "target_id": target.id,
            "system": target.connector,
            "realm": target.realm,
            "also_missing": entry.missing_keys[1:],
        },
        connection_id=target.id,
    )


def _waited_long(entry: Draft, facts: Facts) -> bool:
    if entry.waiting_since is None:
        return False
    return bool(facts.now - entry.waiting_since > timedelta(hours=float(entry.policy.parent_wait_hours)))


@rule(
    "text-not-acceptable",
    title="Text is not acceptable to the target",
    subject="source",
    remedies=("hand-back", "waive"),
    cases=(17,),
)
def text_not_acceptable(entry: Draft, facts: Facts) -> Finding | None:
    """Something of the text remains when the target's forbidden characters are gone, and there is one where one is needed."""
    if entry.memo or not (entry.description.strip() or entry.policy.memo_required):
        return None
    why = (
        "has no text, and one is needed"
        if not entry.description.strip()
        else "has a text of which the target takes nothing"
    )
    return Finding(
        sentence=f"The entry {why}; write one at {entry.source.name}.",
        subject_key=f"{entry.source_id}:{entry.route.target.id}",
        cause=f"Texts of {entry.source.name} are not acceptable to {entry.route.target.name}.",
        detail={"value": entry.description[:200]},
        connection_id=entry.source_id,
    )
