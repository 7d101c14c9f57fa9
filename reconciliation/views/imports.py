"""Importing master data on screen: upload, match columns, look at every row (errors first), draft the change.

The rule here: nothing of a file is taken before a person has seen what it would do, and then it is a draft that others agree to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import PurePath
from typing import Any, cast

from django import forms
from django.core.exceptions import BadRequest
from django.core.files.base import File
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.http import content_disposition_header

from portal import access, export
from portal.importing import headings
from portal.importing.problems import Unreadable
from portal.importing.sheets import LARGEST
from portal.models import User
from portal.screens import (
    Empty,
    ListScreen,
    MainColumn,
    NumberColumn,
    Screen,
    StateColumn,
    Tab,
    Table,
    TextColumn,
    WhenColumn,
)
from reconciliation import imports
from reconciliation.changes import BY_CODE, ChangeRefused, Kind
from reconciliation.filters import ImportFilter
from reconciliation.imports.checking import BAD, CHANGED, NEW, SAME, problem_lines
from reconciliation.imports.drafting import OPEN
from reconciliation.models import MasterImport
from reconciliation.views import column_words

State = MasterImport.State
SHOWN = 300  # rows of each sort on one page
TONES: dict[str, str] = {State.MATCHING: "warn", State.CHECKED: "info", State.DRAFTED: "good"}


def kind_label(code: str) -> str:
    """A kind as people say it."""
    return BY_CODE[code].label if code in BY_CODE else code


class ImportTable(Table):
    """Uploaded files: what they hold, who brought them, what came of them."""

    name = MainColumn(
        verbose_name="File",
        url=lambda row: reverse("import", args=[row.pk]),
        second=lambda row: kind_label(row.kind),
        drawer=False,
    )
    rows_read = NumberColumn(accessor="rows", verbose_name="Rows")
    by = TextColumn(accessor="uploaded_by__username", order_by="uploaded_by__username", verbose_name="By")
    uploaded_at = WhenColumn(verbose_name="Uploaded")
    change = TextColumn(accessor="change_set__title", order_by="change_set__title", verbose_name="Change", wraps=True)
    digest = TextColumn(verbose_name="SHA-256", mono=True, optional=True)
    state = StateColumn(TONES)


class ImportList(ListScreen):
    """Files of master data, the latest first."""

    title = "Imports"
    caption = "Files of master data that were uploaded"
    queryset = MasterImport.objects.select_related("uploaded_by", "change_set").defer("content").order_by("-pk")
    filterset = ImportFilter
    table = ImportTable
    tabs = (
        Tab("all", "All"),
        Tab("open", "To do", lambda user: Q(state__in=OPEN, uploaded_by=user)),
        Tab("drafted", "Drafted", lambda _user: Q(state=State.DRAFTED)),
    )

    def rows(self) -> Any:
        """The person's own files, and those whose change the person sees."""
        return self.queryset.all().visible_to(self.request.user)

    def headline(self) -> str:
        """What a file becomes."""
        return "A file becomes a draft change; it never writes master data. Every list of master data exports in the same form."

    def buttons(self) -> list[tuple[str, str]]:
        """A new one."""
        return [("Import a file", reverse("import_new"))] if self.request.user.roles() & access.OPERATORS else []  # type: ignore[union-attr]

    def nothing(self) -> Empty:
        """What to do first."""
        if self.request.user.roles() & access.OPERATORS:  # type: ignore[union-attr]
            return Empty(
                "No file was imported yet", "CSV and XLSX files are checked row by row before a change is drafted.",
                reverse("import_new"), "Import a file",
            )  # fmt: skip
        return Empty("No file was imported yet", "Analysts, controllers and admins import master data.")


class ImportForm(forms.Form):
    """What the file holds, and the file."""

    kind = forms.ChoiceField(label="It holds")
    file = forms.FileField(
        help_text="CSV or XLSX, up to 10 MB and 20,000 rows. Nothing is taken before you have seen every row.",
        widget=forms.FileInput(attrs={"accept": ".csv,.txt,.tsv,.xlsx"}),
    )

    def __init__(self, *args: Any, kinds: Sequence[Kind], **more: Any) -> None:
        super().__init__(*args, **more)
        self.fields["kind"].choices = [(kind.code, kind.label) for kind in kinds]  # type: ignore[attr-defined]


class NewImport(Screen):
    """The form that takes a file."""

    title = "Import a file"
    template_name = "reconciliation/import_new.html"
    roles = access.OPERATORS

    @cached_property
    def kinds(self) -> list[Kind]:
        """What the person may bring."""
        return imports.kinds_of(cast("User", self.request.user))

    def get(self, request: HttpRequest) -> HttpResponse:
        """The form."""
        return self.show(ImportForm(kinds=self.kinds, initial={"kind": request.GET.get("kind", "")}))

    def post(self, request: HttpRequest) -> HttpResponse:
        """Keep the file, and go on to its columns or its rows."""
        form = ImportForm(request.POST, request.FILES, kinds=self.kinds)
        if form.is_valid():
            sent: File[bytes] = form.cleaned_data["file"]
            try:
                _fits(sent)
                made = imports.receive(
                    form.cleaned_data["kind"], str(sent.name), sent.read(), by=cast("User", request.user)
                )
            except Unreadable as refusal:
                form.add_error("file", str(refusal))
            else:
                return HttpResponseRedirect(reverse("import", args=[made.pk]), status=HTTPStatus.SEE_OTHER)
        return self.show(form, HTTPStatus.UNPROCESSABLE_ENTITY)

    def show(self, form: ImportForm, status: int = HTTPStatus.OK) -> HttpResponse:
        """The page, with what each kind's columns are."""
        kinds = [
            (kind.label, kind.table.help, [(headings.label(one.name), one) for one in kind.table.of_files.columns])
            for kind in self.kinds
        ]
        return self.page(self.context(form=form, kinds=kinds), status=status)


def _fits(sent: File[bytes]) -> None:
    if (sent.size or 0) > LARGEST:
        raise Unreadable(f"The file has {sent.size:,} bytes; at most {LARGEST:,} are taken. Split it.")


class _OfImport(Screen):
    """What the pages of one file share."""

    @cached_property
    def upload(self) -> MasterImport:
        """The file of this address, where the person may see it."""
        rows = MasterImport.objects.visible_to(self.request.user).select_related("uploaded_by", "change_set")
        return get_object_or_404(rows, pk=self.kwargs["pk"])

    @property
    def person(self) -> User:
        """Who looks."""
        return cast("User", self.request.user)


class ImportPage(_OfImport):
    """One file: its columns, its rows with problems first, what they would change, and the way to a draft."""

    template_name = "reconciliation/import.html"

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The page."""
        return self.show()

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Match the columns, draft the change, or discard the file."""
        steps = {"columns": self.match, "draft": self.draft, "discard": self.discard}
        step = steps.get(request.POST.get("action", ""))
        if step is None:
            raise BadRequest("There is no such step here.")
        try:
            where = step()
        except (Unreadable, ChangeRefused) as refusal:
            return self.show(str(refusal), status=HTTPStatus.UNPROCESSABLE_ENTITY)
        return HttpResponseRedirect(where, status=HTTPStatus.SEE_OTHER)

    def match(self) -> str:
        """Which column is which."""
        chosen = {index: self.request.POST.get(f"column-{index}", "") for index in range(len(self.upload.header))}
        imports.match_columns(self.upload, chosen, by=self.person)
        return reverse("import", args=[self.upload.pk])

    def draft(self) -> str:
        """The change set."""
        reason = self.request.POST.get("reason", "").strip()
        if not reason:
            raise ChangeRefused("Say why; it is kept with every change of the file.")
        return reverse("change_set", args=[imports.draft(self.upload, by=self.person, reason=reason).pk])

    def discard(self) -> str:
        """Back to the list."""
        imports.discard(self.upload, by=self.person)
        return reverse("imports")

    def show(self, refusal: str = "", status: int = HTTPStatus.OK) -> HttpResponse:
        """The page; a file that is done with is not checked again."""
        upload = self.upload
        kind = BY_CODE[upload.kind]
        is_open = upload.state in OPEN and upload.uploaded_by_id == self.person.pk
        checked = imports.check(upload, self.person) if is_open and upload.state == State.CHECKED else None
        may_read = MasterImport.objects.readable_by(self.person).filter(pk=upload.pk).exists()
        shown = [row for row in checked.rows if row.outcome != SAME] if checked else []
        shown.sort(key=lambda row: ({BAD: 0, CHANGED: 1, NEW: 2}[row.outcome], not row.warnings, row.line))
        context = self.context(
            title=upload.name,
            upload=upload,
            kind=kind,
            tone=TONES.get(upload.state, ""),
            is_open=is_open,
            may_read=may_read,
            **(_held(upload) if may_read and checked is None and not is_open else {}),
            refusal=refusal,
            checked=checked,
            likelier=imports.likelier_kind(upload, self.person) if is_open else None,
            counts={name: checked.count(name) for name in (NEW, CHANGED, SAME, BAD)} if checked else {},
            warned=[_shown(kind, row) for row in checked.rows if row.warnings][:SHOWN] if checked else [],
            rows=[_shown(kind, row) for row in shown[:SHOWN]],
            more=max(len(shown) - SHOWN, 0),
            missing=[headings.label(name) for name in checked.missing] if checked else [],
            columns_of_file=_headings(upload, checked) if is_open else [],
            choices=_choices(kind),
        )
        return self.page(context, status=status)


def _choices(kind: Kind) -> list[tuple[str, str, bool]]:
    """What a column of a file may be: our name of it, the same in words, and whether it is needed."""
    return [(one.name, headings.label(one.name), one.required) for one in kind.table.of_files.columns]


def _headings(upload: MasterImport, checked: imports.Checked | None) -> list[tuple[int, str, str, tuple[str, ...]]]:
    """The columns of a file: place, heading, what it was matched with, and its first values."""
    first = checked.samples if checked else imports.samples(imports.held(upload))
    return [
        (index, heading, upload.columns.get(str(index), ""), values)
        for index, (heading, values) in enumerate(zip(upload.header, first, strict=True))
    ]


@dataclass(frozen=True, slots=True)
class Shown:
    """One row of a file on the page, its columns and values in words."""

    line: int
    named: str
    outcome: str
    said: str
    problems: Sequence[tuple[str, str, str]]
    warnings: Sequence[tuple[str, str, str]]
    changes: Sequence[tuple[str, str, str]]


def _shown(kind: Kind, row: imports.CheckedRow) -> Shown:
    table, label, value = kind.table, headings.label, column_words.value

    def told(ones: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
        return [(label(column) if column else "", given, sentence) for column, given, sentence in ones]

    return Shown(
        row.line, row.named, row.outcome, value(table, *row.said) if row.said else "", told(row.problems), told(row.warnings),
        [(label(column), value(table, column, before), value(table, column, after)) for column, before, after in row.changes],
    )  # fmt: skip


def _held(upload: MasterImport) -> dict[str, Any]:
    """The rows of a file for who only reads it: the first of them, each cell with its heading, and how many there are."""
    sheet = imports.held(upload)
    heads = [heading or "(no heading)" for heading in sheet.header]
    rows = [(line, list(zip(heads, cells, strict=True))) for line, cells in sheet.rows[:SHOWN]]
    return {"heads": heads, "held": rows, "of": len(sheet.rows)}


class ImportProblems(_OfImport):
    """What stands against a file, as a file: line, column, value, problem."""

    def get(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """CSV in the person's own dialect."""
        if self.upload.uploaded_by_id != self.person.pk:
            return HttpResponseRedirect(reverse("import", args=[pk]), status=HTTPStatus.SEE_OTHER)
        own = {name: self.upload.header[int(index)] for index, name in self.upload.columns.items()}
        found = [
            (line, own.get(column) or headings.label(column) if column else "", value, sentence)
            for line, column, value, sentence in problem_lines(imports.check(self.upload, self.person))
        ]
        line = export.csv_rows(export.dialect(self.person.preferences))
        rows: list[tuple[export.Cell, ...]] = [("line", "column", "value", "problem"), *found]
        lines = (line(row) for row in rows)
        answer = StreamingHttpResponse(lines, content_type=export.FORMATS["csv"])
        answer["Content-Disposition"] = content_disposition_header(
            as_attachment=True, filename=f"problems of {PurePath(self.upload.name).stem}.csv"
        )
        return answer


class ImportFile(_OfImport):
    """The file as it came, as an attachment that no browser shows as a page."""

    def get(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The bytes, for who may read every row of it."""
        if not MasterImport.objects.readable_by(self.person).filter(pk=self.upload.pk).exists():
            raise Http404
        answer = HttpResponse(bytes(self.upload.content), content_type="application/octet-stream")
        answer["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=self.upload.name)
        answer["X-Content-Type-Options"] = "nosniff"
        answer["Cache-Control"] = "private, no-store"
        return answer
