"""Rules about the engagement, its customer, the person and the target's crosswalk."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from portal import changes_watch
from portal.models import (
    ApprovalStep,
    Customer,
    Engagement,
    IntercompanyRelation,
    ProjectStatus,
    Rate,
    RateCard,
    Resource,
    Role,
    Task,
)
from portal.records import Reference
from reconciliation import validation
from reconciliation.models import ExceptionCase
from tests import world
from tests.reconciliation import firm as firms
from tests.reconciliation.firm import Firm, case, entry, hold, rules_of, state

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm() -> Firm:
    return firms.build()


def _held(firm: Firm, rule: str, **changes: Any) -> int:
    admitted = firm.admit(firm.time(**changes))
    assert admitted.ready == []
    assert rules_of(admitted.held[0]) == {rule}
    return admitted.held[0]


def _ready(firm: Firm, **changes: Any) -> int:
    admitted = firm.admit(firm.time(**changes))
    assert admitted.held == [], rules_of(admitted.held[0])
    return admitted.ready[0]


@pytest.mark.case(19)
def test_a_mistyped_project_code_is_held_under_the_code(firm: Firm) -> None:
    held = _held(firm, "project-unknown", project=Reference("", "AMC-1", "Acme"))
    assert hold(held, "project-unknown").sentence == (
        "Project “AMC-1” is not known on 2026-10-01; map it to a project, or move the entry to one."
    )
    found = case("project-unknown")
    assert (found.subject_type, found.subject_key) == ("code", "amc-1")
    assert found.detail["code"] == "AMC-1"


def test_spellings_of_one_code_are_one_cause(firm: Firm) -> None:
    firm.admit(firm.time("1", project=Reference("", "AMC-1")), firm.time("2", project=Reference("", " amc-1 ")))
    assert case("project-unknown").open_holds == 2


def test_an_entry_without_any_project_says_so(firm: Firm) -> None:
    held = _held(firm, "project-unknown", project=Reference())
    assert "names no project" in hold(held, "project-unknown").sentence


def test_a_crosswalk_wins_over_an_alias_and_an_alias_over_our_own_code(firm: Firm) -> None:
    by_key = firms.project("KEY-1", firm.entity, firm.customer, firm.contract)
    by_alias = firms.project("ALI-1", firm.entity, firm.customer, firm.contract)
    for project in (by_key, by_alias):
        firms.key(firm.target, "project", project.pk)
    firms.key(firm.source, "project", by_key.pk, "p77")
    firms.alias("project", "acm-1", by_alias.pk)
    assert entry(_ready(firm, external_id="1", project=Reference("p77", "ACM-1"))).project == by_key
    aliased = entry(_ready(firm, external_id="2", project=Reference("p78", "ACM-1")))
    assert aliased.project == by_alias
    assert any(tag.startswith("project-by-alias:") for tag in aliased.tags)


def test_a_connection_s_own_alias_wins_over_a_general_one(firm: Firm) -> None:
    own = firms.project("OWN-1", firm.entity, firm.customer, firm.contract)
    firms.key(firm.target, "project", own.pk)
    firms.alias("project", "X", firm.project.pk)
    firms.alias("project", "X", own.pk, firm.source)
    assert entry(_ready(firm, project=Reference("", "X"))).project == own


@pytest.mark.case(28)
def test_a_mapping_is_read_as_of_the_work_date_and_recorded(firm: Firm) -> None:
    later = firms.project("NEW-1", firm.entity, firm.customer, firm.contract)
    firms.key(firm.target, "project", later.pk)
    first = firms.alias("project", "OLD", firm.project.pk, valid_to=date(2026, 10, 14))
    second = firms.alias("project", "OLD", later.pk, valid_from=date(2026, 10, 15))
    before = entry(_ready(firm, external_id="1", project=Reference("", "OLD")))
    after = entry(_ready(firm, external_id="2", project=Reference("", "OLD"), work_date=date(2026, 10, 15)))
    assert (before.project, after.project) == (firm.project, later)
    assert (f"project-by-alias:{first.pk}" in before.tags, f"project-by-alias:{second.pk}" in after.tags) == (
        True,
        True,
    )


@pytest.mark.case(32)
def test_a_key_of_another_kind_never_names_a_project(firm: Firm) -> None:
    firms.key(firm.source, "task", firm.project.pk, "200")
    firms.alias("resource", "200", firm.project.pk)
    _held(firm, "project-unknown", project=Reference("200", "200"))


@pytest.mark.case(20)
def test_a_project_is_judged_by_its_status_on_the_work_date(firm: Firm) -> None:
    status = ProjectStatus.objects.get(project=firm.project)
    status.valid_to = date(2026, 10, 4)
    status.save()
    ProjectStatus.objects.create(project=firm.project, status="closed", valid_from=date(2026, 10, 5))
    _ready(firm, external_id="1", work_date=date(2026, 10, 4))
    held = _held(firm, "project-closed", external_id="2", work_date=date(2026, 10, 6))
    assert hold(held, "project-closed").sentence == (
        "Project ACM-1 Acm-1 is closed since 2026-10-05, and the work was on 2026-10-06; "
        "re-open it for that day, or move the entry."
    )
    assert case("project-closed").subject_key == str(firm.project.pk)


@pytest.mark.case(20)
@pytest.mark.parametrize(
    ("statuses", "standing"),
    [
        ([], "was never opened"),
        ([("open", date(2026, 11, 1), None)], "starts on 2026-11-01"),
        ([("open", date(2026, 1, 1), date(2026, 9, 30))], "ended on 2026-09-30"),
        ([("on_hold", date(2026, 9, 1), None)], "is on hold since 2026-09-01"),
        ([("planned", date(2026, 9, 1), None)], "is only planned since 2026-09-01"),
    ],
)
def test_a_project_that_was_not_open_holds_its_entries(
    firm: Firm, statuses: list[tuple[str, date, date | None]], standing: str
) -> None:
    ProjectStatus.objects.filter(project=firm.project).delete()
    for status, start, end in statuses:
        ProjectStatus.objects.create(project=firm.project, status=status, valid_from=start, valid_to=end)
    assert standing in hold(_held(firm, "project-closed"), "project-closed").sentence


@pytest.mark.case(20)
def test_a_closed_project_points_at_its_successor(firm: Firm) -> None:
    ProjectStatus.objects.filter(project=firm.project).update(status="closed")
    firm.project.successor = firms.project("ACM-2", firm.entity, firm.customer, firm.contract)
    firm.project.save()
    found = hold(_held(firm, "project-closed"), "project-closed")
    assert found.detail["successor_id"] == firm.project.successor_id


@pytest.mark.case(21)
def test_a_project_that_needs_a_task_holds_entries_without_one(firm: Firm) -> None:
    firm.project.requires_task = True
    firm.project.save()
    _held(firm, "task-required", external_id="1", hours=Decimal(2))
    Task.objects.create(project=firm.project, code="DEV", name="Development")
    assert (
        "“Design” is not a task"
        in hold(
            _held(firm, "task-required", external_id="2", hours=Decimal(2), task=Reference("", "", "Design")),
            "task-required",
        ).sentence
    )
    assert entry(_ready(firm, external_id="3", hours=Decimal(2), task=Reference("", "DEV", ""))).task is not None
    assert (
        entry(_ready(firm, external_id="4", hours=Decimal(2), task=Reference("", "", "development"))).task is not None
    )


@pytest.mark.case(21)
def test_the_project_s_default_task_is_taken_where_none_is_named(firm: Firm) -> None:
    firm.policy(task_required=True)
    task = Task.objects.create(project=firm.project, code="GEN", name="General", is_default=True)
    assert entry(_ready(firm)).task == task


@pytest.mark.case(21)
def test_an_inactive_task_is_no_task(firm: Firm) -> None:
    firm.policy(task_required=True)
    Task.objects.create(project=firm.project, code="OLD", name="Old", is_active=False)
    assert (
        "no longer active"
        in hold(_held(firm, "task-required", task=Reference("", "OLD", "")), "task-required").sentence
    )


@pytest.mark.case(23)
def test_everything_of_an_inactive_customer_is_one_exception(firm: Firm) -> None:
    firm.customer.active_to = date(2026, 9, 30)
    firm.customer.save()
    other = firms.project("ACM-9", firm.entity, firm.customer, firm.contract)
    firms.key(firm.target, "project", other.pk)
    admitted = firm.admit(firm.time("1"), firm.time("2", project=Reference("", "ACM-9"), description="x"))
    assert len(admitted.held) == 2
    found = case("customer-inactive")
    assert (found.subject_key, found.open_holds) == (str(firm.customer.pk), 2)
    assert found.sentence == "Customer ACME Acme Inc. is inactive since 2026-10-01."


@pytest.mark.case(22)
def test_work_for_a_merged_customer_goes_to_the_survivor(firm: Firm) -> None:
    survivor = Customer.objects.create(code="BIG", name="Big Corp", currency="USD")
    firm.customer.merged_into = survivor
    firm.customer.save()
    made = entry(_ready(firm, external_id="1"))
    assert made.customer == survivor
    assert made.rate == firm.rate.amount
    assert "customer-merged" in made.tags
    survivor.active_to = date(2026, 9, 1)
    survivor.save()
    held = _held(firm, "customer-inactive", external_id="2")
    assert "BIG" in hold(held, "customer-inactive").sentence


@pytest.mark.case(22)
def test_a_policy_may_hold_work_for_a_merged_customer(firm: Firm) -> None:
    firm.policy(merged_customer="hold")
    firm.customer.merged_into = Customer.objects.create(code="BIG", name="Big Corp", currency="USD")
    firm.customer.save()
    assert "was merged into BIG Big Corp" in hold(_held(firm, "customer-inactive"), "customer-inactive").sentence


def test_an_unknown_person_is_held_under_the_code(firm: Firm) -> None:
    held = _held(firm, "resource-unknown", resource=Reference("u9", "nobody", "No Body"))
    assert case("resource-unknown").detail["key"] == "u9"
    assert "“nobody”" in hold(held, "resource-unknown").sentence


def test_a_person_is_found_by_e_mail_where_only_one_has_it(firm: Firm) -> None:
    firm.ana.email = "Ana@firm.example"
    firm.ana.save()
    assert entry(_ready(firm, resource=Reference("", "ana@FIRM.example"))).resource == firm.ana


@pytest.mark.case(25)
def test_a_person_with_two_engagements_is_the_one_of_the_work_date(firm: Firm) -> None:
    role = Role.objects.create(code="partner", name="Partner")
    first = Engagement.objects.get(resource=firm.ana)
    first.valid_to, first.external_id = date(2026, 10, 9), "CON-1"
    first.save()
    Engagement.objects.create(
        resource=firm.ana, entity=firm.entity, role=role, external_id="EMP-1", valid_from=date(2026, 10, 10)
    )
    firm.policy(rules_off=["rate-mismatch"])
    before = entry(_ready(firm, external_id="1"))
    after = entry(firm.admit(firm.time("2", work_date=date(2026, 10, 10))).held[0])
    assert (before.role, before.target_keys["resource"]) == (firm.role, "CON-1")
    assert (after.role, after.target_keys["resource"]) == (role, "EMP-1")
    assert rules_of(after.pk) == {"rate-missing"}


def test_a_person_without_an_engagement_on_the_work_date_is_held(firm: Firm) -> None:
    Engagement.objects.filter(resource=firm.ana).update(valid_to=date(2026, 9, 30))
    held = _held(firm, "resource-inactive")
    assert hold(held, "resource-inactive").case.sentence == "Ana Consultant (ana) is not engaged after 2026-09-30."


@pytest.mark.case(26)
def test_hours_of_somebody_who_left_after_the_work_date_are_not_held(firm: Firm) -> None:
    Engagement.objects.filter(resource=firm.ana).update(valid_to=date(2026, 10, 1))
    _ready(firm)


@pytest.mark.case(111)
def test_people_of_another_entity_need_an_intercompany_relation_and_all_are_one_exception(firm: Firm) -> None:
    gb = world.entity("GB", "GBP")
    firms.periods(gb)
    for code in ("bob", "bea"):
        lent = firms.person(code, code.title(), gb, firm.role)
        firms.key(firm.target, "resource", lent.pk)
    admitted = firm.admit(firm.time("1", resource=Reference("", "bob")), firm.time("2", resource=Reference("", "bea")))
    assert len(admitted.held) == 2
    found = case("intercompany-missing")
    assert (found.open_holds, found.open_people) == (2, 2)
    assert found.sentence == "There is no intercompany relation from GB (Firm GB) to US (Firm US)."
    firms.lends(gb, firm)
    _ready(firm, external_id="3", resource=Reference("", "bob"), work_date=date(2026, 10, 2))


@pytest.mark.case(112)
def test_lent_people_wait_for_a_price_list_in_the_lenders_currency_and_go_once_it_stands(firm: Firm) -> None:
    gb = world.entity("GB", "GBP")
    firms.periods(gb)
    bob = firms.person("bob", "Bob", gb, firm.role)
    firms.key(firm.target, "resource", bob.pk)
    relation = IntercompanyRelation.objects.create(provider=gb, receiver=firm.entity, valid_from=firms.SINCE)
    held = _held(firm, "intercompany-unpriced", resource=Reference("", "bob"))
    assert case("intercompany-unpriced").sentence == "The intercompany relation from GB to US has no price list."
    card = RateCard.objects.create(code="IC", entity=gb, valid_from=firms.SINCE)
    rate = Rate.objects.create(card=card, role=firm.role, currency="USD", amount=90, valid_from=firms.SINCE)
    relation.price_list = card
    relation.save()
    changes_watch.note("intercompany", [relation.pk])
    validation.follow_changes()
    assert "is in USD, and GB keeps its books in GBP" in hold(held, "intercompany-unpriced").sentence
    rate.currency = "GBP"
    rate.save()
    changes_watch.note("rate_card", [card.pk])
    validation.follow_changes()
    assert entry(held).state_row.state == "ready"
    assert case("intercompany-unpriced").state == "resolved"


def test_a_source_of_one_entity_does_not_report_for_another(firm: Firm) -> None:
    gb = world.entity("GB", "GBP")
    firms.periods(gb)
    bob = firms.person("bob", "Bob", gb, firm.role)
    firms.key(firm.target, "resource", bob.pk)
    theirs = firms.project("GB-1", gb, firm.customer, firm.contract)
    firms.key(firm.target, "project", theirs.pk)
    held = _held(firm, "resource-wrong-entity", resource=Reference("", "bob"), project=Reference("", "GB-1"))
    assert "worked for GB" in hold(held, "resource-wrong-entity").sentence


@pytest.mark.case(111)
def test_work_that_a_route_leads_into_another_entitys_books_is_held_until_the_route_or_the_owner_is_mended(
    firm: Firm,
) -> None:
    gb = world.entity("GB", "GBP")
    firm.target.entity = gb
    firm.target.save()
    held = _held(firm, "target-wrong-entity")
    assert hold(held, "target-wrong-entity").sentence == (
        "Harvest-Us is routed to Netsuite-Us, which keeps the books of GB, and this work is US's; "
        "route it to a target of US, or say that Netsuite-Us is shared, if one account there keeps the books of both."
    )
    found = case("target-wrong-entity")
    assert (found.sentence, found.subject_key) == (
        "Work of US is routed into the books of GB at Netsuite-Us.", str(firm.target.pk),
    )  # fmt: skip
    firm.target.entity = None
    firm.target.save()
    changes_watch.note("connection", [firm.target.pk])
    validation.follow_changes()
    assert (state(held), case("target-wrong-entity").state) == ("ready", "resolved")


@pytest.mark.case(27)
def test_an_entity_that_keeps_cost_centres_needs_one(firm: Firm) -> None:
    centre = firms.centre(firm.entity)
    _held(firm, "cost-centre-missing", external_id="1")
    firm.policy(cost_centre_by_role={"senior": "CC1"})
    assert entry(_ready(firm, external_id="2", work_date=date(2026, 10, 2))).cost_centre == centre
    firm.policy(cost_centre_required=False)
    _ready(firm, external_id="3", work_date=date(2026, 10, 3))


@pytest.mark.case(27)
def test_a_closed_cost_centre_is_held_by_name(firm: Firm) -> None:
    centre = firms.centre(firm.entity, valid_to=date(2026, 9, 30))
    Engagement.objects.filter(resource=firm.ana).update(cost_centre=centre)
    held = _held(firm, "cost-centre-missing")
    assert (
        "Cost centre CC1 Centre CC1 of Ana Consultant is closed on 2026-10-01"
        in hold(held, "cost-centre-missing").sentence
    )


@pytest.mark.case(29)
def test_what_the_target_does_not_know_is_held_under_the_record(firm: Firm) -> None:
    fresh = firms.project("NEW-1", firm.entity, firm.customer, firm.contract)
    held = _held(firm, "crosswalk-missing", project=Reference("", "NEW-1"))
    found = hold(held, "crosswalk-missing")
    assert "has no key for project NEW-1" in found.sentence
    assert (found.detail["kind"], found.detail["internal_id"]) == ("project", fresh.pk)


@pytest.mark.case(29)
def test_a_policy_lets_entries_wait_for_the_parent_s_arrival(firm: Firm) -> None:
    firm.policy(parent_missing="wait")
    fresh = firms.project("NEW-1", firm.entity, firm.customer, firm.contract)
    waiting = _ready(firm, project=Reference("", "NEW-1"))
    assert entry(waiting).state_row.waits_on == f"parent:project:{fresh.pk}"


def test_tasks_need_a_key_only_where_the_target_keeps_tasks(firm: Firm) -> None:
    task = Task.objects.create(project=firm.project, code="DEV", name="Development")
    assert "task" not in entry(_ready(firm, external_id="1", task=Reference("", "DEV"))).target_keys
    other = Task.objects.create(project=firm.project, code="OPS", name="Operations")
    firms.key(firm.target, "task", other.pk, "T9")
    _held(firm, "crosswalk-missing", external_id="2", task=Reference("", "DEV"), description="b")
    firm.policy(target_keys={"task": "own_code"})
    made = entry(_ready(firm, external_id="3", task=Reference("", "DEV"), work_date=date(2026, 10, 2)))
    assert (made.task, made.target_keys["task"]) == (task, "DEV")


@pytest.mark.case(53)
def test_nobody_approves_their_own_time(firm: Firm) -> None:
    held = _held(firm, "approver-is-worker", external_id="1", approved_by=Reference("", "ana"))
    assert hold(held, "approver-is-worker").case.subject_key == str(firm.ana.pk)
    stranger = firm.time("2", resource=Reference("u1", "", "New"), approved_by=Reference("u1", "", "New"))
    assert rules_of(firm.admit(stranger).held[0]) == {"resource-unknown", "approver-is-worker"}


@pytest.mark.case(53)
def test_an_approver_outside_the_chain_is_held_and_named(firm: Firm) -> None:
    lee = Resource.objects.create(code="lee", name="Lee Director")
    ApprovalStep.objects.create(project=firm.project, approver=lee)
    held = _held(firm, "approver-not-in-chain", external_id="1")
    assert "Pat Manager approved" in hold(held, "approver-not-in-chain").sentence
    assert "Lee Director" in hold(held, "approver-not-in-chain").sentence
    _ready(firm, external_id="2", approved_by=Reference("", "lee"), work_date=date(2026, 10, 2))
    firm.policy(approver_from_chain=False)
    _ready(firm, external_id="3", work_date=date(2026, 10, 3))


def test_a_policy_may_need_an_approver(firm: Firm) -> None:
    firm.policy(approver_required=True)
    _held(firm, "approver-not-in-chain", approved_by=Reference())


def test_a_rule_that_is_turned_off_does_not_run_and_no_case_is_left(firm: Firm) -> None:
    firm.policy(rules_off=["project-closed"])
    ProjectStatus.objects.filter(project=firm.project).update(status="closed")
    assert state(_ready(firm)) == "ready"
    assert not ExceptionCase.objects.exists()
