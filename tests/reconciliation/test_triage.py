"""Triage: who has a cause, what sets it aside and what brings it back; each a decision with a reason that can be taken back."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from portal.models import AccountingPeriod, AuditEvent, GrantRole, LegalEntity, Notification, User
from portal.records import Reference
from reconciliation import cases, triage
from reconciliation.models import CaseTotal, Decision, ExceptionCase, Hold, Ignore, OwnershipRule, Snooze, Team
from tests import world
from tests.reconciliation import desk
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm

pytestmark = pytest.mark.django_db
TOMORROW = timedelta(days=1)


@pytest.fixture
def firm() -> Firm:
    return firms.build()


@pytest.fixture
def fay(firm: Firm) -> User:
    return desk.analyst(firm)


@pytest.fixture
def cora(firm: Firm) -> User:
    return world.user("cora", GrantRole.CONTROLLER, firm.entity)


def unknown(firm: Firm, count: int = 3, code: str = desk.MISTYPED, start: int = 1000) -> ExceptionCase:
    """A cause that holds hours on a code nobody knows."""
    desk.mistyped(firm, count, code=code, start=start)
    return ExceptionCase.objects.get(rule="project-unknown", subject_key__icontains=code, state="open")


def off_rate(firm: Firm, count: int = 3, **more: Any) -> ExceptionCase:
    """A cause with money: hours priced otherwise than agreed."""
    desk.off_rate(firm, count, **more)
    return ExceptionCase.objects.get(rule="rate-mismatch", state="open")


def team(firm: Firm, *members: User, code: str = "collections", lead: User | None = None) -> Team:
    """A team of the firm's entity."""
    made = Team.objects.create(code=code, name=code.title())
    made.entities.add(firm.entity)
    for one in members:
        made.memberships.create(user=one, is_lead=one == lead)
    return made


def today() -> date:
    return timezone.localdate()


# Given to somebody
def test_a_cause_is_given_to_a_person_who_is_told_with_history_and_one_event(firm: Firm, fay: User, cora: User) -> None:
    case = unknown(firm)
    triage.assign([case.pk], by=fay, to=cora, reason="knows Acme")
    case.refresh_from_db()
    assert case.owner == cora
    last = case.history.first()
    assert (last.history_user, last.history_change_reason) == (fay, "given to cora: knows Acme")
    event = AuditEvent.objects.get(action="triage.assign")
    assert (event.actor, event.entity, event.object_id, event.reason) == (fay, firm.entity, str(case.pk), "knows Acme")
    told = Notification.objects.get()
    assert (told.person, told.kind, told.entity) == (cora, "assigned", firm.entity)
    assert told.url == f"/exceptions/{case.pk}/"


def test_a_bulk_of_causes_is_one_decision_and_one_notice(firm: Firm, fay: User, cora: User) -> None:
    for number in range(5):
        unknown(firm, 1, code=f"LOST-{number}", start=2000 + number)
    ids = list(ExceptionCase.objects.values_list("pk", flat=True))
    triage.assign(ids, by=fay, to=cora)
    assert ExceptionCase.objects.filter(owner=cora).count() == 5
    assert AuditEvent.objects.filter(action="triage.assign").count() == 1
    assert Notification.objects.get().subject == "Assigned to you: 5 causes"


def test_a_team_takes_a_cause_and_its_members_are_told(firm: Firm, fay: User, cora: User) -> None:
    case, collections = unknown(firm), team(firm, fay, cora)
    triage.assign([case.pk], by=fay, to=cora)
    triage.assign([case.pk], by=fay, to=collections)
    case.refresh_from_db()
    assert (case.team, case.owner) == (collections, None)
    assert set(Notification.objects.filter(kind="team").values_list("person__username", flat=True)) == {"cora"}


def test_nobody_is_given_a_cause_of_an_entity_where_they_may_not_fix(firm: Firm, fay: User) -> None:
    case, gb = unknown(firm), world.entity("GB", "GBP")
    stranger, auditor = world.user("gus", GrantRole.ANALYST, gb), world.user("aud", GrantRole.AUDITOR, firm.entity)
    foreign = Team.objects.create(code="gb", name="London")
    foreign.entities.add(gb)
    for one in (stranger, auditor, foreign):
        with pytest.raises(triage.NotPossible):
            triage.assign([case.pk], by=fay, to=one)
    assert list(triage.assignable([firm.entity.pk])) == [fay]
    assert list(triage.teams_for([firm.entity.pk])) == []
    assert not Decision.objects.exists()


def test_whoever_may_not_fix_in_the_entity_decides_nothing(firm: Firm) -> None:
    case = unknown(firm)
    for one in (
        world.user("aud", GrantRole.AUDITOR, firm.entity),
        world.user("gus", GrantRole.ANALYST, world.entity("GB", "GBP")),
    ):
        with pytest.raises(PermissionDenied):
            triage.snooze([case.pk], by=one, until=today() + TOMORROW)
        with pytest.raises(PermissionDenied):
            triage.tag([case.pk], ["mine"], by=one)
    assert not Decision.objects.exists()


# Ownership rules
def test_the_first_ownership_rule_that_fits_gives_a_new_cause_to_its_team(firm: Firm, fay: User, cora: User) -> None:
    rates, rest = team(firm, fay, code="rates"), team(firm, cora, code="rest")
    OwnershipRule.objects.create(entity=firm.entity, position=20, team=rest)
    OwnershipRule.objects.create(entity=firm.entity, position=10, theme="rates", team=rates)
    assert off_rate(firm).team == rates
    assert unknown(firm).team == rest
    assert set(Notification.objects.values_list("person__username", "kind")) == {("fay", "team"), ("cora", "team")}


def test_an_ownership_rule_may_name_rules_and_a_connection(firm: Firm, fay: User) -> None:
    elsewhere, here = team(firm, code="elsewhere"), team(firm, code="here")
    other = world.connection("other", "fake", firm.entity, is_source=True)
    OwnershipRule.objects.create(entity=firm.entity, position=0, connection=other, team=elsewhere)
    OwnershipRule.objects.create(entity=firm.entity, position=1, rules=["rate-mismatch"], team=elsewhere)
    OwnershipRule.objects.create(entity=firm.entity, position=2, connection=firm.source, team=here)
    assert unknown(firm).team == here
    assert off_rate(firm).team == elsewhere


def test_ownership_costs_as_many_statements_for_fifty_new_causes_as_for_five(firm: Firm, fay: User) -> None:
    OwnershipRule.objects.create(entity=firm.entity, position=1, team=team(firm, fay))

    def opened(start: int, count: int) -> int:
        records = [firm.time(str(start + n), project=Reference("", f"LOST-{start + n}", "Lost")) for n in range(count)]
        with CaptureQueriesContext(connection) as asked:
            firm.admit(*records)
        return len(asked)

    opened(10_000, 3)
    few = opened(20_000, 5)
    assert opened(30_000, 50) <= few
    assert ExceptionCase.objects.filter(rule="project-unknown", team__code="collections").count() == 58


def test_a_cause_that_comes_back_keeps_who_had_it_and_tells_them(firm: Firm, fay: User, cora: User) -> None:
    case = unknown(firm, 1)
    triage.assign([case.pk], by=fay, to=cora)
    resolved(case)
    Notification.objects.all().delete()
    again = unknown(firm, 1, start=4000)
    assert (again.pk, again.regressions, again.owner) == (case.pk, 1, cora)
    assert Notification.objects.get().kind == "regressed"


def resolved(case: ExceptionCase) -> None:
    """The cause goes away by itself."""
    cases.close_holds(list(Hold.objects.filter(case=case, closed_at=None).values_list("entry_id", flat=True)))
    case.refresh_from_db()
    assert case.state == "resolved"


# Set aside
def test_a_snoozed_cause_is_out_of_sight_until_its_day_and_its_entries_stay_held(firm: Firm, fay: User) -> None:
    case = off_rate(firm)
    triage.snooze([case.pk], by=fay, until=today() + TOMORROW, reason="waits for the client")
    case.refresh_from_db()
    assert (case.state, case.aside, case.open_holds) == ("open", "snoozed", 3)
    assert triage.end_what_is_over({}) == 0
    Snooze.objects.update(date=today())
    assert triage.end_what_is_over({}) == 1
    case.refresh_from_db()
    assert (case.aside, case.history.first().history_change_reason) == ("", "Back in the queue: The day has come.")
    assert Snooze.objects.get().ended_why == "The day has come."
    assert triage.end_what_is_over({}) == 0


def test_a_snooze_ends_when_the_period_opens(firm: Firm, fay: User) -> None:
    case = unknown(firm)
    period = AccountingPeriod.objects.filter(entity=firm.entity).order_by("starts_on").first()
    assert period is not None
    AccountingPeriod.objects.filter(pk=period.pk).update(state="future")
    period.refresh_from_db()
    triage.snooze([case.pk], by=fay, until=period)
    assert triage.end_what_is_over({}) == 0
    AccountingPeriod.objects.filter(pk=period.pk).update(state="open")
    assert triage.end_what_is_over({}) == 1


def test_a_snooze_ends_when_the_source_was_read_again(firm: Firm, fay: User) -> None:
    case = unknown(firm)
    made = triage.snooze([case.pk], by=fay)
    assert triage.awaited_syncs() == {firm.source.pk: made.at}
    assert triage.end_what_is_over({firm.source.pk: made.at - TOMORROW}) == 0
    assert triage.end_what_is_over({firm.source.pk: made.at + timedelta(seconds=1)}) == 1


def test_a_cause_that_goes_away_while_snoozed_or_ignored_comes_back_into_the_queue(firm: Firm, fay: User) -> None:
    case = unknown(firm, 1)
    triage.snooze([case.pk], by=fay, until=today() + TOMORROW)
    resolved(case)
    assert (case.aside, Snooze.objects.get().ended_why) == ("", "The cause is gone.")
    again = unknown(firm, 1, start=4000)
    assert (again.pk, again.aside, again.regressions) == (case.pk, "", 1)


def test_new_entries_of_a_snoozed_cause_join_it_and_do_not_wake_it(firm: Firm, fay: User) -> None:
    case = unknown(firm, 2)
    triage.snooze([case.pk], by=fay, until=today() + TOMORROW)
    assert unknown(firm, 2, start=5000).pk == case.pk
    case.refresh_from_db()
    assert (case.aside, case.open_holds) == ("snoozed", 4)


def test_to_ignore_takes_a_reason_and_a_day_within_ninety(firm: Firm, cora: User) -> None:
    case = unknown(firm)
    for reason, until in (
        (" ", today() + TOMORROW),
        ("ok", today()),
        ("ok", today() + timedelta(days=91)),
    ):
        with pytest.raises(triage.NotPossible):
            triage.ignore([case.pk], by=cora, reason=reason, until=until)
    triage.ignore([case.pk], by=cora, reason="the client pays nothing", until=today() + timedelta(days=90))
    case.refresh_from_db()
    assert case.aside == "ignored"


def test_above_the_limit_only_a_controller_ignores(firm: Firm, fay: User, cora: User) -> None:
    LegalEntity.objects.filter(pk=firm.entity.pk).update(policy={"ignore_limit": {"*": 100}})
    case = off_rate(firm)
    with pytest.raises(triage.NotPossible, match=r"more than the limit of 100\.00 USD; a controller"):
        triage.ignore([case.pk], by=fay, reason="small", until=today() + TOMORROW)
    triage.ignore([case.pk], by=cora, reason="agreed", until=today() + TOMORROW)
    held = CaseTotal.objects.get(case=case)
    assert Decimal(Ignore.objects.get().ceiling["USD"]) == held.amount


def test_what_nobody_can_price_is_ignored_by_a_controller_only(firm: Firm, fay: User, cora: User) -> None:
    case = unknown(firm)
    with pytest.raises(triage.NotPossible, match="nobody knows yet"):
        triage.ignore([case.pk], by=fay, reason="small", until=today() + TOMORROW)
    triage.ignore([case.pk], by=cora, reason="agreed", until=today() + TOMORROW)


def test_an_ignored_cause_comes_back_when_it_grows_or_its_day_comes(firm: Firm, cora: User) -> None:
    case = off_rate(firm, 2)
    LegalEntity.objects.filter(pk=firm.entity.pk).update(policy={"ignore_limit": {"*": 1}})
    triage.ignore([case.pk], by=cora, reason="small", until=today() + timedelta(days=30))
    assert triage.end_what_is_over({}) == 0
    off_rate(firm, 1, start=8000)
    assert triage.end_what_is_over({}) == 1
    case.refresh_from_db()
    assert case.aside == ""
    assert "USD by now, more than was to be ignored." in Ignore.objects.get().ended_why
    triage.ignore([case.pk], by=cora, reason="small", until=today() + timedelta(days=30))
    Ignore.objects.filter(ended_at=None).update(expires_on=today())
    assert triage.end_what_is_over({}) == 1


def test_people_wake_and_stop_ignoring(firm: Firm, cora: User) -> None:
    case = unknown(firm)
    triage.snooze([case.pk], by=cora, until=today() + TOMORROW)
    with pytest.raises(triage.NotPossible, match="snoozed; wake it first"):
        triage.ignore([case.pk], by=cora, reason="x", until=today() + TOMORROW)
    triage.wake([case.pk], by=cora)
    triage.ignore([case.pk], by=cora, reason="x", until=today() + TOMORROW)
    triage.stop_ignoring([case.pk], by=cora)
    case.refresh_from_db()
    assert case.aside == ""
    with pytest.raises(triage.NotPossible, match="so already"):
        triage.wake([case.pk], by=cora)


# Tags
def test_tags_are_put_on_and_taken_away(firm: Firm, fay: User) -> None:
    case = unknown(firm)
    triage.tag([case.pk], ["Month-end", "acme"], by=fay)
    triage.tag([case.pk], ["acme", "urgent"], by=fay)
    triage.untag([case.pk], ["Month-End"], by=fay)
    case.refresh_from_db()
    assert case.tags == ["acme", "urgent"]
    for wrong in ("<script>", "", "x" * 41):
        with pytest.raises(triage.NotPossible):
            triage.tag([case.pk], [wrong], by=fay)


# Comments
def test_a_person_named_in_a_comment_is_told_if_they_may_read_the_cause(firm: Firm, fay: User, cora: User) -> None:
    case = unknown(firm)
    world.user("gus", GrantRole.ANALYST, world.entity("GB", "GBP"))
    made = triage.comment(case.pk, "Please look, @cora, @gus and @nobody. Mail me@cora if not.", by=fay)
    assert made.mentions == ["cora"]
    told = Notification.objects.get()
    assert (told.person, told.kind, told.note) == (cora, "mentioned", made.text)
    with pytest.raises(triage.NotPossible):
        triage.comment(case.pk, "  ", by=fay)
    with pytest.raises(PermissionDenied):
        triage.comment(case.pk, "no", by=world.user("aud", GrantRole.AUDITOR, firm.entity))


# Merging
def test_a_merged_cause_brings_its_entries_and_those_to_come(firm: Firm, fay: User) -> None:
    first, second = unknown(firm, 3, code="TYPO-1", start=1000), unknown(firm, 2, code="TYPO-2", start=2000)
    triage.merge([second.pk], by=fay, into=first.pk, reason="the same typing error")
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.open_holds, second.open_holds, second.state, second.merged_into) == (5, 0, "merged", first)
    desk.mistyped(firm, 1, code="TYPO-2", start=3000)
    first.refresh_from_db()
    assert first.open_holds == 6
    assert ExceptionCase.objects.filter(state="open").count() == 1


def test_a_merge_taken_apart_gives_each_cause_its_own_entries_back(firm: Firm, fay: User) -> None:
    first, second = unknown(firm, 3, code="TYPO-1", start=1000), unknown(firm, 2, code="TYPO-2", start=2000)
    third = unknown(firm, 1, code="TYPO-3", start=4000)
    triage.merge([second.pk], by=fay, into=first.pk)
    triage.merge([first.pk], by=fay, into=third.pk)
    desk.mistyped(firm, 1, code="TYPO-2", start=3000)
    assert counts() == {third.pk: 7}
    triage.unmerge([first.pk], by=fay)
    assert counts() == {third.pk: 1, first.pk: 6}
    triage.unmerge([second.pk], by=fay)
    assert counts() == {third.pk: 1, first.pk: 3, second.pk: 3}


def test_what_a_merged_cause_stops_regresses_the_cause_that_took_it_over(firm: Firm, fay: User) -> None:
    first, second = unknown(firm, 1, code="TYPO-1", start=1000), unknown(firm, 1, code="TYPO-2", start=2000)
    triage.merge([second.pk], by=fay, into=first.pk)
    resolved(first)
    desk.mistyped(firm, 1, code="TYPO-2", start=3000)
    first.refresh_from_db()
    assert (first.state, first.regressions, first.open_holds) == ("open", 1, 1)
    assert "TYPO-1" in first.sentence


def test_only_causes_of_the_same_rule_and_entity_merge(firm: Firm, fay: User) -> None:
    code, rate = unknown(firm), off_rate(firm)
    with pytest.raises(triage.NotPossible, match="another cause"):
        triage.merge([rate.pk], by=fay, into=code.pk)
    with pytest.raises(triage.NotPossible, match="into itself"):
        triage.merge([rate.pk], by=fay, into=rate.pk)
    assert list(triage.mergeable([code.pk], fay)) == []


def counts() -> dict[int, int]:
    return dict(ExceptionCase.objects.filter(state="open").values_list("pk", "open_holds"))


# Taken back
@pytest.mark.parametrize(
    "kind", ["assign", "snooze", "wake", "ignore", "stop_ignoring", "tag", "untag", "merge", "merge_of_snoozed"]
)
def test_a_decision_is_taken_back_wholly(kind: str, firm: Firm, cora: User) -> None:
    case, other = unknown(firm, 2, code="TYPO-1", start=1000), unknown(firm, 1, code="TYPO-2", start=2000)
    until = today() + TOMORROW
    if kind in ("wake", "merge_of_snoozed"):
        triage.snooze([case.pk], by=cora, until=until)
    if kind == "stop_ignoring":
        triage.ignore([case.pk], by=cora, reason="x", until=until)
    if kind == "untag":
        triage.tag([case.pk], ["a", "b"], by=cora)
    before = standing()
    act: Any = {
        "assign": lambda: triage.assign([case.pk, other.pk], by=cora, to=cora),
        "snooze": lambda: triage.snooze([case.pk], by=cora, until=until),
        "wake": lambda: triage.wake([case.pk], by=cora),
        "ignore": lambda: triage.ignore([case.pk], by=cora, reason="x", until=until),
        "stop_ignoring": lambda: triage.stop_ignoring([case.pk], by=cora),
        "tag": lambda: triage.tag([case.pk], ["a"], by=cora),
        "untag": lambda: triage.untag([case.pk], ["a"], by=cora),
        "merge": lambda: triage.merge([case.pk], by=cora, into=other.pk),
        "merge_of_snoozed": lambda: triage.merge([case.pk], by=cora, into=other.pk),
    }[kind]
    made = act()
    assert standing() != before
    assert triage.last_decision(cora) == made
    triage.undo(made.pk, by=cora)
    assert standing() == before
    assert AuditEvent.objects.filter(action="triage.undone").count() == 1
    with pytest.raises(triage.NotPossible, match="taken back already"):
        triage.undo(made.pk, by=cora)


def standing() -> list[Any]:
    """Everything that triage decides, as it stands."""
    running = (Snooze.objects.filter(ended_at=None), Ignore.objects.filter(ended_at=None))
    return [
        *ExceptionCase.objects.order_by("pk").values_list(
            "pk", "state", "aside", "owner", "team", "tags", "merged_into", "open_holds", "closed_at"
        ),
        *[list(rows.values_list("case", flat=True)) for rows in running],
        *Hold.objects.order_by("pk").values_list("pk", "case", "merged_from", "closed_at"),
    ]


def test_nothing_is_taken_back_when_a_cause_changed_meanwhile(firm: Firm, fay: User, cora: User) -> None:
    case, other = unknown(firm, 1, code="TYPO-1"), unknown(firm, 1, code="TYPO-2", start=2000)
    made = triage.assign([case.pk, other.pk], by=fay, to=fay)
    triage.tag([other.pk], ["seen"], by=cora)
    with pytest.raises(triage.NotPossible, match="changed meanwhile; nothing was taken back"):
        triage.undo(made.pk, by=fay)
    case.refresh_from_db()
    assert case.owner == fay
    with pytest.raises(PermissionDenied):
        triage.undo(made.pk, by=cora)
    snoozed = triage.snooze([case.pk], by=fay, until=today() + TOMORROW)
    resolved(case)
    with pytest.raises(triage.NotPossible, match="changed meanwhile"):
        triage.undo(snoozed.pk, by=fay)


def test_after_ten_seconds_a_decision_stands(firm: Firm, fay: User) -> None:
    case = unknown(firm)
    made = triage.assign([case.pk], by=fay, to=fay)
    Decision.objects.filter(pk=made.pk).update(at=made.at - timedelta(seconds=60))
    with pytest.raises(triage.NotPossible, match="10 seconds"):
        triage.undo(made.pk, by=fay)
    assert triage.last_decision(fay) is None


# Who is on it
def test_others_see_who_is_on_a_cause_and_it_ends_by_itself(firm: Firm, fay: User) -> None:
    case = unknown(firm)
    lease = triage.take_up(case.pk, by=fay)
    [there] = triage.present([case.pk])[case.pk]
    assert (there.words, there.since) == ("fay is on it", lease.since)
    type(lease).objects.update(since=lease.since - TOMORROW, until=lease.since - timedelta(seconds=1))
    assert triage.present([case.pk]) == {}
    triage.take_up(case.pk, by=fay)
    triage.lay_down(case.pk, by=fay)
    assert triage.present([case.pk]) == {}


# Escalation
@pytest.mark.case(133)
def test_what_nobody_touches_before_its_period_ends_is_told_to_leads_and_controllers(
    firm: Firm, fay: User, cora: User
) -> None:
    away, lead = world.user("away", GrantRole.ANALYST, firm.entity), world.user("lea", GrantRole.ANALYST, firm.entity)
    case, quiet = off_rate(firm), unknown(firm)
    collections = team(firm, away, lead, lead=lead)
    triage.assign([case.pk], by=fay, to=collections)
    triage.assign([case.pk], by=fay, to=away)
    Notification.objects.all().delete()
    closing(firm, case, days=30)
    long_ago(case, quiet)
    assert triage.escalate() == 0
    closing(firm, case, days=1)
    triage.comment(quiet.pk, "I am on this one", by=fay)
    assert triage.escalate() == 1
    case.refresh_from_db()
    assert case.escalated_at is not None
    assert "nobody touched it" in case.history.first().history_change_reason
    told = Notification.objects.filter(kind="escalated")
    assert set(told.values_list("person__username", flat=True)) == {"lea", "cora"}
    assert triage.escalate() == 0
    case.escalated_at -= timedelta(minutes=1)
    case.save()
    triage.comment(case.pk, "Taking over", by=lead)
    triage.escalate()
    case.refresh_from_db()
    assert case.escalated_at is None


def test_what_holds_little_is_not_escalated_where_the_entity_says_so(firm: Firm, cora: User) -> None:
    case = off_rate(firm)
    closing(firm, case, days=1)
    long_ago(case)
    LegalEntity.objects.filter(pk=firm.entity.pk).update(policy={"escalate_above": {"USD": 1_000_000}})
    assert triage.escalate() == 0
    LegalEntity.objects.filter(pk=firm.entity.pk).update(policy={"escalate_above": {"*": 1}})
    assert triage.escalate() == 1


def closing(firm: Firm, case: ExceptionCase, *, days: int) -> None:
    """The only period is that of the oldest work, and it ends in so many days."""
    here = AccountingPeriod.objects.get(
        entity=firm.entity, starts_on__lte=case.oldest_work_date, ends_on__gte=case.oldest_work_date
    )
    AccountingPeriod.objects.filter(entity=firm.entity).exclude(pk=here.pk).delete()
    here.ends_on, here.state = today() + timedelta(days=days), "open"
    here.save()


def long_ago(*found: ExceptionCase) -> None:
    """The causes have waited for days, untouched."""
    before = timezone.now() - timedelta(days=5)
    for case in found:
        case.refresh_from_db()
        case.opened_at = before
        case.save()
    Decision.objects.update(at=before)
