"""Adding a connection and changing one: a form of what the connector declares, a test before anything is kept, a change set.

The rule here: nothing is connected by one person. What the form says becomes a submitted change set, which another approves.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlsplit

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse

from integrations import abilities, connections, registry, vault
from integrations.connections import Tested
from integrations.protocol import Account
from integrations.views.connection_form import ConnectionForm
from portal import access, audit
from portal.models import Connection, User
from portal.screens import Screen
from reconciliation import changes
from reconciliation.changes import Action, ChangeRefused, Line, record_cells
from reconciliation.models import ChangeSet

KIND = "connection"


class ChooseScreen(Screen):
    """Which connector."""

    title = "New connection"
    template_name = "integrations/connect.html"
    roles = access.CONFIGURERS

    def get(self, request: HttpRequest) -> HttpResponse:
        """Every connector, by what it can be and what it therefore cannot do."""
        return self.page(self.context(connectors=[abilities.offered(name) for name in sorted(registry.CONNECTORS)]))


class _Connecting(Screen):
    """What both forms have: the person, the test, and the way to the change set."""

    template_name = "integrations/connection_edit.html"
    roles = access.CONFIGURERS

    @property
    def person(self) -> User:
        """Who writes."""
        return cast("User", self.request.user)

    def show(self, form: ConnectionForm, *, tested: Tested | None = None, status: int = HTTPStatus.OK) -> HttpResponse:
        """The form, with what a test said."""
        return self.page(
            self.context(
                form=form, tested=tested, sections=list(form.sections()), offers=form.offers, connection=form.connection,
                keeps=vault.is_open(), carried=form.carried_on(),
            ),
            status=status,
        )  # fmt: skip

    def answer(self, form: ConnectionForm) -> HttpResponse:
        """Test what the form says, or propose it."""
        is_test = self.request.POST.get("action") == "test"
        form.is_test, form.fields["reason"].required = is_test, not is_test  # nobody approves a test
        if not form.is_valid():
            form.seal_typed()
            return self.show(form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        if is_test:
            form.seal_typed()
            tested = self.test(form)
            form.know(tested.fields)
            return self.show(form, tested=tested)
        try:
            change_set = self.propose(form)
        except ChangeRefused as refusal:
            _mark(form, refusal)
            form.seal_typed()  # once more: what was sealed for the proposal went with it
            return self.show(form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        return HttpResponseRedirect(reverse("change_set", args=[change_set.pk]), status=HTTPStatus.SEE_OTHER)

    def test(self, form: ConnectionForm) -> Tested:
        """Ask the account whether it answers, with what was typed; credentials that stand go only where they go already.

        A place that was only named here is read by nobody before another person has approved it: it might be any variable or
        file of this machine.
        """
        given, stands = form.account_given(), form.connection
        told = Connection(
            code=given["code"], connector=form.kind.name, base_url=given["base_url"], realm=given["realm"],
            credentials=form.places_given(), zone=given["zone"], settings=form.settings_given(),
        )  # fmt: skip
        is_ours = urlsplit(told.base_url).scheme not in ("http", "https", "sftp")  # a path, or file://
        if is_ours and (stands is None or stands.base_url != told.base_url):
            return Tested(
                False, "A folder of this machine is read once another person has approved it; propose the connection and test "
                "it then.",
            )  # fmt: skip
        typed = form.sealed
        kept = {name: place for name, place in told.credentials.items() if name not in typed}
        is_elsewhere = stands is None or (stands.base_url, stands.realm, stands.settings) != (
            told.base_url, told.realm, form.settings_given(),
        )  # fmt: skip
        approved = stands.credentials if stands else {}
        if named := sorted(name for name, place in kept.items() if approved.get(name) != place):
            return Tested(
                False, f"Where {' and '.join(named)} lies is read once another person has approved it; type it to test now, "
                "or propose the connection and test it then.",
            )  # fmt: skip
        if kept and is_elsewhere:
            return Tested(
                False, "The address or the settings differ from what stands, so the credentials that stand are not sent there; "
                "type them to test.",
            )  # fmt: skip
        problems = [why for name in kept if (why := registry.credential_problem(told, name))]
        if problems:
            return Tested(False, " ".join(problems))
        told.credentials = {**kept, **{name: {"stored": number} for name, number in typed.items()}}
        tested = connections.try_out(
            form.kind.name,
            Account(
                code=told.code, base_url=told.base_url, realm=told.realm, zone=given["zone"], settings=form.settings_given(),
                secrets=registry.account(told).secrets,
            ),
        )  # fmt: skip
        audit.record(
            self.person, "connection-tried", stands or self.person, entity=stands.entity_id if stands else None,
            after={"code": told.code, "address": told.base_url, "answers": tested.is_good,
                "sentence": tested.raw or tested.sentence, "tested_as": told.tested_as,
            },
        )  # fmt: skip
        return tested

    def propose(self, form: ConnectionForm) -> ChangeSet:
        """Seal what was typed and submit the change set that points at it. Raises ChangeRefused, and then nothing is kept."""
        account, stands = form.account_given(), form.connection
        with transaction.atomic():
            form.seal_typed()
            places = form.places_given() | {name: {"stored": number} for name, number in form.sealed.items()}
            values = {**account, "settings": form.settings_given(), "credentials": places}
            change_set = changes.draft(
                by=self.person, title=f"Change {stands.name}" if stands else f"Connect {account['name']}",
                reason=form.cleaned_data["reason"], lines=self.lines(form, values),
            )  # fmt: skip
            if form.sealed:
                audit.record(
                    self.person, "secret.kept", change_set, entity=stands.entity_id if stands else None,
                    after={"connection": account["code"], "secrets": sorted(form.sealed)},
                )  # fmt: skip
            changes.submit(change_set, self.person)
        return change_set

    def lines(self, form: ConnectionForm, values: dict[str, Any]) -> list[Line]:
        """The connection as far as it differs from what stands, then its streams."""
        stands, found = form.connection, []
        if stands is None:
            found.append(
                Line(KIND, None, Action.ADD, {name: value for name, value in values.items() if value not in ("", {})})
            )
        else:
            cells = record_cells(changes.BY_CODE[KIND], stands.pk, self.person) or {}
            differs = {name: value for name, value in values.items() if value != cells.get(name)}
            if differs:
                found.append(Line(KIND, stands.pk, Action.CHANGE, differs))
        for name, every in form.schedules().items():
            stream = form.standing_streams.get(name)
            if stream is None:
                told = {"connection": values["code"], "name": name, "every_seconds": every}
                found.append(Line("stream", None, Action.ADD, told))
            else:
                found.append(Line("stream", stream.pk, Action.CHANGE, {"every_seconds": every}))
        if not found:
            raise ChangeRefused("Nothing differs from what stands.")
        return found


class ConnectScreen(_Connecting):
    """A new connection."""

    title = "New connection"

    def form(self, connector: str, *data: Any) -> ConnectionForm:
        """The form of a connector; 404 for one that is not there."""
        try:
            kind = registry.connector_type(connector)
        except registry.UnknownConnector:
            raise Http404 from None
        return ConnectionForm(*data, kind=kind, person=self.person)

    def get(self, request: HttpRequest, connector: str) -> HttpResponse:
        """The form, empty."""
        return self.show(self.form(connector))

    def post(self, request: HttpRequest, connector: str) -> HttpResponse:
        """Test or propose."""
        return self.answer(self.form(connector, request.POST))


class ReconnectScreen(_Connecting):
    """A connection that stands."""

    title = "Change the connection"
    roles = frozenset()  # whose connection it is decides, and one that is not theirs is not found

    def form(self, code: str, *data: Any) -> ConnectionForm:
        """The form as the connection stands, for those who may change it."""
        stands = get_object_or_404(Connection.objects.visible_to(self.person).select_related("entity"), code=code)
        if not access.may(self.person, access.CONFIGURERS, stands.entity_id):
            raise PermissionDenied(
                "A connection is changed by admins and controllers of its entity; a shared one by those of all."
            )
        return ConnectionForm(
            *data, kind=registry.connector_type(stands.connector), person=self.person, connection=stands
        )

    def get(self, request: HttpRequest, code: str) -> HttpResponse:
        """The form as it stands."""
        return self.show(self.form(code))

    def post(self, request: HttpRequest, code: str) -> HttpResponse:
        """Test or propose."""
        return self.answer(self.form(code, request.POST))


def _mark(form: ConnectionForm, refusal: ChangeRefused) -> None:
    """Say each problem at its field; what belongs to none, above the form."""
    if not refusal.problems:
        form.add_error(None, str(refusal))
    for problem in refusal.problems:
        _, _, column = problem.place.partition(", ")
        whole, _, part = column.partition(".")
        prefixes = {"settings": ("setting-",), "credentials": ("secret-", "place-")}.get(whole, ())
        names = [f"{prefix}{part}" for prefix in prefixes] or [column]
        name = next((one for one in (*names, part) if one in form.fields), None)
        value = f"“{problem.value}” " if problem.value else ""
        form.add_error(name, f"{value}{problem.message}")
