"""What holds on every list screen there is: they are found through the URL resolver, so a new one cannot be forgotten.

Each is refused to strangers and to people without a role, shows nothing of another entity, exports, draws no inline style
or script, and asks the database as often for fifty rows as for five.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from portal.models import GrantRole
from portal.screens import ListScreen
from tests import world
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build

pytestmark = pytest.mark.django_db
MARKUP = re.compile(r"</?[a-z][^>]*>|&[a-z]+;|&#")
UNROUNDED = re.compile(r"[0-9]\.[0-9]{5,}")
INLINE = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>|\sstyle=|\son[a-z]+=", re.IGNORECASE)


def list_screens() -> Iterator[Any]:
    """Every address of the site that leads to a list."""

    def walk(patterns: Any) -> Iterator[URLPattern]:
        for pattern in patterns:
            if isinstance(pattern, URLResolver):
                yield from walk(pattern.url_patterns)
            else:
                yield pattern

    for pattern in walk(get_resolver("portal.urls").url_patterns):
        view = getattr(pattern.callback, "view_class", None)
        if isinstance(view, type) and issubclass(view, ListScreen) and not pattern.pattern.converters:
            yield pytest.param(pattern.name, view, id=str(pattern.name))


SCREENS = list(list_screens())
each_list = pytest.mark.parametrize(("name", "view"), SCREENS)


def furnish(firm: Firm, count: int, start: int) -> None:
    """Work of every kind on the firm's desk."""
    desk.mistyped(firm, count, start=10_000 + start, code=f"LOST-{start}")
    desk.off_rate(firm, count, start=20_000 + start, rate=f"{100 + start % 17}.00")
    for number in range(count):
        desk.mistyped(firm, 1, start=30_000 + start + number, code=f"GONE-{start}-{number}")


def test_the_lists_of_the_desk_are_among_those_found() -> None:
    assert {"exceptions", "ledger", "operations"} <= {parameter.values[0] for parameter in SCREENS}


@each_list
def test_it_is_refused_without_sign_in_and_without_a_role(name: str, view: Any, client: Client) -> None:
    address = reverse(name)
    stranger = client.get(address)
    assert stranger.status_code == 302
    assert "/accounts/login/" in stranger["Location"]
    client.force_login(world.user("nobody"))
    assert client.get(address).status_code == 403


@each_list
def test_it_shows_nothing_of_another_entity(name: str, view: Any, client: Client) -> None:
    firm = build()
    furnish(firm, 2, 1)
    firm.source.name = firm.target.name = "Secret system"
    firm.source.save()
    firm.target.save()
    client.force_login(world.user("gus", role_for(view), world.entity("GB", "GBP")))
    text = client.get(reverse(name)).content.decode()
    for word in ("LOST-1", "GONE-1-0", "Acme", "Secret system", "Ana Consultant", "Consultant 1"):
        assert word not in text, word


@each_list
def test_it_asks_as_often_for_fifty_rows_as_for_five(name: str, view: Any, client: Client) -> None:
    firm = build()
    furnish(firm, 5, 1)
    client.force_login(world.user("ana", role_for(view), firm.entity))
    address = reverse(name)
    few = asked(lambda: client.get(address))
    furnish(firm, 45, 100)
    assert asked(lambda: client.get(address)) <= few


@each_list
def test_it_draws_no_inline_style_or_script_and_exports_what_it_shows(name: str, view: Any, client: Client) -> None:
    firm = build()
    furnish(firm, 2, 1)
    client.force_login(world.user("ana", role_for(view), firm.entity))
    text = client.get(reverse(name)).content.decode()
    assert INLINE.findall(text) == []
    if view.exportable:
        answer: Any = client.get(reverse(name), {"export": "csv"})
        lines = b"".join(answer.streaming_content).decode()
        assert "Exported by,ana" in lines
        assert MARKUP.findall(lines) == []
        assert UNROUNDED.findall(lines) == []


def role_for(view: Any) -> str:
    """A role that may see the screen."""
    return str(GrantRole.ANALYST if not view.roles or GrantRole.ANALYST in view.roles else min(view.roles))


def asked(act: Callable[[], Any]) -> int:
    """How many statements an answer costs, once everything is warm."""
    act()
    with CaptureQueriesContext(connection) as counted:
        assert act().status_code == 200
    return len(counted)
