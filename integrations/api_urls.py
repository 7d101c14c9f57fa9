"""The addresses of the read API that need more than what is right: the thread, which knows what went over the wire."""

from __future__ import annotations

from django.urls import path

from integrations.thread_api import ThreadOf

urlpatterns = [path("thread/", ThreadOf.as_view(), name="api_thread")]
