"""What is written to us is text: a request that holds the NUL character is refused before anything reads it.

The rule here: the database keeps no such character, so it is told in words once, for every form, address and body.
What systems send to a door of their own is read there as it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from http import HTTPStatus

from django.core.exceptions import BadRequest
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

NUL = "\x00"
DOORS = "/hooks/"  # webhooks: bounded, signed over every byte and kept by their own reader
SENTENCE = "The request holds the NUL character, which is no text. Take it out and send it again; nothing was changed."
_ESCAPED = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # as JSON writes it


class PlainTextMiddleware:
    """Refuses the NUL character in address, query, form, file name and JSON body: 400, and why."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Handle one request."""
        if request.path_info.startswith(DOORS):
            return self.get_response(request)
        if any(NUL in text for text in _texts(request)) or _in_json(request):
            if request.path_info.startswith("/api/"):
                return JsonResponse({"detail": SENTENCE}, status=HTTPStatus.BAD_REQUEST)
            raise BadRequest(SENTENCE)
        return self.get_response(request)


def _texts(request: HttpRequest) -> Iterator[str]:
    yield request.path_info
    for given in (request.GET, request.POST):
        for name, values in given.lists():
            yield name
            yield from values
    for files in request.FILES.values():
        yield str(getattr(files, "name", ""))


def _in_json(request: HttpRequest) -> bool:
    return request.content_type == "application/json" and bool(_ESCAPED.search(request.body))
