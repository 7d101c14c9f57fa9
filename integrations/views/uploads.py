"""Files by hand: uploading one, looking at every row before it is taken, filing or discarding it, and getting it back.

The rule here: nothing of a file is filed before a person has seen what it becomes; the file is kept as it came, and given out
only as an attachment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from django import forms
from django.core.exceptions import PermissionDenied
from django.core.files.base import File
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.http import content_disposition_header

from integrations import uploads, wake
from integrations.connectors.files.connector import FilesConnector, Preview, PreviewRow
from integrations.filters import UploadFilter
from integrations.models import UploadedFile
from integrations.tables import UPLOAD_TONES, UploadTable
from portal import audit
from portal.access import OPERATORS, PAYLOAD_READERS, may
from portal.models import Connection, User
from portal.records import ExpenseRecord, TimeEntryRecord
from portal.screens import Action, DetailScreen, Empty, ListScreen, Outcome, Refused, Screen, Tab

SHOWN = 500  # rows of a preview on one page; problems come first
State = UploadedFile.State


def file_connections(user: Any) -> QuerySet[Connection]:
    """The connections that this person may upload files to."""
    seen = Connection.objects.visible_to(user, roles=OPERATORS)
    chosen: QuerySet[Connection] = seen.filter(connector=FilesConnector.name, is_source=True, is_active=True)
    return chosen


class UploadsScreen(ListScreen):
    """The files that came by hand."""

    title = "Uploads"
    queryset = UploadedFile.objects.select_related("connection", "uploaded_by").defer("content").order_by("-pk")
    filterset = UploadFilter
    table = UploadTable
    tabs = (
        Tab("all", "All"),
        Tab("preview", "To be filed", lambda _user: Q(state=State.PREVIEW)),
        Tab("filed", "Filed", lambda _user: Q(state=State.FILED)),
        Tab("discarded", "Discarded", lambda _user: Q(state=State.DISCARDED)),
    )
    caption = "Uploaded files"

    def headline(self) -> str:
        """What an upload is."""
        return "Files taken by hand go the same way as every other record, and are kept as they came."

    def buttons(self) -> list[tuple[str, str]]:
        """Uploading, for those who may."""
        return [("Upload a file", reverse("upload_new"))] if file_connections(self.request.user).exists() else []

    def nothing(self) -> Empty:
        """What to do first."""
        if file_connections(self.request.user).exists():
            return Empty(
                "No file was uploaded yet", "CSV and XLSX files are shown row by row before anything is filed.",
                reverse("upload_new"), "Upload a file",
            )  # fmt: skip
        return Empty("No file was uploaded yet", "None of your entities has a connection for files.")


class UploadForm(forms.Form):
    """Which connection and stream, and the file."""

    connection = forms.ModelChoiceField(queryset=Connection.objects.none(), to_field_name="code", empty_label=None)
    stream = forms.ChoiceField(choices=[(name, name.capitalize()) for name in FilesConnector.streams])
    file = forms.FileField(
        label="File",
        help_text="CSV or XLSX, up to 10 MB. Nothing is filed before you have seen every row.",
        widget=forms.FileInput(attrs={"accept": ".csv,.txt,.tsv,.xlsx"}),
    )

    def __init__(self, *args: Any, user: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.fields["connection"].queryset = file_connections(user)  # type: ignore[attr-defined]


class NewUploadScreen(Screen):
    """The form that takes a file."""

    title = "Upload a file"
    template_name = "integrations/upload_new.html"
    roles = OPERATORS

    def get(self, request: HttpRequest) -> HttpResponseBase:
        """The form."""
        initial = {name: request.GET[name] for name in ("connection", "stream") if name in request.GET}
        return self.page(self.context(form=UploadForm(user=request.user, initial=initial)))

    def post(self, request: HttpRequest) -> HttpResponseBase:
        """Keep the file and show what it becomes."""
        form = UploadForm(request.POST, request.FILES, user=request.user)
        if form.is_valid():
            sent: File[bytes] = form.cleaned_data["file"]
            try:
                _fits(sent)
                upload = uploads.receive(
                    form.cleaned_data["connection"],
                    form.cleaned_data["stream"],
                    str(sent.name),
                    sent.read(),
                    user=request.user,  # type: ignore[arg-type]
                )
            except uploads.UploadRefused as refusal:
                form.add_error("file", str(refusal))
            else:
                return redirect("upload", pk=upload.pk)
        return self.page(self.context(form=form), status=422)


def _fits(sent: File[bytes]) -> None:
    if (sent.size or 0) > uploads.LIMIT:
        raise uploads.UploadRefused(
            f"“{sent.name}” has {sent.size:,} bytes; at most {uploads.LIMIT:,} are taken. Split it by week or person."
        )


class FileIt(Action):
    """Put the rows into the inbox."""

    name, label, immediate, in_bulk = "file", "File these rows", True, False
    roles = OPERATORS

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """File and wake."""
        upload = queryset.select_related("connection__entity").get()
        try:
            run = uploads.file(upload, user=user)
        except uploads.UploadRefused as refusal:
            raise Refused(str(refusal)) from refusal
        wake.up("take_in", upload.connection_id)
        words = f"{run.filed:,} of {run.read:,} rows are new and are being taken in."
        return Outcome(words, url=reverse("upload", args=[upload.pk]))


class Discard(Action):
    """Leave the file unfiled."""

    name, label, immediate, in_bulk, tone = "discard", "Discard", True, False, "danger"
    roles = OPERATORS

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Discard it; it is kept."""
        upload = queryset.select_related("connection__entity").get()
        try:
            uploads.discard(upload, user=user)
        except uploads.UploadRefused as refusal:
            raise Refused(str(refusal)) from refusal
        return Outcome(f"“{upload.name}” is discarded; nothing of it was filed.", url=reverse("uploads"))


@dataclass(frozen=True, slots=True)
class ShownRow:
    """One row of a preview in words."""

    number: int
    problem: str
    person: str = ""
    project: str = ""
    work_date: Any = None
    quantity: str = ""
    text: str = ""
    status: str = ""


class UploadScreen(DetailScreen):
    """One file, row by row: problems first, then what each row becomes."""

    queryset = UploadedFile.objects.select_related("connection__entity", "uploaded_by")
    template_name = "integrations/upload.html"
    actions = (FileIt, Discard)
    object: UploadedFile

    def permitted(self, roles: frozenset[str]) -> list[type[Action]]:
        """Nothing more once it is filed or discarded."""
        return super().permitted(roles) if self.object.state == State.PREVIEW else []

    @cached_property
    def preview(self) -> Preview | str:
        """The file as it is read now, or the sentence why it cannot be."""
        try:
            return uploads.preview(self.object)
        except uploads.UploadRefused as refusal:
            return str(refusal)

    def context(self, **more: Any) -> dict[str, Any]:
        """The rows in words."""
        if "object" not in more:
            return super().context(**more)
        preview = self.preview
        rows = (
            [] if isinstance(preview, str) else sorted(preview.rows, key=lambda row: (row.problem is None, row.number))
        )
        broken = sum(row.problem is not None for row in rows)
        readable = may(self.request.user, PAYLOAD_READERS, self.object.connection.entity_id)
        return super().context(
            **more,
            tone=UPLOAD_TONES[self.object.state],
            refusal=preview if isinstance(preview, str) else "",
            rows=[shown(row) for row in rows[:SHOWN]] if readable else [],
            count=len(rows),
            broken=broken,
            good=len(rows) - broken,
            more_rows=max(len(rows) - SHOWN, 0),
            readable=readable,
        )


def shown(row: PreviewRow) -> ShownRow:
    """One row as a person reads it."""
    document = row.document
    if document is None:
        return ShownRow(row.number, row.problem.sentence if row.problem else "It cannot be read.")
    if isinstance(document, ExpenseRecord):
        quantity = f"{document.amount:,.2f} {document.currency}"
    elif isinstance(document, TimeEntryRecord):
        quantity = f"{document.hours:,.2f} h"
    else:
        quantity = ""
    return ShownRow(
        row.number, "",
        person=_named(document.resource), project=_named(document.project), work_date=document.work_date,
        quantity=quantity, text=document.description, status=str(document.status),
    )  # fmt: skip


def _named(reference: Any) -> str:
    return " ".join(part for part in (reference.code or reference.key, reference.name) if part)


class UploadedFileScreen(Screen):
    """The file as it came, as an attachment that no browser shows as a page."""

    def get(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The bytes; that they were read is written down."""
        visible = UploadedFile.objects.visible_to(request.user)
        upload = get_object_or_404(visible.select_related("connection"), pk=pk)
        if not may(request.user, PAYLOAD_READERS, upload.connection.entity_id):
            raise PermissionDenied("Files hold what vendors sent; your role does not read payloads here.")
        audit.record(
            cast("User", request.user), "payload.read", upload, entity=upload.connection.entity_id,
            after={"file": upload.name, "digest": upload.digest},
        )  # fmt: skip
        response = HttpResponse(bytes(upload.content), content_type="application/octet-stream")
        response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=upload.name)
        response["X-Content-Type-Options"] = "nosniff"
        response["Cache-Control"] = "private, no-store"
        return response
