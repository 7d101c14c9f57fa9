"""How much waits for one person's decision, and what each decision is in words: for the inbox, its badges and the first page.

The rule here: whatever takes a second person is in the one view, and every figure that counts it is counted from there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from django.db.models import Count
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal import figures
from portal.models import LegalEntity
from portal.screens import Badge
from reconciliation.models import Approval, BillingDecision
from reconciliation.models.approvals import may_decide

Kind = Approval.Kind
PAGES: Mapping[str, str] = {
    Kind.FIX: "operation", Kind.CHANGE: "change_set", Kind.REVIEW: "change_set", Kind.BUNDLE: "rate_bundle",
    Kind.RELEASE: "invoice_proposal", Kind.INVOICE: "invoice_proposal", Kind.BILL: "bill",
    Kind.CERTIFICATE: "reconciliation_period", Kind.LIVE: "onboarding", Kind.CODE: "proposal", Kind.ERASURE: "erasure",
    Kind.DOUBT: "entry_settle",
}  # fmt: skip
MOVES = (
    ("passes", "pass"),
    ("fails", "fail"),
    ("new_passes", "new pass"),
    ("new_fails", "new are held"),
    ("repriced", "with another amount"),
    ("leaves", "leave the ledger"),
)


def counted(user: Any) -> dict[str, int]:
    """How many decisions of each kind wait for a person; asked once for a page that only reads."""
    known: dict[str, int] | None = getattr(user, "known_decisions", None)
    if known is None:
        found = Approval.objects.filter(may_decide(user)).order_by().values_list("kind").annotate(n=Count("pk"))
        known = dict(found)
        if getattr(user, "remembers_grants", False):
            user.known_decisions = known
    return known


def badge(user: Any, label: str, kinds: Collection[str] = ()) -> Badge | None:
    """How many decisions of some kinds wait for a person, or of every kind."""
    count = sum(n for kind, n in counted(user).items() if not kinds or kind in kinds)
    return Badge(label, count, "warn") if count else None


def waiting_keys(user: Any, *kinds: str) -> Any:
    """The keys of what waits for a person, of some kinds, as a subquery."""
    return Approval.objects.filter(may_decide(user), kind__in=kinds).values("key")


def url_of(one: Approval) -> str:
    """The page on which it is decided."""
    if one.kind == Kind.RULE:
        return f"{reverse('matching_rules')}?tab=draft"
    return reverse(PAGES[one.kind], args=[one.page])


@dataclass(frozen=True, slots=True)
class Step:
    """One decision that a person may take about a row: its word and key, where it is taken, and how it is asked there.

    `beside` is what it opens over the list, empty where it leads to a page; `sends` is what is sent for the question to be asked.
    """

    word: str
    key: str
    url: str
    beside: str = ""
    sends: Mapping[str, Any] | None = None

    @property
    def attributes(self) -> SafeString:
        """What the link asks for where scripts run."""
        if not self.beside:
            return SafeString()
        if self.sends is None:
            return format_html(' hx-get="{}" hx-target="#{}-body"{}', self.url, self.beside, _PUSHED[self.beside])
        words = ' hx-post="{}" hx-target="#{}-body" hx-vals="{}"'
        return format_html(words, self.url, self.beside, json.dumps(self.sends))


_PUSHED = {"drawer": SafeString(' hx-push-url="true"'), "dialog": SafeString()}
YES, NO, BOTH = "approve", "new", "approve new"  # the keys of the keyboard's table
OVER_LIST: Mapping[str, tuple[str, str]] = {  # how yes and no are said where a dialog of the list asks
    Kind.BILL: ("Agree", "Refuse"), Kind.BUNDLE: ("Approve", "Refuse"), Kind.LIVE: ("Let it go live", "Send back"),
}  # fmt: skip
IN_DRAWER = (Kind.FIX, Kind.CODE, Kind.ERASURE)


def _steps(one: Approval) -> list[Step]:
    """What may be decided about a row, as its kind asks for it."""
    page = url_of(one)

    def ask(word: str, key: str, action: str, **more: Any) -> Step:
        return Step(word, key, page, "dialog", {"action": action, **more})

    def form(word: str, key: str, step: str) -> Step:
        return Step(word, key, reverse("change_decide", args=[one.key, step]), "dialog")

    if one.kind in OVER_LIST:
        words = zip(OVER_LIST[one.kind], (YES, NO), ("approve", "refuse"), strict=True)
        return [
            Step(word, key, reverse("approval_decide", args=[one.kind, one.key, way]), "dialog")
            for word, key, way in words
        ]
    match one.kind:
        case Kind.CHANGE:
            return [form("Approve", YES, "approve"), form("Reject", NO, "reject")]
        case Kind.REVIEW:
            return [form("Review", BOTH, "review")]
        case Kind.RELEASE:
            return [ask("Release", YES, "release", with_seen=(one.facts or {}).get("seen", ""))]
        case Kind.INVOICE:
            approve = ask("Approve", YES, "approve", with_seen=(one.facts or {}).get("seen", ""))
            return [approve, ask("Send back", NO, "send-back")]
        case Kind.CERTIFICATE:
            return [ask("Certify", YES, "certify"), ask("Withdraw", NO, "withdraw")]
        case Kind.RULE:
            return [
                ask("Let be used", YES, "activate", selected=one.key),
                ask("Retire", NO, "retire", selected=one.key),
            ]
        case _ if one.kind in IN_DRAWER:
            return [Step("Decide", BOTH, page, "drawer")]
        case _:
            return [Step("Decide on its page", BOTH, page)]


def tell(records: Sequence[Any], user: Any = None) -> None:
    """Give decisions the codes of the entities that they reach, and what a person may decide, in a query each."""
    mine: set[int] = set()
    if user is not None and any(one.is_open for one in records):
        there = Approval.objects.filter(may_decide(user), pk__in=[one.pk for one in records])
        mine = set(there.values_list("pk", flat=True))
    ids = {entity for one in records for entity in one.entities}
    codes = dict(LegalEntity.objects.filter(pk__in=ids).values_list("pk", "code")) if ids else {}
    for one in records:
        one.steps = _steps(one) if one.pk in mine else []
        one.codes = "all" if one.is_shared else ", ".join(sorted(codes[pk] for pk in one.entities))


def money_of(one: Approval) -> list[str]:
    """What it moves, an amount a currency."""
    found = sorted((one.amounts or {}).items())
    return [f"{figures.amount(Decimal(str(amount)), code)} {code}" for code, amount in found]


def consequence(one: Approval) -> str:
    """What follows from it, in a sentence of its kind."""
    return _WORDS[one.kind](one.facts or {})


def _of_fix(facts: Mapping[str, Any]) -> str:
    held = int(facts.get("still_held") or 0)
    still = f", {held:,} still held" if held else ""
    why = str(facts.get("why", "")).removesuffix(" A second person has to agree.")
    return f"{int(facts.get('passes') or 0):,} pass{still}. {why}"


def _of_change(facts: Mapping[str, Any]) -> str:
    """What a dry-run found: of open entries, and of what is booked and would be reversed, with its money."""
    if not facts:
        return "Its dry-run is being made"
    counts = [(int((facts.get(name) or {}).get("entries", 0)), words) for name, words in MOVES]
    told = ", ".join(f"{count:,} {words}" for count, words in counts if count) or "touches no open entry"
    if not any(count for count, _ in counts) and facts.get("entries"):
        told = "nothing changes for open entries"
    booked = facts.get("booked") or {}
    if count := int(booked.get("entries", 0)):
        sums = ", ".join(
            f"{figures.amount(Decimal(pair['before']), code)} {code}" for code, pair in sorted(booked["money"].items())
        )
        told = f"{told}; {count:,} booked to correct{f', {sums}' if sums else ''}"
    return told


def _of_invoice(facts: Mapping[str, Any], then: str) -> str:
    lines, held = facts["lines"], facts["held"]
    on_hold = f", {held:,} more on hold" if held else ""
    return f"{lines:,} {'line' if lines == 1 else 'lines'}{on_hold}, work through {_day(facts['through'])}; {then}"


def _day(iso: str) -> str:
    return figures.day(date.fromisoformat(iso))


def _of_bill(facts: Mapping[str, Any]) -> str:
    choice = str(BillingDecision.Choice(facts["choice"]).label)
    if facts["status"] == "deleted" and facts["choice"] == BillingDecision.Choice.RESTORE:
        choice = str(BillingDecision.Choice.RECREATE.label)
    if facts["status"] == "deleted":
        return f"{choice}: hours that stand billed are open again"
    return f"{choice}: less stands billed than was agreed"


def _of_certificate(facts: Mapping[str, Any]) -> str:
    count = facts["differing"]
    return f"{count:,} open {'item is' if count == 1 else 'items are'} accepted with it" if count else "Balanced"


def _of_code(facts: Mapping[str, Any]) -> str:
    times = int(facts.get("times") or 0)
    return f"An alias from {_day(facts['from'])} on; mapped by hand {times:,} {'time' if times == 1 else 'times'}"


def _of_rule(facts: Mapping[str, Any]) -> str:
    return f"{facts.get('groups', 0):,} groups in its test, {facts.get('contradicted', 0):,} of them against people"


def _of_doubt(facts: Mapping[str, Any]) -> str:
    if facts["verdict"] == "booked":
        return f"Accepted as {facts['number']} in {facts['target']}"
    return f"Due again at {facts['target']}, under the same key"


_WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    Kind.FIX: _of_fix,
    Kind.CHANGE: _of_change,
    Kind.REVIEW: lambda facts: f"Applied already: {_of_change(facts)}",
    Kind.BUNDLE: lambda _facts: "Booked entries are reversed and booked anew",
    Kind.RELEASE: lambda facts: _of_invoice(facts, "finance approves it then"),
    Kind.INVOICE: lambda facts: _of_invoice(facts, "handed over as a draft"),
    Kind.BILL: _of_bill,
    Kind.CERTIFICATE: _of_certificate,
    Kind.LIVE: lambda _facts: "Its hours are owed from the cut-over on, and cannot be taken back",
    Kind.CODE: _of_code,
    Kind.ERASURE: lambda _facts: "Names go for good; figures and keys stay",
    Kind.RULE: _of_rule,
    Kind.DOUBT: _of_doubt,
}
