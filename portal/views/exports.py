"""The exports of a person: what is being made, what can be downloaded and until when, and what was taken away before."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, cast

import django_filters
from django.db.models import Q, QuerySet
from django.http import FileResponse, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils.text import slugify
from django_htmx.http import trigger_client_event

from portal import access, export, exports
from portal.models import Export, User
from portal.screens import Action, Empty, ListScreen, Outcome, Refused, Screen, Tab
from portal.tables import ExportTable

STOP_POLLING = 286  # htmx's own status: show this, and ask no more


class CancelExports(Action):
    """Stop what is being made."""

    name, label, immediate = "cancel", "Cancel", True
    roles = access.EVERYBODY

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """What is under way stops; the rest is left alone."""
        count = sum(exports.cancel(one) for one in queryset)
        if not count:
            raise Refused("None of these is under way any more.")
        return Outcome(f"{count} cancelled.")


class DeleteExports(Action):
    """Remove files before they expire."""

    name, label, tone = "delete", "Delete", "danger"
    roles = access.EVERYBODY
    sentence = "Delete {count} files"
    button = "Delete"

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """The files go; that they were made stays written down."""
        count = sum(exports.delete(one) for one in queryset)
        if not count:
            raise Refused("None of these has a file any more.")
        return Outcome("1 file deleted." if count == 1 else f"{count} files deleted.")


class ExportFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Exports are few; they are found by what they hold."""

    title = django_filters.CharFilter(lookup_expr="icontains", label="List")

    class Meta:
        model = Export
        fields: tuple[str, ...] = ()


def under_way(user: Any) -> QuerySet[Export]:
    """What is being made for the person now."""
    return Export.objects.visible_to(user).filter(state__in=Export.UNDER_WAY).order_by("id")


class ExportsScreen(ListScreen):
    """A person's exports, the latest first."""

    title = "My exports"
    template_name = "exports/list.html"
    queryset = Export.objects.all()
    filterset = ExportFilter
    table = ExportTable
    actions = (CancelExports, DeleteExports)
    exportable = False
    tabs = (
        Tab("kept", "Files", lambda _user: Q(state__in=[*Export.UNDER_WAY, Export.State.READY, Export.State.FAILED])),
        Tab("all", "All"),
    )
    empty = Empty(
        "No file is kept for you",
        f"An export of more than {exports.AT_ONCE:,} rows is made in the background and waits here. "
        "Smaller ones are downloaded at once, and stand under All.",
    )

    def rows(self) -> QuerySet[Any]:
        """The person's own, whatever entities are looked at."""
        return Export.objects.visible_to(self.request.user)

    def list_context(self) -> dict[str, Any]:
        """The list, and how far each one is that is being made."""
        return {**super().list_context(), "making": list(under_way(self.request.user))}


class MakingPart(Screen):
    """How far the exports under way are; asks again until none is."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """The part; when the number under way changes, the list comes anew."""
        making = list(under_way(request.user))
        answer = render(request, "exports/making.html", {"making": making})
        if not making:
            answer.status_code = STOP_POLLING
        if str(len(making)) != request.GET.get("of"):
            trigger_client_event(answer, "tieout:changed")
        return answer


class ExportFileScreen(Screen):
    """Gives the file to the person who asked for it, as long as they may see what it holds."""

    def get(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The file as an attachment, written down as downloaded; or why it cannot be had."""
        person = cast("User", request.user)
        found = get_object_or_404(Export.objects.visible_to(person), pk=pk)
        problem = exports.refusal(found, person)
        if problem:
            context = self.context(title="This file cannot be had", problem=problem)
            return self.page(context, template="exports/refused.html", status=HTTPStatus.FORBIDDEN)
        content = exports.storage().open(found.file)
        exports.note_download(found, person)
        title = slugify(found.title.replace("'", "")) or "export"
        name = f"{title}-{found.ended_at:%Y%m%d-%H%M}.{found.form}"
        return FileResponse(
            content, as_attachment=True, filename=name, content_type=(export.FORMATS | export.PACKED)[found.form]
        )
