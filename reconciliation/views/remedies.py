"""The remedy card of a cause: what happened, what it blocks, the ways out in order, who may use each, and where the record is.

The rule here: a person who may not use a way out sees it all the same, with who may.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from portal import access
from portal.models import Crosswalk, EntityGrant, GrantRole, User
from portal.models.access import entities_held
from portal.views.governed import address_of
from reconciliation.fixes import ADVICE, FIXES
from reconciliation.fixes.advice import CHANGES
from reconciliation.models import RateBundle
from reconciliation.rules import BY_CODE
from reconciliation.suggestions import Suggestion

NAMED = 5  # people who are named
PLAN = "plan-the-books"
RECORDS = (
    ("project_id", "project"),
    ("resource_id", "resource"),
    ("task_id", "task"),
)  # what a cause's detail may name


def card_of(case: Any, user: Any, *, may: bool) -> dict[str, Any]:
    """Everything that the card shows; a fixed number of queries."""
    rule = BY_CODE.get(case.rule)
    demand = (rule.check.__doc__ or "").strip() if rule is not None and rule.check is not None else ""
    return {
        "must": demand.splitlines()[0] if demand else "",
        "remedies": remedies_of(case, user, may=may),
        "records": records_of(case, user),
        "fixers": [] if may else people_with(case.entity_id, frozenset({GrantRole.ANALYST, GrantRole.CONTROLLER})),
    }


def remedies_of(case: Any, user: Any, *, may: bool) -> list[dict[str, Any]]:
    """The ways out of a cause in their order: fixes done here, and what has to be put right elsewhere."""
    rule = BY_CODE.get(case.rule)
    codes = list(rule.remedies) if rule is not None else []
    if rule is not None and rule.waivable and "waive" not in codes:
        codes.append("waive")
    if case.open_holds:
        codes += [code for code in ("recheck", "handled-outside") if code not in codes]
    found: list[dict[str, Any]] = []
    proposes = access.may(user, access.OPERATORS, case.entity_id)
    for code in codes:
        if code in ADVICE:
            change = _change(case, code) if proposes and code in CHANGES else ""
            remedy: dict[str, Any] = {"advice": ADVICE[code], "change": change}
            if code == PLAN and may:
                remedy |= {"change": _plan(case), "verb": "Go there"}
            found.append(remedy)
        elif code in FIXES:
            fix = FIXES[code]
            url = reverse("fix", args=[case.pk, code]) if may and case.open_holds else ""
            offered = [one for one in getattr(case, "suggestions", ()) if one.remedy == code and one.label != fix.label]
            near = addressed(offered, url)
            told = {"code": code, "label": fix.label, "help": fix.help, "url": url, "near": near, "key": fix.key}
            found.append({**told, "who": roles_in_words(fix.roles), "agrees": fix.decides})
    for remedy in found:
        if remedy.get("url"):
            remedy["is_first"] = True
            break
    return found


def _plan(case: Any) -> str:
    """Where what follows in the books is planned: on the latest plan of the change set, else on its page."""
    number = int(case.detail["change_set"])
    latest = RateBundle.objects.filter(change_set=number).order_by("-round").first()
    return reverse("rate_bundle", args=[latest.pk]) if latest is not None else reverse("change_set", args=[number])


def _change(case: Any, code: str) -> str:
    """Where the change that an advice asks for is drafted."""
    kind, action = CHANGES[code]
    title = f"EX-{case.pk}: {case.sentence}"[:200]
    return f"{reverse('change_new')}?{urlencode({'model': kind, 'action': action, 'title': title})}"


def tell_ways(found: Iterable[Any], user: Any) -> None:
    """Give causes what the person may do about them from the list: `ways`, each with its keys, label and address.

    F is for the suggestion where that is done here, else for the first way out that is.
    """
    held = entities_held(user, access.FIXERS)
    for case in found:
        rule = BY_CODE.get(case.rule)
        may = bool(case.open_holds) and (None in held or case.entity_id in held)
        codes = [*rule.remedies, *(["waive"] if rule.waivable else [])] if rule is not None and may else []
        fixes = {code: FIXES[code] for code in codes if code in FIXES}
        first = case.suggestion.remedy if case.suggestion and case.suggestion.is_fix else next(iter(fixes), None)
        case.ways = [
            (f"{'fix ' if code == first else ''}{fix.key}".strip(), fix.label, reverse("fix", args=[case.pk, code]))
            for code, fix in fixes.items() if code == first or fix.key
        ]  # fmt: skip


def addressed(offered: Iterable[Suggestion], form_url: str) -> list[tuple[Suggestion, str]]:
    """Suggestions, each with the address of the form that it fills; no address where the person may not use it."""
    return [(one, f"{form_url}?{urlencode(one.values)}" if form_url else "") for one in offered]


def roles_in_words(roles: frozenset[GrantRole]) -> str:
    """Roles as people say them: controller or finance analyst."""
    return " or ".join(sorted(str(GrantRole(role).label).lower() for role in roles))


def people_with(entity_id: int, roles: frozenset[GrantRole], *, but: Any = None) -> list[str]:
    """Some of the people who hold one of these roles in an entity today, by name."""
    today = timezone.localdate()
    grants = EntityGrant.objects.filter(
        Q(entity=None) | Q(entity=entity_id),
        Q(valid_to=None) | Q(valid_to__gte=today),
        valid_from__lte=today,
        role__in=roles,
    )
    people = User.objects.filter(pk__in=grants.values("user"), is_active=True)
    if but is not None:
        people = people.exclude(pk=but.pk)
    return [one.get_full_name() or one.get_username() for one in people.order_by("username")[:NAMED]]


def records_of(case: Any, user: Any) -> list[dict[str, str]]:
    """The master record that a cause is about: its page here, and its keys in other systems."""
    found = []
    for key, kind in RECORDS:
        record_id = case.detail.get(key)
        if not record_id:
            continue
        url = address_of(user, kind, str(record_id))
        keys = (
            Crosswalk.objects.filter(kind=kind, internal_id=record_id)
            .order_by("system")
            .values_list("system", "external_id")
        )
        elsewhere = ", ".join(f"{system} {external_id}" for system, external_id in keys[:NAMED])
        if url:
            found.append({"label": kind.capitalize(), "url": url, "elsewhere": elsewhere})
    for key in ("bill", "payment"):
        if number := case.detail.get(f"{key}_id"):
            said = str(case.detail.get("number", ""))
            found.append({"label": key.capitalize(), "url": reverse(key, args=[number]), "elsewhere": said})
    return found
