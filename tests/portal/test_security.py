"""The whole site, found through the URL resolver: who reaches what, what every page may hold, and what it may never hold.

The rule here: an address that this module does not know fails the test, so that nobody adds one without saying who may see it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import date
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.db import connection as database
from django.test import Client
from django.urls import URLResolver, get_resolver, reverse

from portal import audit, sql, tokens
from portal.models import (
    AttemptLine,
    AuditEvent,
    Contract,
    Customer,
    ErasureRequest,
    Export,
    Invoice,
    InvoiceLine,
    InvoiceProposal,
    LedgerEntry,
    LegalEntity,
    Milestone,
    Notification,
    Payment,
    Project,
    ProposalLine,
    RateCard,
    RejectedValue,
    Resource,
    TimeEntry,
    User,
)
from portal.records import Reference
from reconciliation import certifying, changes, imports, mappings, triage
from reconciliation import operations as bulk
from reconciliation.models import (
    ChangeSet,
    ExceptionCase,
    Hold,
    Mapping,
    MasterImport,
    Match,
    MatchingRule,
    Onboarding,
    Operation,
    ProjectMonth,
    Proposal,
    RateBundle,
    ReconciliationResult,
    Rehearsal,
    Team,
)
from tests import world
from tests.bills import Erp, line_of
from tests.integrations import operate_world, outbound
from tests.reconciliation.firm import key

pytestmark = pytest.mark.django_db

CANARY = "kept out of every page"  # the value behind every credential of the firm
STOP_POLLING = 286  # htmx's; the part is over


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The firm in operation, with a cause, a planned fix and a decision of its first entity."""
    firm = operate_world.operations(monkeypatch)
    change_set = _change(firm.analyst)
    changes.attach(change_set, firm.analyst, "letter.pdf", b"%PDF-1.7")
    unknown = outbound.record(firm.source, 300, project=Reference("?", "ACM-9", ""))
    [held] = outbound.take_in(firm.source, [unknown]).held
    case = Hold.objects.get(entry=held, closed_at=None).case
    ExceptionCase.objects.filter(pk=case.pk).update(
        owner=firm.manager
    )  # a cause of no project of theirs, given to them
    posted = LedgerEntry.objects.filter(entity=firm.us, state_row__state__in=["posted", "reconciled"]).earliest("pk")
    return SimpleNamespace(
        **{field.name: getattr(firm, field.name) for field in fields(firm)},
        held=held,
        case=case,
        team=_team(firm),
        decision=triage.tag([case.pk], ["looked-at"], by=firm.analyst),
        proposal=Proposal.objects.create(
            entity=firm.us,
            kind="project",
            code="SECRET-CODE",
            internal_id=1,
            record="Secret project",
            case=case,
            valid_from="2026-10-01",
            reason="mapped twice",
            proposed_by=firm.analyst,
            proposed_at=case.opened_at,
            evidence={"operations": 2, "entries": 5, "people": 3, "hours": "21.5", "money": {"USD": "2640.00"}},
        ),
        change_set=change_set,
        rehearsal=_rehearsal(firm),
        later_card=_later_card(firm),
        bundle=RateBundle.objects.create(
            change_set=change_set, content_hash="x", planned_by=firm.analyst, created_at=sql.now()
        ),
        rejected=RejectedValue.objects.create(
            connection=firm.source,
            kind="project",
            internal_id=Project.objects.get().pk,
            record="ACM",
            entity=firm.us,
            field="name",
            said="Secret name",
            reason="It belongs to Tieout.",
            first_at=sql.now(),
            last_at=sql.now(),
        ),
        file=_file(firm.analyst, change_set),
        operation=bulk.plan("recheck", user=firm.analyst, parameters={}, reason="looks mended", case=case),
        posted=posted,
        attempt=AttemptLine.objects.filter(entry=posted).latest("pk").attempt_id,
        event=audit.record(firm.analyst, "looked-at", case, entity=firm.us, reason="to be sure"),
        export=Export.objects.create(
            person=firm.analyst, title="Ledger", address="/ledger/", form="csv", asked_at=sql.now()
        ),
        notice=Notification.objects.create(
            person=firm.analyst, kind="assigned", entity=firm.us, subject="ACM-9", url="/exceptions/", at=sql.now()
        ),
        version=TimeEntry.objects.filter(document=posted.document_id).latest("version").pk,
        published=operate_world.told(firm),
        **_bills(firm, posted),
        invoice_line=_invoice_line(firm),
    )


def _change(author: User) -> ChangeSet:
    """A draft that gives the project of the first entity another name."""
    line = changes.Line("project", Project.objects.get().pk, "change", {"name": "Secret roll-out"})
    return changes.draft(by=author, title="Secret roll-out", reason="the customer says so", lines=[line])


def _bills(firm: Any, posted: LedgerEntry) -> dict[str, Any]:
    """An invoice of the first entity with one line, its credit note, and a payment."""
    key(posted.target, "entity", firm.us.pk, "E1")
    erp, line, entity = Erp(SimpleNamespace(target=posted.target)), line_of(posted.pk), Reference("E1")  # type: ignore[arg-type]
    bills = erp.bill("501", line, entity=entity), erp.credit("601", "501", line, entity=entity)
    erp.says(*bills, erp.payment("p1", "9", ("501", "9"), entity=entity))
    kinds = {bill.kind: bill for bill in Invoice.objects.filter(entity=firm.us)}
    return {"bill": kinds["invoice"], "note": kinds["credit_note"], "payment": Payment.objects.get()}


def _invoice_line(firm: Any) -> ProposalLine:
    """A line of an invoice that is proposed in the first entity."""
    project = Project.objects.get()
    proposal = InvoiceProposal.objects.create(
        entity=firm.us, project=project, customer=project.customer, currency="USD", through=date(2026, 10, 31),
        net=960, prepared_at=sql.now(),
    )  # fmt: skip
    return ProposalLine.objects.create(proposal=proposal, position=1, description="Secret work", net=960)


def _file(author: User, change_set: ChangeSet) -> MasterImport:
    """A file of which a change of the first entity was drafted."""
    content = b"code,name,entity,customer\nSECRET-9,S,US,NOBODY\n"
    file = imports.receive("project", "projects.csv", content, by=author)
    MasterImport.objects.filter(pk=file.pk).update(state="drafted", change_set=change_set)
    return file


def _later_card(firm: Any) -> RateCard:
    """The second version of a rate card of the first entity."""
    first = RateCard.objects.filter(contract__entity=firm.us).earliest("pk")
    RateCard.objects.filter(pk=first.pk).update(valid_to=date(2026, 12, 31))
    return RateCard.objects.create(
        code=first.code, version=first.version + 1, contract=first.contract, valid_from=date(2027, 1, 1)
    )


def _rehearsal(firm: Any) -> Rehearsal:
    """What a new source of the first entity was rehearsed with, in vain."""
    source = world.connection("secret-tracker", "harvest", firm.us, is_source=True)
    begun = {"started_by": firm.controller, "started_at": sql.now(), "reason": "bought"}
    onboarding = Onboarding.objects.create(entity=firm.us, source=source, **begun)
    return Rehearsal.objects.create(
        onboarding=onboarding, period=firm.period, basis="statement", state="failed", failure="No statement.",
        asked_by=firm.controller, asked_at=sql.now(), finished_at=sql.now(),
    )  # fmt: skip


def _team(firm: Any) -> Team:
    """A team of the first entity."""
    team = Team.objects.create(code="boston", name="Boston desk")
    team.entities.add(firm.us)
    return team


Arguments = Callable[[Any], dict[str, Any]]


# Addresses that name one row of the first entity. Whoever has no right there must not find it.
def _mapping_of(entity: Any) -> int:
    """A row of the mappings, which are written when somebody looks."""
    mappings.bring_up_to_date()
    return int(Mapping.objects.filter(entity=entity, kind="project").order_by("pk")[0].pk)


def _milestone(firm: Any) -> Milestone:
    """A milestone of the first entity."""
    project = Project.objects.filter(entity=firm.us)[0]
    made, _ = Milestone.objects.get_or_create(
        project=project, code="SECRET-1", defaults={"name": "Secret", "due_on": date(2026, 9, 30), "amount": 1, "currency": "USD"}
    )  # fmt: skip
    return made


def _rule(firm: Any) -> MatchingRule:
    """A matching rule of the first entity."""
    return MatchingRule.objects.create(
        entity=firm.us, leg="ledger_target", name="Secret", criteria=["day"], made_by=firm.analyst
    )


def _worker(us: LegalEntity) -> Resource:
    return Resource.objects.filter(engagements__entity=us).earliest("pk")


def _erasure(us: LegalEntity, asked_by: User) -> int:
    """A request to forget somebody of an entity."""
    made, _ = ErasureRequest.objects.get_or_create(
        resource=_worker(us),
        entities=[us.pk],
        reason="a letter",
        defaults={"asked_by": asked_by, "asked_at": sql.now()},
    )
    return int(made.pk)


ROWS: dict[str, Arguments] = {
    "audit_event": lambda s: {"pk": s.event.pk},
    "cause": lambda s: {"pk": s.case.pk},
    "cause_comment": lambda s: {"pk": s.case.pk},
    "cause_people": lambda s: {"pk": s.case.pk},
    "triage_undo": lambda s: {"pk": s.decision.pk},
    "team": lambda s: {"pk": s.team.pk},
    "cause_edit": lambda s: {"case": s.case.pk},
    "fix": lambda s: {"case": s.case.pk, "code": "map-code"},
    "fix_entry": lambda s: {"pk": s.held, "code": "recheck"},
    "operation": lambda s: {"pk": s.operation.pk},
    "operation_planning": lambda s: {"pk": s.operation.pk},
    "operation_progress": lambda s: {"pk": s.operation.pk},
    "change_set": lambda s: {"pk": s.change_set.pk},
    "change_edit": lambda s: {"pk": s.change_set.pk},
    "change_file": lambda s: {"pk": s.change_set.pk, "file": s.change_set.files.get().pk},
    "change_line_new": lambda s: {"pk": s.change_set.pk},
    "change_line": lambda s: {"pk": s.change_set.pk, "position": 1},
    "approval_decide": lambda s: {"kind": "live", "key": s.rehearsal.onboarding_id, "step": "approve"},
    "change_coming": lambda s: {"pk": s.change_set.pk},
    "change_decide": lambda s: {"pk": s.change_set.pk, "step": "withdraw"},
    "proposal": lambda s: {"pk": s.proposal.pk},
    "entry": lambda s: {"pk": s.posted.pk},
    "entry_doubt": lambda s: {"pk": s.posted.pk},
    "entry_comment": lambda s: {"pk": s.posted.pk},
    "entry_people": lambda s: {"pk": s.posted.pk},
    "entry_settle": lambda s: {"pk": s.posted.pk},
    "entry_attempt": lambda s: {"pk": s.posted.pk, "attempt": s.attempt},
    "inbox_message": lambda s: {"pk": s.taken.pk},
    "run": lambda s: {"pk": s.run.pk},
    "stream": lambda s: {"pk": s.stream.pk},
    "published_record": lambda s: {"pk": s.published.pk},
    "connection": lambda s: {"code": s.source.code},
    "connection_edit": lambda s: {"code": s.source.code},
    "erasure": lambda s: {"pk": _erasure(s.us, s.analyst)},
    "forget": lambda s: {"pk": _worker(s.us).pk},
    "upload": lambda s: {"pk": s.upload.pk},
    "upload_file": lambda s: {"pk": s.upload.pk},
    "reconciliation_run": lambda s: {"pk": s.comparison.pk},
    "reconciliation_sheet": lambda s: {"pk": s.comparison.pk},
    "reconciliation_period": lambda s: {"pk": s.period.pk},
    "open_items": lambda s: {"pk": s.period.pk},
    "matches": lambda s: {"pk": s.period.pk},
    "holes": lambda s: {"pk": s.period.pk},
    "matching": lambda s: {"pk": s.period.pk},
    "matching_panes": lambda s: {"pk": s.period.pk, "leg": "ledger_target"},
    "milestone_thread": lambda s: {"pk": _milestone(s).pk},
    "rate_card": lambda s: {"pk": RateCard.objects.filter(contract__entity=s.us)[0].pk},
    "rate_compare": lambda s: {"pk": s.later_card.pk},
    "rate_change": lambda s: {"pk": RateCard.objects.filter(contract__entity=s.us)[0].pk},
    "rate_add": lambda s: {"pk": RateCard.objects.filter(contract__entity=s.us)[0].pk},
    "rate_version": lambda s: {"pk": RateCard.objects.filter(contract__entity=s.us)[0].pk},
    "rate_bundle": lambda s: {"pk": s.bundle.pk},
    "onboarding": lambda s: {"pk": s.rehearsal.onboarding_id},
    "rehearsal": lambda s: {"pk": s.rehearsal.pk},
    "readiness_project": lambda s: {"pk": ProjectMonth.objects.filter(project__entity=s.us)[0].pk},
    "bill": lambda s: {"pk": s.bill.pk},
    "bill_line": lambda s: {"pk": s.bill.pk, "line": InvoiceLine.objects.get(version__invoice=s.bill).pk},
    "bill_credit": lambda s: {"pk": s.note.pk},
    "payment": lambda s: {"pk": s.payment.pk},
    "invoice_proposal": lambda s: {"pk": s.invoice_line.proposal_id},
    "invoice_parts": lambda s: {"pk": s.invoice_line.proposal_id},
    "invoice_proposal_line": lambda s: {"pk": s.invoice_line.proposal_id, "line": s.invoice_line.pk},
    "export_file": lambda s: {"pk": s.export.pk},
    "notification": lambda s: {"pk": s.notice.pk},
    "history": lambda s: {"model": "project", "pk": Project.objects.get().pk},
    "master_record": lambda s: {"model": "project", "pk": Project.objects.get().pk},
    "mapping": lambda s: {"pk": _mapping_of(s.us)},
    "rejected_value": lambda s: {"pk": s.rejected.pk},
    "import": lambda s: {"pk": s.file.pk},
    "import_file": lambda s: {"pk": s.file.pk},
    "import_problems": lambda s: {"pk": s.file.pk},
}
API_ROWS: dict[str, Callable[[Any], int]] = {
    "api_time_entry-detail": lambda s: s.version,
    "api_expense-detail": lambda s: 1,
    "api_ledger_entry-detail": lambda s: s.posted.pk,
    "api_case-detail": lambda s: s.case.pk,
    "api_hold-detail": lambda s: Hold.objects.get(entry=s.held).pk,
    "api_change_set-detail": lambda s: s.change_set.pk,
    "api_bill-detail": lambda s: s.bill.pk,
    "api_payment-detail": lambda s: s.payment.pk,
    "api_invoice_proposal-detail": lambda s: s.invoice_line.proposal_id,
    "api_match-detail": lambda s: (
        Match.objects.create(
            period=s.period, leg="ledger_target", state="confirmed", items=0, made_at=sql.now(), decided_by=s.analyst
        ).pk
    ),
    "api_run-detail": lambda s: s.comparison.pk,
    "api_matching_rule-detail": lambda s: _rule(s).pk,
    "api_readiness-detail": lambda s: ProjectMonth.objects.filter(project__entity=s.us)[0].pk,
    "api_close_board-detail": lambda s: s.period.pk,
    "api_holes-detail": lambda s: s.period.pk,
    "api_certificate-detail": lambda s: (
        certifying.prepare(s.period, s.analyst, "accepted", {"target_invoice": "accepted"}).pk
    ),
    "api_result-detail": lambda s: ReconciliationResult.objects.filter(run=s.comparison)[0].pk,
}
API_ROWS["api_invoice_proposal-risks"] = API_ROWS["api_invoice_proposal-detail"]
API_ROWS["api_bill-explained"] = API_ROWS["api_bill-detail"]
API_ROWS["api_ledger_entry-why"] = API_ROWS["api_ledger_entry-explained"] = API_ROWS["api_ledger_entry-detail"]
# What is decided about a row, and some act that may be sent.
API_ACTS: dict[str, dict[str, Any]] = {
    "api_bill-act": {"act": "adopt", "version": 1, "reason": "it was agreed"},
    "api_invoice_proposal-act": {"act": "withdraw", "reason": "it is not wanted"},
    "api_match-act": {"act": "take-apart", "reason": "they do not belong together"},
    "api_matching_rule-act": {"act": "retire"},
    "api_certificate-act": {"act": "withdraw", "reason": "it was signed too early"},
}
# Addresses with arguments that name no row of an entity.
NO_ROWS: dict[str, dict[str, str]] = {
    "master": {"model": "project"},  # a list, scoped by its queryset
    "change_codes": {"kind": "rate", "column": "role"},  # of records that the person sees
    "connection_new": {"connector": "harvest"},  # what a connector declares
}
# Addresses that are no page of a signed-in person, and why.
NO_PAGE: dict[str, str] = {
    "matching": "leads to the leg that has the most to match",
    "api_nothing_here": "what the API does not have",
    "health_live": "for the machine that watches the process",
    "health_ready": "for the machine that watches the process",
    "health_deep": "for the machine that watches the process",
    "webhook": "for vendors; its signature is checked",
    "preferences": "takes a form only",
    "entities": "takes a form only",
    "audit_verify": "takes a form only",
    "cause_comment": "takes a form only",
    "triage_undo": "takes a form only",
    "rate_bundle_new": "takes a form only",
    "entry_comment": "takes a form only",
    "upload_file": "a file, as it was uploaded",
    "import_file": "a file, as it was uploaded",
    "change_file": "a file, as it was attached",
    "change_codes": "the options of a field",
    "import_problems": "a file for who uploaded it",
    "reconciliation_sheet": "a workbook",
    "export_file": "a file, as it was made",
    "notification": "leads on to what it is about",
    "master_data": "leads on to the first list",
}
FOREIGN_PAGES = ("account_", "mfa_", "api_")  # allauth's and the API's; told in tests of their own


def walk(resolver: URLResolver | None = None, space: str = "") -> Iterator[tuple[str, bool]]:
    """Every named address of the site, and whether it takes arguments."""
    for pattern in (resolver or get_resolver()).url_patterns:
        if isinstance(pattern, URLResolver):
            yield from walk(pattern, f"{space}{pattern.namespace}:" if pattern.namespace else space)
        else:
            yield f"{space}{pattern.name}", bool(pattern.pattern.regex.groups)


def own() -> list[tuple[str, bool]]:
    """The addresses of the three apps."""
    return [(name, takes) for name, takes in walk() if not name.startswith(FOREIGN_PAGES)]


def pages(site: Any) -> dict[str, str]:
    """Every page of a signed-in person, by name."""
    found = {}
    for name, takes in own():
        if name not in NO_PAGE:
            arguments = NO_ROWS.get(name) or ROWS[name](site) if takes else None
            found[name] = reverse(name, kwargs=arguments)
    return found


def signed_in(user: User, **options: Any) -> Client:
    client = Client(**options)
    client.force_login(user)
    return client


def test_every_address_with_arguments_is_known_here() -> None:
    known = {
        *ROWS,
        *API_ROWS,
        *API_ACTS,
        *NO_ROWS,
        "webhook",
        "account_confirm_email",
        "account_reset_password_from_key",
    }
    unknown = {name for name, takes in walk() if takes and name not in known}
    assert not unknown, "say in ROWS whose row it names, or in NO_ROWS why it names none"
    names = {name for name, _ in walk()}
    assert {*ROWS, *API_ROWS, *NO_ROWS, *NO_PAGE} <= names, "and leave out what is gone"


class Inline(HTMLParser):
    """What a policy without 'unsafe-inline' would block, and addresses that are code."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        runs = attributes.get("type") in (None, "", "module", "text/javascript")
        if tag == "style" or (tag == "script" and runs and "src" not in attributes):
            self.found.append(f"<{tag}>")
        for name, value in attrs:
            target = (value or "").strip().lower()
            if name == "style" or (name.startswith("on") and name.isalpha()) or name.startswith("hx-on"):
                self.found.append(f"<{tag} {name}>")
            if name in ("href", "src", "action") and target.startswith(
                ("javascript:", "data:text", "http:", "https:", "//")
            ):
                self.found.append(f"<{tag} {name}={value}>")


def inline(html: str) -> list[str]:
    parser = Inline()
    parser.feed(html)
    return parser.found


POLICY = {
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "font-src 'self'",
    "connect-src 'self'", "form-action 'self'", "base-uri 'none'", "object-src 'none'", "frame-ancestors 'none'",
}  # fmt: skip


def assert_guarded(name: str, answer: Any) -> None:
    """The headers that every answer bears."""
    assert {part.strip() for part in answer["Content-Security-Policy"].split(";")} == POLICY, name
    assert answer["X-Content-Type-Options"] == "nosniff", name
    assert answer["Referrer-Policy"] == "same-origin", name
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin", name


THEIRS_ALONE = {"erasure"}  # not even that there is such a row is told to a colleague who may not read it


def test_every_page_is_guarded_kept_by_no_cache_and_free_of_inline_code_and_secrets(site: Any) -> None:
    for user in (site.controller, site.analyst, site.auditor, site.manager):
        client = signed_in(user)
        seen = 0
        for name, address in pages(site).items():
            answer = client.get(address)
            allowed = (200, STOP_POLLING, 403, *([404] if name in THEIRS_ALONE else []))
            assert answer.status_code in allowed, f"{name} for {user}: {answer.status_code}"
            assert_guarded(name, answer)
            assert "no-store" in answer["Cache-Control"], name
            html = answer.content.decode()
            assert inline(html) == [], name
            assert CANARY not in html, name
            seen += answer.status_code == 200
        assert seen > 20, user


def test_nobody_who_is_not_signed_in_sees_a_page(site: Any) -> None:
    for name, address in pages(site).items():
        answer = Client().get(address)
        assert answer.status_code == 302, name
        assert answer["Location"].startswith(reverse("account_login")), name
        assert_guarded(name, answer)


def made_up(client: Client, method: str, name: str, arguments: dict[str, Any]) -> int:
    """How the site answers for a row that nobody has."""
    nowhere = {key: 999_999_999 if isinstance(value, int) else value for key, value in arguments.items()}
    nowhere = {**nowhere, "code": "nowhere"} if name in ("connection", "connection_edit") else nowhere
    status: int = getattr(client, method)(reverse(name, kwargs=nowhere)).status_code
    return status


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_row_of_another_entity_is_not_found(site: Any, method: str) -> None:
    stranger = signed_in(site.stranger)
    before = AuditEvent.objects.count()
    for name, arguments in ROWS.items():
        address = reverse(name, kwargs=arguments(site))
        answer = getattr(stranger, method)(address)
        expected = made_up(stranger, method, name, arguments(site))
        assert answer.status_code == expected, f"{name}: {answer.status_code}"
        told_nothing = {404} if method == "get" and name not in NO_PAGE else {400, 404, 405}
        assert expected in told_nothing, f"{name}: {expected}"
    assert AuditEvent.objects.count() == before
    assert Operation.objects.count() == 1


def test_the_history_of_another_entitys_records_is_not_found(site: Any) -> None:
    stranger, analyst = signed_in(site.stranger), signed_in(site.analyst)
    records = [
        ("project", Project.objects.get()), ("customer", Customer.objects.get()), ("contract", Contract.objects.get()),
        ("accountingperiod", site.period), ("connection", site.source), ("ratecard", RateCard.objects.earliest("pk")),
    ]  # fmt: skip
    for model, record in records:
        address = reverse("history", kwargs={"model": model, "pk": record.pk})
        assert stranger.get(address).status_code == 404, model
        assert analyst.get(address).status_code == 200, model
    for model in ("user", "apitoken", "session", "auditevent"):
        assert analyst.get(reverse("history", kwargs={"model": model, "pk": 1})).status_code == 404, model


def test_the_api_does_not_find_another_entitys_row(site: Any) -> None:
    client = Client(headers={"authorization": f"Bearer {tokens.issue(site.stranger, 'Berlin')}"})
    ours = Client(headers={"authorization": f"Bearer {tokens.issue(site.analyst, 'Boston')}"})
    for name, row in API_ROWS.items():
        address = reverse(name, kwargs={"pk": row(site)})
        assert client.get(address).status_code == 404, name
        if name != "api_expense-detail":  # the firm has none
            answer = ours.get(address)
            assert answer.status_code == 200, name
            assert CANARY not in answer.content.decode()


def test_nobody_decides_about_rows_of_another_entity_nor_with_a_token_that_reads(site: Any) -> None:
    theirs, reads = tokens.issue(site.stranger, "Berlin", may_decide=True), tokens.issue(site.controller, "Boston")
    for number, (name, said) in enumerate(API_ACTS.items()):
        address = reverse(name, kwargs={"pk": API_ROWS[name.replace("-act", "-detail")](site)})
        for token, status in ((theirs, 404), (reads, 403)):
            client = Client(headers={"authorization": f"Bearer {token}", "idempotency-key": f"key-number-{number}"})
            assert client.post(address, said, content_type="application/json").status_code == status, name


def test_lists_of_another_entity_name_nothing_of_ours(site: Any) -> None:
    stranger = signed_in(site.stranger)
    for name, address in pages(site).items():
        if name in ROWS or name in ("styleguide", "keyboard", "settings"):
            continue
        html = stranger.get(address).content.decode()
        for word in (site.source.name, site.upload.name, "Acme roll-out", "ACM-US", "Person 1 of US"):
            assert word not in html, f"{name} names {word}"


def test_every_form_needs_its_token(site: Any) -> None:
    client = signed_in(site.controller, enforce_csrf_checks=True)
    addresses = {**pages(site), **{name: reverse(name) for name in ("preferences", "entities", "audit_verify")}}
    for name in ("cause_comment", "triage_undo"):
        addresses[name] = reverse(name, kwargs=ROWS[name](site))
    for name, address in addresses.items():
        for headers in ({}, {"HX-Request": "true"}):
            assert client.post(address, {"action": "confirm"}, headers=headers).status_code == 403, name
    assert Operation.objects.get().state == "planned"


def test_a_method_cannot_be_smuggled_in(site: Any) -> None:
    client = signed_in(site.controller)
    for name, address in pages(site).items():
        plain = client.get(address).status_code
        assert client.get(address, headers={"X-HTTP-Method-Override": "DELETE"}).status_code == plain, name
        assert client.delete(address).status_code in (403, 405), name
        assert client.put(address).status_code in (403, 405), name
    assert Operation.objects.count() == 1


EVIL = ("https://evil.example/", "//evil.example/", "/\\evil.example", "https:evil.example", "javascript:alert(1)")


@pytest.mark.parametrize("target", EVIL)
def test_nobody_is_sent_to_another_site(target: str) -> None:
    user = world.user("ana", everywhere=True)
    user.set_password("correct horse battery")
    user.save()
    client = signed_in(user)
    for name in ("preferences", "entities"):
        answer = client.post(reverse(name), {"next": target})
        assert (answer.status_code, answer["Location"]) == (303, reverse("home")), name
    fresh = Client()
    answer = fresh.post(reverse("account_login"), {"login": "ana", "password": "correct horse battery", "next": target})
    assert answer.status_code == 302
    assert "evil" not in answer["Location"]
    assert "javascript" not in answer["Location"]


def test_pages_of_the_account_are_guarded_too(site: Any) -> None:
    client = signed_in(site.controller)
    for name, takes in walk():
        if takes or not name.startswith(("account_", "mfa_")):
            continue
        answer = client.get(reverse(name))
        assert answer.status_code in (200, 302, 403, 404, 405), name
        assert_guarded(name, answer)
        if answer.status_code == 200 and "html" in answer["Content-Type"]:
            assert inline(answer.content.decode()) == [], name


def test_there_is_no_way_past_the_ledger_and_the_audit_trail_into_the_tables(site: Any) -> None:
    assert not apps.is_installed("django.contrib.admin")
    assert not any(name.startswith("admin:") for name, _ in walk())
    root = User.objects.create_superuser("root")
    for user in (root, site.controller, site.analyst, site.auditor, site.manager):
        assert signed_in(user).get("/admin/").status_code == 404
    assert not LedgerEntry.objects.visible_to(root).exists()  # without a grant, no technical right shows a row


def test_a_secret_stands_in_no_table_no_history_and_no_name(site: Any) -> None:
    with database.cursor() as cursor:
        for table in sorted({model._meta.db_table for model in apps.get_models()}):
            cursor.execute(f"SELECT count(*) FROM {table} t WHERE t::text LIKE %s", [f"%{CANARY}%"])
            assert cursor.fetchone() == (0,), table
    for held in (site.source, site.target, site.operation, site.event):
        assert CANARY not in repr(held) + str(held)


def test_a_disabled_person_is_out_at_the_next_request(site: Any) -> None:
    client = signed_in(site.analyst)
    assert client.get(reverse("ledger")).status_code == 200
    User.objects.filter(pk=site.analyst.pk).update(is_active=False)
    assert client.get(reverse("ledger")).status_code == 302


def test_a_role_that_ended_is_out_at_the_next_request(site: Any) -> None:
    client = signed_in(site.analyst)
    address = reverse("cause", kwargs={"pk": site.case.pk})
    assert client.get(address).status_code == 200
    site.analyst.grants.update(valid_to="2020-01-02")
    assert client.get(address).status_code == 403  # without any right left, nothing is shown at all
    assert "ACM-9" not in client.get(address).content.decode()
