"""The start of a web process: every template is loaded, and what is there is no longer looked through."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from django.template import engines

from portal import warm


@pytest.fixture
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("thawed")
def test_what_every_page_needs_is_loaded_and_left_out_of_the_search_for_garbage() -> None:
    [loader] = engines["django"].engine.template_loaders  # type: ignore[attr-defined]
    loader.reset()
    warm.up()
    assert {"base.html", "reconciliation/cause.html", "screens/list.html"} <= set(loader.get_template_cache)
    assert gc.get_freeze_count() > 100_000
