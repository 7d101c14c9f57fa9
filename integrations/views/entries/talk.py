"""Comments on one entry. The rule here: what was written stays; a person named after @ is told, if they may read the entry."""

from __future__ import annotations

from http import HTTPStatus
from typing import cast

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse

from portal.models import LedgerEntry, User
from portal.screens import Screen
from reconciliation import triage


class CommentScreen(Screen):
    """Writes a comment under an entry."""

    roles = triage.COMMENTERS

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Keep what was said, and go back to the entry."""
        entry = get_object_or_404(LedgerEntry.objects.visible_to(request.user), pk=pk)
        try:
            triage.comment_on_entry(entry.pk, request.POST.get("text", ""), by=cast("User", request.user))
        except triage.NotPossible as refusal:
            messages.error(request, str(refusal))
        return HttpResponseRedirect(f"{reverse('entry', args=[pk])}#comments", status=HTTPStatus.SEE_OTHER)
