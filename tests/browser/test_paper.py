"""What is printed: a heading with filter and person, heads repeated on every sheet, no navigation, and lines to sign on."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from playwright.sync_api import BrowserContext

from portal.models import User
from reconciliation.models import ExceptionCase
from tests.conftest import missing
from tests.integrations.operate_world import operations
from tests.reconciliation import desk
from tests.reconciliation.firm import build, case

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

ON_NO_PAPER = ("Sign out", "Saved views", "Skip to the content", "Columns", "Comment\n", "Approvals", "Ctrl ↵")


def printed(context: BrowserContext, site: str, person: User, address: str, file: Path) -> list[str]:
    """The text of every sheet that Chromium prints of a page, laid out as on paper."""
    if shutil.which("pdftotext") is None:
        missing("pdftotext (poppler-utils)")
    client = Client()
    client.force_login(person)
    context.add_cookies([{"name": "tieout_session", "value": client.cookies["tieout_session"].value, "url": site}])
    page = context.new_page()
    page.add_init_script("window.print = () => {}")  # a page that prints itself would be in the way
    page.goto(f"{site}{address}")
    page.pdf(path=file, format="A4", prefer_css_page_size=True)
    page.close()
    told = subprocess.run(["pdftotext", "-layout", str(file), "-"], capture_output=True, check=True).stdout.decode()
    return told.split("\f")[:-1]


def assert_is_paper(sheets: list[str], head: tuple[str, ...]) -> None:
    """Numbered sheets without anything that only a screen has; the table's head on each one that has its rows."""
    for number, sheet in enumerate(sheets, 1):
        assert f"{number}/{len(sheets)}" in sheet.replace(" ", "")
        assert not [word for word in ON_NO_PAPER if word in sheet]
    heads = [all(word in sheet for word in head) for sheet in sheets]
    assert len(sheets) > 1
    assert heads[-1], "the head is repeated on the last sheet"
    assert sum(heads) > 1


def test_the_queue_is_printed_with_its_filter_its_totals_and_a_head_on_every_sheet(
    context: BrowserContext, live_server: Any, tmp_path: Path
) -> None:
    firm = build()
    firm.policy(day_hours_max="1000")  # a great many on one day
    for number in range(60):
        desk.mistyped(firm, 1, start=1000 + number, code=f"QX-{number:02d}")
    fay = desk.analyst(firm)
    sheets = printed(context, live_server.url, fay, "/exceptions/?print=1", tmp_path / "queue.pdf")
    assert_is_paper(sheets, ("Cause", "Entries", "Amount"))
    first, whole = " ".join(sheets[0].split()), "\n".join(sheets)
    assert first.startswith("Exceptions")
    assert "Open · Entities: US" in first
    assert "60 rows · 60 entries" in first
    assert "printed by fay on" in first
    assert all(f"QX-{number:02d}" in whole for number in range(60))


def test_a_cause_is_printed_with_its_entries_under_a_head_on_every_sheet(
    context: BrowserContext, live_server: Any, tmp_path: Path
) -> None:
    firm = build()
    desk.off_rate(firm, 45)
    address = reverse("cause", args=[case("rate-mismatch").pk])
    sheets = printed(context, live_server.url, desk.analyst(firm), address, tmp_path / "cause.pdf")
    assert_is_paper(sheets, ("Entry", "Hours", "Amount"))
    assert ExceptionCase.objects.get().sentence[:40] in " ".join(sheets[0].split())
    whole = "\n".join(sheets)
    assert whole.count("Ana Consultant,") == 45
    assert "Use the contract's rate" in sheets[0], "what is to be done is no button alone"
    assert re.search(r"\n\s+\d+ \w+ 2026 \d\d:\d\d:\d\d UTC · Tieout", whole), (
        "a moment of evidence is printed once, to the second"
    )
    [headed] = [sheet for sheet in sheets if "Entries that it holds" in sheet]
    assert "Ana Consultant," in headed, "a heading stays with what it heads"


def test_the_sheet_of_a_period_is_printed_with_its_totals_open_items_and_lines_to_sign_on(
    context: BrowserContext, live_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integrations.wake.up", lambda *_: False)
    firm = operations(monkeypatch)
    address = reverse("reconciliation_sheet", args=[firm.comparison.pk])
    sheets = printed(context, live_server.url, firm.auditor, address, tmp_path / "sheet.pdf")
    text = "\n".join(sheets)
    assert all(
        words in " ".join(text.split())
        for words in ("Totals", "Tracker ↔ ledger", "Open items", f"run {firm.comparison.pk}")
    )
    assert "Record M-900 was booked in the target without us." in " ".join(text.split())
    assert "Prepared by, date" in sheets[-1]
    assert "Certified by, date" in sheets[-1]
    assert not [word for word in (*ON_NO_PAPER, "Print") if word in text]
