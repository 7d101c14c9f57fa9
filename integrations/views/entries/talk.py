"""Comments on one entry. The rule here: what was written stays; a person named after @ is told, if they may read the entry."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, cast

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse

from integrations.views.entries.page import EntryPage
from portal.models import User
from reconciliation import triage


class CommentScreen(EntryPage):
    """Writes a comment under an entry."""

    roles = triage.COMMENTERS

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The entry, where comments are written."""
        return HttpResponseRedirect(f"{reverse('entry', args=[self.object.pk])}#comments", status=HTTPStatus.SEE_OTHER)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Keep what was said, and go back to the entry; or say beside the words why not."""
        pk, text = self.object.pk, request.POST.get("text", "")
        try:
            triage.comment_on_entry(pk, text, by=cast("User", request.user))
        except triage.NotPossible as refusal:
            self.refused = {"comment_text": text, "comment_refusal": str(refusal)}
            return self.show(HTTPStatus.UNPROCESSABLE_ENTITY)
        return HttpResponseRedirect(f"{reverse('entry', args=[pk])}#comments", status=HTTPStatus.SEE_OTHER)
