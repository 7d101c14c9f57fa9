"""What the API says of an address that it does not have: in JSON, as everything else of it, and where its schema is."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.urls import reverse


def nothing_here(request: HttpRequest) -> JsonResponse:
    """404 with the way out."""
    said = f"There is nothing at {request.path}; {reverse('api_schema')} lists what there is."
    return JsonResponse({"detail": said}, status=404)
