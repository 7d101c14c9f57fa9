"""Webhooks at the door: what is accepted is committed, what repeats is a no-op, what is forged leaves a digest."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import pytest
from django.db import connection as database
from django.test import Client

from integrations import subscriptions, webhooks
from integrations.errors import ConnectorError, Rejected, Unavailable
from integrations.models import InboxMessage, RefusedDelivery
from portal.models import Connection
from reconciliation.models import ExceptionCase
from tests.integrations import inbound
from tests.integrations.fake_source import FakeSource, signature
from tests.integrations.inbound import Inbound

pytestmark = pytest.mark.django_db

SECRET = "s3cret"


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Inbound:
    return inbound.build(monkeypatch)


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    seen: list[int] = []
    monkeypatch.setattr(webhooks._waker, "wake", seen.append)
    monkeypatch.setattr(webhooks, "_refusals", webhooks._Refusals())
    return seen


def event(*ids: int, delivery: str = "d-1", **more: Any) -> bytes:
    return json.dumps({"delivery": delivery, "ids": ids, **more}).encode()


def deliver(body: bytes, secret: str = SECRET, code: str = "us-time", **environ: Any) -> tuple[int, dict[str, Any]]:
    """One delivery through the front door, as a WSGI server hands it over."""
    said: list[str] = []

    def no_site(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise AssertionError("the delivery went on to the site")

    request = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": f"/hooks/{code}/",
        "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": "application/json",
        "HTTP_X_SIGNATURE": signature(secret, body),
        "HTTP_USER_AGENT": "Vendor/1",
        "REMOTE_ADDR": "203.0.113.9",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        **environ,
    }
    answer = webhooks.FrontDoor(no_site)(request, lambda status, headers: said.append(status))
    return int(said[0][:3]), json.loads(b"".join(answer))


def test_a_delivery_is_committed_before_it_is_accepted(source: Inbound, woken: list[int]) -> None:
    status, content = deliver(event(4711))
    message = InboxMessage.objects.get()
    assert (status, content) == (202, {"id": message.pk})
    assert (message.kind, message.stream, message.external_id, message.revision) == ("hint", "time", "4711", "d-1")
    assert message.payload == {"delivery": "d-1", "ids": [4711]}
    assert message.headers == {"Content-Type": "application/json", "User-Agent": "Vendor/1"}
    assert woken == [source.connection.pk]


def test_one_delivery_of_several_things_is_one_statement(
    source: Inbound, woken: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    commit = webhooks._commit

    def watched(statement: str, parameters: tuple[Any, ...]) -> int | None:
        sent.append(statement)
        return commit(statement, parameters)

    monkeypatch.setattr(webhooks, "_commit", watched)
    deliver(event(1, delivery="first"))
    assert deliver(event(*range(500)))[0] == 202
    assert len(sent) == 2
    assert InboxMessage.objects.count() == 501


@pytest.mark.case(117)
def test_a_repeated_delivery_is_a_no_op(source: Inbound, woken: list[int]) -> None:
    assert deliver(event(1))[0] == 202
    assert deliver(event(1)) == (200, {"duplicate": True})
    assert InboxMessage.objects.count() == 1
    assert len(woken) == 1


@pytest.mark.case(121)
def test_a_retry_whose_envelope_changed_is_the_same_delivery(source: Inbound, woken: list[int]) -> None:
    deliver(event(1, received_at="10:00"))
    assert deliver(event(1, received_at="10:05"))[0] == 200
    assert InboxMessage.objects.count() == 1


@pytest.mark.case(119)
def test_a_forged_delivery_is_refused_and_only_its_digest_is_kept(source: Inbound, woken: list[int]) -> None:
    body = event(1, salary="120000")
    assert deliver(body, secret="guess")[0] == 401
    refused = RefusedDelivery.objects.get()
    assert refused.body_digest == hashlib.sha256(body).hexdigest()
    assert (refused.remote_address, refused.connection) == ("203.0.113.9", source.connection)
    assert "120000" not in str(RefusedDelivery.objects.values())
    assert not InboxMessage.objects.exists()
    assert woken == []


@pytest.mark.case(119)
def test_a_body_that_was_written_anew_does_not_hold(source: Inbound, woken: list[int]) -> None:
    body = event(1)
    assert deliver(body + b" ", HTTP_X_SIGNATURE=signature(SECRET, body))[0] == 401


def test_a_storm_of_forgeries_is_counted_and_not_all_kept(source: Inbound, woken: list[int]) -> None:
    for number in range(webhooks.REFUSALS_KEPT + 20):
        assert deliver(event(number), secret="guess")[0] == 401
    assert RefusedDelivery.objects.count() == webhooks.REFUSALS_KEPT


@pytest.mark.case(123)
def test_during_a_rotation_the_old_and_the_new_secret_hold(
    source: Inbound, woken: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEW_SECRET", "fresh")
    Connection.objects.update(credentials={"secret": {"env": "NEW_SECRET"}, "secret_previous": {"env": "HOOK_SECRET"}})
    webhooks.forget()
    assert deliver(event(1, delivery="old"), secret=SECRET)[0] == 202
    assert deliver(event(1, delivery="new"), secret="fresh")[0] == 202
    Connection.objects.update(credentials={"secret": {"env": "NEW_SECRET"}})
    webhooks.forget()
    assert deliver(event(1, delivery="late"), secret=SECRET)[0] == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"not json", 400),
        (b'{"delivery": "x"}', 400),
        (b"x" * (webhooks.LARGEST_BODY + 1), 413),
    ],
)
def test_what_cannot_be_read_is_told_apart(source: Inbound, woken: list[int], body: bytes, status: int) -> None:
    assert deliver(body)[0] == status
    assert not InboxMessage.objects.exists()


def test_a_body_without_a_length_is_read_no_further_than_the_limit(source: Inbound, woken: list[int]) -> None:
    assert deliver(b"x" * (webhooks.LARGEST_BODY + 10), CONTENT_LENGTH="")[0] == 413
    assert deliver(event(1), CONTENT_LENGTH="")[0] == 202


def test_an_event_that_names_nothing_is_accepted_and_leaves_nothing(source: Inbound, woken: list[int]) -> None:
    assert deliver(event()) == (202, {"id": None})
    assert not InboxMessage.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_body_that_the_database_does_not_take_as_json_is_kept_as_text(source: Inbound, woken: list[int]) -> None:
    assert deliver(event(1, text="nul \x00"))[0] == 202
    assert "nul" in InboxMessage.objects.get().payload["body"]


@pytest.mark.parametrize("changes", [{"code": "nobody"}, {"is_active": False}, {"is_source": False}])
def test_there_is_no_webhook_where_there_is_no_active_source(
    source: Inbound, woken: list[int], changes: dict[str, Any]
) -> None:
    Connection.objects.update(**changes)
    webhooks.forget()
    assert deliver(event(1))[0] == 404


def test_while_our_own_secret_is_missing_the_vendor_is_asked_to_come_again(
    source: Inbound, woken: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOOK_SECRET")
    webhooks.forget()
    assert deliver(event(1))[0] == 503


def test_the_same_door_stands_in_the_sites_addresses(source: Inbound, woken: list[int], client: Client) -> None:
    body = event(9)
    answer = client.post(
        "/hooks/us-time/", body, content_type="application/json", headers={"X-Signature": signature(SECRET, body)}
    )
    assert answer.status_code == 202
    assert client.get("/hooks/us-time/").status_code == 405


class TestHandshake:
    """A vendor tries our address before it believes it."""

    @pytest.fixture(autouse=True)
    def _subscriber(self, source: Inbound, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(FakeSource, "handshake", lambda self, query: query.get("word", ""), raising=False)
        monkeypatch.setattr(FakeSource, "keep_subscriptions", lambda self, address: "", raising=False)

    def greet(self, method: str = "GET", query: str = "word=abc-123", code: str = "us-time") -> tuple[str, bytes]:
        said: list[Any] = []
        environ = {
            "REQUEST_METHOD": method, "PATH_INFO": f"/hooks/{code}/", "QUERY_STRING": query, "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(b""),
        }  # fmt: skip
        door = webhooks.FrontDoor(lambda environ, start_response: [b"site"])
        body = b"".join(door(environ, lambda status, headers: said.append((status, dict(headers)))))
        return (f"{said[0][0]} {said[0][1]['Content-Type']}" if said else "", body)

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_the_word_is_read_back_as_plain_text(self, method: str) -> None:
        assert self.greet(method) == ("200 OK text/plain", b"abc-123")

    @pytest.mark.parametrize("query", ["", "other=1", "word=%3Cscript%3E", "word=" + "x" * 1001])
    def test_nothing_is_read_back_that_is_no_plain_word(self, query: str) -> None:
        assert self.greet(query=query) == ("", b"site")

    def test_a_connection_that_is_not_there_reads_nothing_back(self) -> None:
        assert self.greet(code="other") == ("", b"site")

    def test_the_sites_own_address_reads_it_back_too(self, client: Client) -> None:
        answer = client.get("/hooks/us-time/?word=abc-123")
        assert (answer.status_code, answer.content, answer["Content-Type"]) == (200, b"abc-123", "text/plain")


@pytest.mark.parametrize("failure", [Unavailable("The vendor is down."), Rejected("No such address.")])
def test_a_night_that_cannot_see_to_the_webhooks_is_one_case_until_one_can(
    source: Inbound, monkeypatch: pytest.MonkeyPatch, failure: ConnectorError
) -> None:
    def fails(self: FakeSource, address: str) -> str:
        raise failure

    monkeypatch.setattr(FakeSource, "handshake", lambda self, query: "", raising=False)
    monkeypatch.setattr(FakeSource, "keep_subscriptions", fails, raising=False)
    for _ in range(2):
        subscriptions.keep(source.connection.pk)
    case = ExceptionCase.objects.get(rule="webhooks-not-renewed")
    assert (case.state, case.entity) == ("open", source.entity)
    assert str(failure) in case.sentence
    monkeypatch.setattr(FakeSource, "keep_subscriptions", lambda self, address: "They hold.", raising=False)
    assert subscriptions.keep(source.connection.pk) == "They hold."
    case.refresh_from_db()
    assert case.state == "resolved"


def test_everything_else_is_the_sites() -> None:
    door = webhooks.FrontDoor(lambda environ, start_response: [b"site"])
    for environ in ({"REQUEST_METHOD": "GET", "PATH_INFO": "/hooks/x/"}, {"REQUEST_METHOD": "POST", "PATH_INFO": "/"}):
        assert door(environ, lambda *_: None) == [b"site"]


def test_a_delivery_over_plain_http_is_the_sites_where_tls_is_required(
    source: Inbound, woken: list[int], settings: Any
) -> None:
    settings.SECURE_SSL_REDIRECT = True
    with pytest.raises(AssertionError, match="went on to the site"):
        deliver(event(1))
    assert deliver(event(1), **{"wsgi.url_scheme": "https"})[0] == 202


def test_who_called_is_what_the_trusted_proxy_saw(source: Inbound, woken: list[int], settings: Any) -> None:
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    deliver(event(1), secret="guess", HTTP_X_FORWARDED_FOR="6.6.6.6, 198.51.100.7")
    assert RefusedDelivery.objects.get().remote_address == "198.51.100.7"


@pytest.mark.django_db(transaction=True)
def test_a_database_connection_that_broke_is_made_anew(source: Inbound, woken: list[int]) -> None:
    deliver(event(1, delivery="first"))
    database.connection.close()
    assert deliver(event(2, delivery="second"))[0] == 202
    assert InboxMessage.objects.count() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("secret", [SECRET, "wrong"])
def test_a_restart_of_the_database_costs_no_delivery(source: Inbound, woken: list[int], secret: str) -> None:
    assert deliver(event(1))[0] == 202
    webhooks.forget()
    database.connection.close()  # what a restart leaves behind: a connection that is there and answers nothing
    if secret == SECRET:
        assert deliver(event(2, delivery="d-2"))[0] == 202
        assert InboxMessage.objects.count() == 2
    else:
        webhooks._door("us-time")
        database.connection.close()
        assert deliver(event(2, delivery="d-2"), secret=secret)[0] == 401
        assert RefusedDelivery.objects.count() == 1
