"""The screens of operations: who sees what, what they do, and what they never show."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests.integrations.operate_world import Operations, operations

pytestmark = pytest.mark.django_db


@pytest.fixture
def firm(monkeypatch: pytest.MonkeyPatch) -> Operations:
    return operations(monkeypatch)


def get(client: Client, user: Any, address: str) -> Any:
    client.force_login(user)
    return client.get(address)


def addresses(firm: Operations) -> list[str]:
    return [
        "/inbox/", f"/inbox/{firm.failed.pk}/", f"/inbox/{firm.taken.pk}/", "/runs/", f"/runs/{firm.run.pk}/",
        f"/streams/{firm.stream.pk}/", "/connections/", "/connections/erp/", "/connections/tracker-us/", "/uploads/",
        "/uploads/new/", f"/uploads/{firm.upload.pk}/",
    ]  # fmt: skip


def test_every_screen_answers(client: Client, firm: Operations) -> None:
    for address in addresses(firm):
        assert get(client, firm.analyst, address).status_code == 200, address
