"""What must stand of what is connected: sources, routes, policies, tests, and from when each kind of record is owed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.urls import reverse

from portal import figures, sql
from portal.models import AccountingPeriod, AuditEvent, Connection
from portal.models.documents import INVOICE
from reconciliation import policies as settings
from reconciliation.models import Route
from reconciliation.onboarding.base import cut_overs, first_days
from reconciliation.onboarding.checks.base import Asked, Item, change_of, change_of_entity, item
from reconciliation.rules import STANDING

TESTED_WITHIN = timedelta(days=7)


def sources(asked: Asked) -> Item:
    """Something brings its documents, and goes on."""
    waiting = [one for one in asked.sources if not one.is_active]
    if not asked.sources:
        waiting = list(Connection.objects.filter(entity=asked.entity, is_source=True, is_active=False).order_by("code"))
    problems = [] if asked.sources or waiting else ["nothing brings documents of the entity"]
    problems += [f"{one} is not used yet: give what it signs in with on its page" for one in waiting]
    problems += [f"{one} is paused" for one in asked.sources if one.paused_at]
    names = ", ".join(str(one) for one in asked.sources)
    return item(
        "sources", "Sources", problems, f"{names}.", remedy="Add a source, have it used, or resume it.",
        url=reverse("connections"),
    )  # fmt: skip


def routes(asked: Asked) -> Item:
    """Every source's documents have somewhere to go."""
    today = sql.now().date()
    standing = {
        (route.source_id, route.kind)
        for route in asked.routes
        if route.valid_from <= today and (route.valid_to is None or route.valid_to >= today)
    }
    problems = [f"time of {one} has no route today" for one in asked.sources if (one.pk, "time") not in standing]
    kinds = {(one.source_id, one.kind) for one in cut_overs(asked.onboarding).values()}
    problems += [
        f"{kind} of {one} has a cut-over and no route"
        for one in asked.sources
        for kind in ("expense",)
        if (one.pk, kind) in kinds and (one.pk, kind) not in standing
    ]
    words = ", ".join(sorted({f"{route.source} to {route.target}" for route in asked.routes}))
    return item("routes", "Routes", problems, f"{words}.", remedy="Add the routes.",
                url=reverse("connections"), mend=change_of("route", f"Routes of {asked.entity.code}"))  # fmt: skip


def policies(asked: Asked) -> Item:
    """Every setting is known and can be read."""
    entity = asked.entity
    problems = [sentence.rstrip(".") for sentence in settings.problems(entity.policy, standing=STANDING)]
    for route in asked.routes:
        problems += [f"{route}: {one.rstrip('.')}" for one in settings.problems(route.policy, standing=STANDING)]
    billing = Route.objects.filter(entity=entity, kind=INVOICE).select_related("target")
    keepers = sorted({str(route.target) for route in billing})
    if keepers and "credits_applied_by_system" not in entity.policy:
        problems.append(
            f"nobody said whether {' and '.join(keepers)} applies a customer's credit to other bills by itself "
            "(credits_applied_by_system)"
        )
    return item(
        "policies", "Policies", problems, "Every setting of the entity and of its routes is known and can be read.",
        remedy="Correct the policies of the entity, or of the route.",
        url=reverse("master_record", args=["legalentity", entity.pk]), mend=change_of_entity(asked, "Policy"),
    )  # fmt: skip


def tested(asked: Asked) -> Item:
    """Whether each connection, as it is configured now, answered a test by hand of late, here or in its form."""
    problems = []
    everything = {one.pk: one for one in (*asked.sources, *asked.targets)}
    tried = _answered_in_a_form(list(everything.values()))
    needed = {pk: one for pk, one in everything.items() if pk not in tried}
    events = AuditEvent.objects.filter(
        action="connection-tested", object_type="connection", object_id__in=[str(pk) for pk in needed],
        at__gte=sql.now() - TESTED_WITHIN,
    )  # fmt: skip
    last = {int(event.object_id): event for event in events.order_by("pk")}
    changed = dict(Connection.history.filter(id__in=needed).order_by("history_id").values_list("id", "history_date"))
    for pk, one in needed.items():
        event = last.get(pk)
        if event is None:
            problems.append(f"{one} was not tested within {TESTED_WITHIN.days} days")
        elif not (isinstance(event.after, dict) and event.after.get("answers")):
            problems.append(f"{one} did not answer its test")
        elif pk in changed and changed[pk] > event.at:
            problems.append(f"{one} was changed since it was tested")
    return item(
        "tested", "Connection test", problems, f"All answered: {', '.join(sorted(str(one) for one in everything.values()))}.",
        remedy="Open the connection and test it; nothing is written there.", url=reverse("connections"),
    )  # fmt: skip


def _answered_in_a_form(connections: Sequence[Connection]) -> set[int]:
    """Those that answered of late when somebody tried, in the form of the connection, exactly what stands now."""
    events = AuditEvent.objects.filter(
        action="connection-tried", at__gte=sql.now() - TESTED_WITHIN, after__code__in=[one.code for one in connections]
    )
    answers: dict[tuple[Any, Any], bool] = {}
    for code, tested_as, answered in events.order_by("pk").values_list(
        "after__code", "after__tested_as", "after__answers"
    ):
        answers[code, tested_as] = bool(answered)
    return {one.pk for one in connections if answers.get((one.code, one.tested_as))}


def cut_over(asked: Asked) -> Item:
    """A first day for each kind of record, after what is closed, so that history is never posted again."""
    said, days = cut_overs(asked.onboarding), first_days(asked.onboarding)
    wanted = {(one, "time") for one in asked.sources} | {
        (route.source, route.kind) for route in asked.routes if route.kind in ("time", "expense")
    }
    problems = [
        f"{kind} of {one} has no cut-over"
        for one, kind in sorted(wanted, key=lambda pair: (str(pair[0]), pair[1] != "time"))
        if (one.pk, kind) not in days
    ]
    of_connections = [
        one
        for one in asked.sources
        if one.cut_over_on and not all((one.pk, kind) in said for kind in ("time", "expense"))
    ]
    closed = AccountingPeriod.objects.filter(entity=asked.entity, state=AccountingPeriod.State.CLOSED)
    last = closed.order_by("-ends_on").first()
    if last is not None:
        problems += [
            f"{one} lies in or before {last.code}, which is closed and would be posted again"
            for one in said.values()
            if one.first_day <= last.ends_on
        ]
        problems += [
            f"the cut-over of the connection {one} lies in or before {last.code}, which is closed and would be posted again"
            for one in of_connections
            if one.cut_over_on is not None and one.cut_over_on <= last.ends_on
        ]
    words = [f"{one.get_kind_display()} of {one.source} from {figures.day(one.first_day)}" for one in said.values()]
    words += [
        f"what else comes from {one} from {figures.day(one.cut_over_on)}, as its connection says"
        for one in of_connections
    ]
    return item(
        "cut-over", "Cut-over", problems, f"{'; '.join(words)}.",
        remedy="Say below from which work date each kind of record is owed; what is earlier is never posted.",
        url="#cut-over",
    )  # fmt: skip
