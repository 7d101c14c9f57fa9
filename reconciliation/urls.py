"""The addresses of finance's desk, and its places in the navigation."""

from __future__ import annotations

from typing import Any

from django.urls import URLPattern, URLResolver, path

from portal.screens import Badge, NavItem
from reconciliation.models import ExceptionCase
from reconciliation.views import (
    approvals,
    causes,
    change_coming,
    change_decisions,
    change_forms,
    change_tables,
    changes,
    closing,
    codes,
    deciding,
    decisions,
    editing,
    fixing,
    imports,
    mapping_page,
    mappings,
    matches,
    matching_rules,
    onboarding,
    open_items,
    operation,
    operations,
    pack,
    panes,
    people,
    proposals,
    queue,
    rate_adding,
    rate_bundle,
    rate_changing,
    rate_gaps,
    rate_tester,
    rates,
    readiness,
    reconciliation,
    records,
    rehearsal,
    rejected,
    running,
    search,
    tabs,
    teams,
    triage,
    work,
)
from reconciliation.views.bills import lists as bill_lists
from reconciliation.views.bills import pages as bill_pages
from reconciliation.views.invoicing import lists as invoice_lists
from reconciliation.views.invoicing import pages as invoice_pages


def open_causes(user: Any) -> Badge | None:
    """How many causes are in the queue where the person looks."""
    count = ExceptionCase.objects.visible_to(user).filter(tabs.IN_QUEUE).count()
    return Badge("Open causes", count, "warn") if count else None


NAVIGATION = (
    NavItem(label="Exceptions", url_name="exceptions", position=10, key="e", badge=open_causes),
    NavItem(label="Billing readiness", url_name="readiness", position=25, key="b"),
    NavItem(label="Reconciliation", url_name="reconciliation", position=20, key="r"),
    NavItem(
        label="Invoice proposals",
        url_name="invoice_proposals",
        group="Billing",
        position=10,
        badge=invoice_lists.to_decide,
    ),
    NavItem(label="Bills", url_name="bills", group="Billing", position=20),
    NavItem(label="Payments", url_name="payments", group="Billing", position=30),
    NavItem(label="Approvals", url_name="approvals", position=15, key="a", badge=approvals.to_decide),
    NavItem(label="Changes", url_name="changes", position=4, group="Govern", key="g", badge=change_tables.to_decide),
    NavItem(label="Proposals", url_name="proposals", position=6, group="Govern", badge=proposals.to_decide),
    NavItem(label="Rates", url_name="rates", position=30, group="Master data", key="t"),
    NavItem(
        label="Onboarding",
        url_name="onboardings",
        position=70,
        group="Govern",
        key="n",
        roles=onboarding.READERS,
        badge=onboarding.badge,
    ),
    NavItem(label="Operations", url_name="operations", group="Operate", position=5, key="o"),
    NavItem(
        label="Rejected values",
        url_name="rejected_values",
        position=50,
        group="Master data",
        badge=rejected.open_values,
    ),
    NavItem(label="Mappings", url_name="mappings", position=20, group="Master data", key="p"),
    NavItem(label="Imports", url_name="imports", position=40, group="Master data"),
    NavItem(label="Teams", url_name="teams", position=40, group="Govern", roles=teams.READERS),
)

TOP = (running.chip,)

PACK = pack.PARTS

CONCERNS = decisions.about
MASTERS = (records.ROUTES,)

HOME = (work.mine, approvals.panel, work.team, work.projects, work.causes, work.running, work.news)

urlpatterns: list[URLPattern | URLResolver] = [
    path("exceptions/", queue.CauseList.as_view(), name="exceptions"),
    path("exceptions/<int:pk>/", causes.CausePage.as_view(), name="cause"),
    path("exceptions/undo/<int:pk>/", triage.UndoScreen.as_view(), name="triage_undo"),
    path("exceptions/<int:pk>/comment/", causes.CommentScreen.as_view(), name="cause_comment"),
    path("exceptions/<int:pk>/people/", people.PeopleScreen.as_view(), name="cause_people"),
    path("ledger/<int:pk>/people/", people.EntryPeopleScreen.as_view(), name="entry_people"),
    path("exceptions/<int:case>/edit/", editing.EditScreen.as_view(), name="cause_edit"),
    path("exceptions/<int:case>/fix/<slug:code>/", fixing.FixScreen.as_view(), name="fix"),
    path("ledger/<int:pk>/fix/<slug:code>/", fixing.FixScreen.as_view(), name="fix_entry"),
    path("operations/", operations.OperationList.as_view(), name="operations"),
    path("operations/running/", running.RunningPart.as_view(), name="operations_running"),
    path("operations/<int:pk>/", operation.OperationPage.as_view(), name="operation"),
    path("operations/<int:pk>/planning/", operation.PlanningPart.as_view(), name="operation_planning"),
    path("operations/<int:pk>/progress/", operation.ProgressPart.as_view(), name="operation_progress"),
    path("onboarding/", onboarding.OnboardingList.as_view(), name="onboardings"),
    path("onboarding/new/", onboarding.BeginScreen.as_view(), name="onboarding_new"),
    path("onboarding/<int:pk>/", onboarding.OnboardingPage.as_view(), name="onboarding"),
    path("onboarding/rehearsals/<int:pk>/", rehearsal.RehearsalScreen.as_view(), name="rehearsal"),
    path("approvals/", approvals.ApprovalList.as_view(), name="approvals"),
    path("approvals/<slug:kind>/<int:key>/<slug:step>/", deciding.DecisionDialog.as_view(), name="approval_decide"),
    path("changes/", changes.ChangeSetList.as_view(), name="changes"),
    path("changes/new/", change_forms.DraftScreen.as_view(), name="change_new"),
    path("changes/codes/<slug:kind>/<slug:column>/", codes.CodesScreen.as_view(), name="change_codes"),
    path("changes/<int:pk>/", changes.ChangeSetPage.as_view(), name="change_set"),
    path("changes/<int:pk>/coming/", change_coming.ComingScreen.as_view(), name="change_coming"),
    path("changes/<int:pk>/edit/", change_forms.EditScreen.as_view(), name="change_edit"),
    path("changes/<int:pk>/lines/new/", change_forms.LineScreen.as_view(), name="change_line_new"),
    path("changes/<int:pk>/lines/<int:position>/", change_forms.LineScreen.as_view(), name="change_line"),
    path("changes/<int:pk>/files/<int:file>/", changes.ChangeFileScreen.as_view(), name="change_file"),
    path("changes/<int:pk>/<slug:step>/", change_decisions.DecisionScreen.as_view(), name="change_decide"),
    path("proposals/", proposals.ProposalList.as_view(), name="proposals"),
    path("proposals/<int:pk>/", proposals.ProposalPage.as_view(), name="proposal"),
    path("rates/", rates.CardList.as_view(), name="rates"),
    path("rates/test/", rate_tester.TesterScreen.as_view(), name="rate_tester"),
    path("rates/gaps/", rate_gaps.GapsScreen.as_view(), name="rate_gaps"),
    path("rates/bundles/new/", rate_bundle.NewBundleScreen.as_view(), name="rate_bundle_new"),
    path("rates/bundles/<int:pk>/", rate_bundle.BundlePage.as_view(), name="rate_bundle"),
    path("rates/<int:pk>/add/", rate_adding.AddRateScreen.as_view(), name="rate_add"),
    path("rates/<int:pk>/version/", rate_adding.NextVersionScreen.as_view(), name="rate_version"),
    path("rates/<int:pk>/change/", rate_changing.ChangeRateScreen.as_view(), name="rate_change"),
    path("rates/<int:pk>/", rates.CardPage.as_view(), name="rate_card"),
    path("rates/<int:pk>/compare/", rates.ComparePage.as_view(), name="rate_compare"),
    path("readiness/", readiness.Portfolio.as_view(), name="readiness"),
    path("readiness/<int:pk>/", readiness.ReadinessScreen.as_view(), name="readiness_project"),
    path("reconciliation/", reconciliation.ReconciliationScreen.as_view(), name="reconciliation"),
    path("reconciliation/<int:pk>/", reconciliation.RunScreen.as_view(), name="reconciliation_run"),
    path("reconciliation/<int:pk>/sheet/", reconciliation.SheetScreen.as_view(), name="reconciliation_sheet"),
    path("reconciliation/rules/", matching_rules.MatchingRuleList.as_view(), name="matching_rules"),
    path("reconciliation/rules/new/", matching_rules.NewMatchingRule.as_view(), name="matching_rule_new"),
    path("reconciliation/close/", closing.CloseBoard.as_view(), name="close_board"),
    path("reconciliation/periods/<int:pk>/items/", open_items.OpenItemsScreen.as_view(), name="open_items"),
    path("reconciliation/periods/<int:pk>/match/", panes.WhereToMatch.as_view(), name="matching"),
    path("reconciliation/periods/<int:pk>/match/<slug:leg>/", panes.MatchingPanes.as_view(), name="matching_panes"),
    path("reconciliation/periods/<int:pk>/matches/", matches.MatchList.as_view(), name="matches"),
    path("reconciliation/periods/<int:pk>/holes/", closing.HolesScreen.as_view(), name="holes"),
    path("reconciliation/periods/<int:pk>/", reconciliation.PeriodScreen.as_view(), name="reconciliation_period"),
    path("master/<slug:model>/", records.MasterList.as_view(), name="master"),
    path("master/<slug:model>/<int:pk>/", records.RecordPage.as_view(), name="master_record"),
    path("mappings/", mappings.MappingList.as_view(), name="mappings"),
    path("mappings/<int:pk>/", mapping_page.MappingPage.as_view(), name="mapping"),
    path("imports/", imports.ImportList.as_view(), name="imports"),
    path("imports/new/", imports.NewImport.as_view(), name="import_new"),
    path("imports/<int:pk>/", imports.ImportPage.as_view(), name="import"),
    path("imports/<int:pk>/problems/", imports.ImportProblems.as_view(), name="import_problems"),
    path("imports/<int:pk>/file/", imports.ImportFile.as_view(), name="import_file"),
    path("rejected/", rejected.RejectedList.as_view(), name="rejected_values"),
    path("rejected/<int:pk>/", rejected.RejectedPage.as_view(), name="rejected_value"),
    path("invoicing/", invoice_lists.ProposalList.as_view(), name="invoice_proposals"),
    path("invoicing/<int:pk>/", invoice_pages.ProposalPage.as_view(), name="invoice_proposal"),
    path("invoicing/<int:pk>/breakdown/", invoice_lists.PartList.as_view(), name="invoice_parts"),
    path("invoicing/<int:pk>/lines/<int:line>/", invoice_pages.LinePage.as_view(), name="invoice_proposal_line"),
    path("bills/", bill_lists.BillList.as_view(), name="bills"),
    path("bills/<int:pk>/", bill_pages.BillPage.as_view(), name="bill"),
    path("bills/<int:pk>/lines/<int:line>/", bill_pages.BillLinePage.as_view(), name="bill_line"),
    path("bills/<int:pk>/credit/", bill_pages.CreditPage.as_view(), name="bill_credit"),
    path("payments/", bill_lists.PaymentList.as_view(), name="payments"),
    path("payments/<int:pk>/", bill_pages.PaymentPage.as_view(), name="payment"),
    path("teams/", teams.TeamList.as_view(), name="teams"),
    path("teams/new/", teams.TeamScreen.as_view(), name="team_new"),
    path("teams/<int:pk>/", teams.TeamScreen.as_view(), name="team"),
    path("ownership/", teams.OwnershipList.as_view(), name="ownership"),
    path("ownership/new/", teams.RuleScreen.as_view(), name="ownership_new"),
    path("search/", search.SearchScreen.as_view(), name="search"),
]
