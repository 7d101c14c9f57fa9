"""API tokens of one's own account through the front door: issued after signing in again, shown once, used, listed and revoked."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import reverse

from portal import audit, tokens
from portal.models import ApiToken, AuditEvent, User
from tests import world

pytestmark = pytest.mark.django_db
PASSWORD = "a long one for tests"


@pytest.fixture
def ana() -> User:
    made = world.user("ana", owner=world.entity())
    made.set_password(PASSWORD)
    made.save()
    return made


@pytest.fixture
def client(ana: User) -> Client:
    made = Client()
    made.force_login(ana)
    return made


def test_a_token_is_issued_after_signing_in_again_and_shown_this_once(client: Client, ana: User) -> None:
    asked = {"action": "issue", "name": "nightly comparison", "days": "30"}
    first = client.post(reverse("tokens"), asked)
    assert first.status_code == 303
    assert reverse("account_reauthenticate") in first["Location"]
    assert not ApiToken.objects.exists()
    shown = client.post(first["Location"], {"password": PASSWORD}, follow=True).content.decode()
    found = re.search(r'value="(tieout_[\w-]+)"', shown)
    assert found, shown
    token = found.group(1)
    assert (
        Client().get(reverse("api_ledger_entry-list"), headers={"Authorization": f"Bearer {token}"}).status_code == 200
    )
    page = client.get(reverse("tokens"))
    assert "no-store" in page["Cache-Control"]
    assert token not in page.content.decode(), "nobody shows it again"
    assert "nightly comparison" in page.content.decode()
    assert "last used" in page.content.decode()
    kept = ApiToken.objects.get()
    assert (kept.user, kept.digest) == (ana, tokens.digest_of(token))
    assert (kept.expires_at - kept.created_at).days in (29, 30)
    event = AuditEvent.objects.get(action="token.issued")
    assert (event.actor, event.after) == (ana, {"name": "nightly comparison", "days": 30})
    assert token not in str(AuditEvent.objects.values_list("before", "after", "reason"))

    assert client.post(reverse("tokens"), {"action": "revoke", "token": kept.pk}).status_code == 303
    assert (
        Client().get(reverse("api_ledger_entry-list"), headers={"Authorization": f"Bearer {token}"}).status_code == 401
    )
    assert "Revoked" in client.get(reverse("tokens")).content.decode()
    client.post(reverse("tokens"), {"action": "revoke", "token": kept.pk})
    assert AuditEvent.objects.filter(action="token.revoked").count() == 1
    assert audit.walk().holds


def test_nobody_sees_or_revokes_the_token_of_another(client: Client, ana: User) -> None:
    ben = world.user("ben", owner=world.entity("DE", "EUR"))
    theirs = tokens.issue(ben, "theirs")
    kept = ApiToken.objects.get()
    assert "theirs" not in client.get(reverse("tokens")).content.decode()
    assert client.post(reverse("tokens"), {"action": "revoke", "token": kept.pk}).status_code == 404
    still = tokens.known(theirs)
    assert still is not None
    assert still.user == ben
    assert "No program reads in your name." in client.get(reverse("settings")).content.decode()


@pytest.mark.parametrize(
    ("said", "sentence"),
    [({"name": ""}, "This field is required"), ({"days": "0"}, "greater than or equal to 1"),
     ({"days": "366"}, "less than or equal to 365")],
)  # fmt: skip
def test_a_token_says_what_it_is_for_and_always_ends(client: Client, said: dict[str, str], sentence: str) -> None:
    answer = client.post(reverse("tokens"), {"action": "issue", "name": "x", "days": "30", **said})
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert not ApiToken.objects.exists()


def test_who_can_prove_nothing_issues_none_and_reads_why(client: Client, ana: User) -> None:
    ana.set_unusable_password()
    ana.save()
    client.force_login(ana)
    answer = client.post(reverse("tokens"), {"action": "issue", "name": "x", "days": "30"}, follow=True)
    assert "You have neither a password nor a second factor" in answer.content.decode()
    assert not ApiToken.objects.exists()
