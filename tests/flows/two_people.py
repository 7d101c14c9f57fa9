"""A change of rules as a firm makes it: one person writes it on the screen and submits it, another reads it and agrees."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.test import Client
from django.urls import reverse

from portal.models import GrantRole, User
from reconciliation.models import ChangeSet
from tests import world


def _signed_in(name: str, role: str) -> Client:
    client = Client()
    client.force_login(User.objects.filter(username=name).first() or world.user(name, role, everywhere=True))
    return client


def change(title: str, *lines: Mapping[str, Any]) -> ChangeSet:
    """A change set of these lines, agreed to by a second person and applied; each line is what its form says.

    The pages refuse what may not be; who wrote it may not agree to it, which is tried.
    """
    writer, decider = _signed_in("wanda", GrantRole.CONTROLLER), _signed_in("dora", GrantRole.CONTROLLER)
    writer.post(reverse("change_new"), {"title": title, "reason": "Agreed with the firm"})
    made = ChangeSet.objects.latest("pk")
    page = reverse("change_set", args=[made.pk])
    for line in lines:
        answer = writer.post(reverse("change_line_new", args=[made.pk]), line)
        assert answer.status_code == 303, answer.content.decode()
    answer = writer.post(page, {"action": "submit"})
    assert answer.status_code == 303, answer.content.decode()
    assert writer.post(page, {"action": "approve", **shown(decider, made)}).status_code != 303
    answer = decider.post(page, {"action": "approve", "comment": "Read it", **shown(decider, made)})
    assert answer.status_code == 303, answer.content.decode()
    made.refresh_from_db()
    assert made.state == ChangeSet.State.APPLIED, (made.state, decider.get(page).content.decode())
    return made


def shown(client: Client, change_set: ChangeSet) -> dict[str, str]:
    """What the confirmation posts back of what it showed."""
    text = client.get(reverse("change_decide", args=[change_set.pk, "approve"])).content.decode()
    return dict(re.findall(r'<input type="hidden" name="(hash|fingerprint|seen)" value="(\w*)">', text))


def following(route: Any, target: str, first: Any, last: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The lines by which a route ends on its last day, and one to another target begins on the first."""
    ends = {"model": "route", "key": route.pk, "line_action": "change", "valid_to": last.isoformat()}
    begins = {
        "model": "route", "line_action": "add", "entity": route.entity.code, "source": route.source.code, "target": target,
        "kind": route.kind, "valid_from": first.isoformat(),
    }  # fmt: skip
    return ends, begins
