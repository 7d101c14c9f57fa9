"""What holds for every connector of the registry, side by side: the same shape, and the same way with what vendors call us for.

A connector whose vendor calls us has a sample of such a call here. One without a sample must refuse whatever comes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from integrations import registry, webhooks
from integrations.connectors.files.connector import FilesConnector
from integrations.errors import ConnectorError, InDoubt, Malformed, Rejected, Unauthorised, Unavailable
from integrations.http import Http, Response, outcomes
from integrations.models import InboxMessage, RefusedDelivery
from integrations.protocol import Account, Biller, Delivery, Recipient, Source, Target, holds_hints
from integrations.sandbox import VENDORS
from portal.models import Connection
from portal.records import FIGURES
from tests import world

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(registry.CONNECTORS)
COMPANY = "258bb9c0-0001-4000-8000-000000000001"
PRIVATE = ("salary", "iban", "birth", "bankaccount", "bank_account", "costrate", "cost_rate")
Signed = tuple[dict[str, str], bytes]


@dataclass(frozen=True)
class Sample:
    """How one vendor calls us. `secret` names our secret; `call` signs what it says of a record under a given one.

    `around` is what may stand around the same word when it is repeated; `names` is the record that it is about.
    """

    secret: str
    call: Callable[[str, str], Signed]
    names: tuple[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    realm: str = ""
    signs_body: bool = False  # whether its proof is about what it says, and not only about who says it


def _hmac(secret: str, signed: bytes) -> str:
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def _netsuite(secret: str, around: str) -> Signed:
    body = json.dumps({"id": "1", "records": [{"type": "customer", "id": 220}], "sent_at": around}).encode()
    return {"X-Tieout-Signature": _hmac(secret, body)}, body


def _salesforce(secret: str, around: str) -> Signed:
    said = {"id": "1", "records": [{"object": "Account", "id": "001000000000001AAA"}], "sent_at": around}
    return {"X-Tieout-Secret": secret}, json.dumps(said).encode()


def _tempo(secret: str, around: str) -> Signed:
    said = {"eventType": "worklog.updated", "eventId": "1", "payload": {"tempoWorklogId": 7}, "receivedAt": around}
    body = json.dumps(said).encode()
    stamp = f"2026-09-01T08:00:0{len(around)}Z"
    return {"Tempo-Timestamp": stamp, "Tempo-Signature": _hmac(secret, body + stamp.encode())}, body


def _businesscentral(secret: str, around: str) -> Signed:
    said = {
        "subscriptionId": around, "clientState": secret, "changeType": "updated", "expirationDateTime": around,
        "resource": f"https://host/api/v2.0/companies({COMPANY})/customers(1d115c9c-0005-4000-8000-000000000001)",
        "lastModifiedDateTime": "2026-09-01T08:00:00Z",
    }  # fmt: skip
    return {}, json.dumps({"value": [said]}).encode()


def _clockify(secret: str, around: str) -> Signed:
    del around  # its repetition is the same to the letter
    body = json.dumps({"id": "64c777ddd3fcab07cfbb210c", "workspaceId": "W1"}).encode()
    return {"Clockify-Signature": secret, "Clockify-Webhook-Event-Type": "TIME_ENTRY_UPDATED"}, body


def _stripe(secret: str, around: str) -> Signed:
    said = {"id": "evt_1", "type": "invoice.paid", "data": {"object": {"id": "in_1"}}, "pending_webhooks": len(around)}
    body, stamp = json.dumps(said).encode(), f"{int(time.time()) - len(around)}"
    return {"Stripe-Signature": f"t={stamp},v1={_hmac(secret, f'{stamp}.'.encode() + body)}"}, body


OURS = "s3cret-of-ours"
SAMPLES: Mapping[str, Sample] = {
    "businesscentral": Sample(
        "client_state", _businesscentral, ("customers", "id:1d115c9c-0005-4000-8000-000000000001"), realm=COMPANY
    ),
    "clockify": Sample("webhook_token", _clockify, ("time_entries", "64c777ddd3fcab07cfbb210c"), realm="W1"),
    "netsuite": Sample("hook_secret", _netsuite, ("customers", "220"), signs_body=True),
    "salesforce": Sample("webhook_secret", _salesforce, ("customers", "001000000000001AAA")),
    "stripe": Sample("webhook_secret", _stripe, ("invoices", "in_1"), signs_body=True),
    "tempo": Sample("webhook_secret", _tempo, ("time_entries", "7"), signs_body=True),
}


def connector(
    name: str,
    secrets: Mapping[str, str] | None = None,
    tmp_path: Path | None = None,
    told: Mapping[str, Any] | None = None,
) -> Any:
    """A connector on an account with everything that it needs, and no network behind it."""
    kind: Any = registry.connector_type(name)
    sample = SAMPLES.get(name)
    needed = {setting.name: "x" for setting in kind.settings if setting.required}
    held = {one: needed.pop(one) for one in [s.name for s in kind.settings if s.secret] if one in needed}
    settings = {one: value for one, value in needed.items() if one not in held}
    account = Account(
        code=name, base_url=str(tmp_path or "/nowhere") if kind is FilesConnector else "https://127.0.0.1:1",
        realm=sample.realm if sample else "R1", settings={**settings, **(sample.settings if sample else {}), **(told or {})},
        secrets={**held, **(secrets or {})},
    )  # fmt: skip
    return kind(account, Http(account))


@pytest.mark.parametrize("name", NAMES)
def test_each_is_one_folder_one_page_and_one_stand_in_of_the_same_shape(name: str) -> None:
    """Whoever knows one of them knows where to look in every other."""
    folder = ROOT / "integrations" / "connectors" / name
    page = (ROOT / "docs" / "connectors" / f"{name}.md").read_text()
    assert {"connector.py", "mapping.py", "__init__.py"} <= {one.name for one in folder.iterdir()}
    if name != "files":  # which needs no vendor
        assert (folder / "assumptions.py").is_file()
        assert name in VENDORS or (ROOT / "tests" / name / "server.py").is_file()  # or the system itself
        assert [head for head in ("## Connection", "## What it cannot do", "## Assumptions") if head not in page] == []
    kind: Any = registry.connector_type(name)
    assert kind.__doc__
    assert all(setting.label for setting in kind.settings)


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_source_a_target_a_recipient_or_a_biller_and_says_what_it_takes(name: str, tmp_path: Path) -> None:
    built = connector(name, tmp_path=tmp_path)
    halves = [half for half in (Source, Target, Recipient, Biller) if isinstance(built, half)]
    assert halves
    if isinstance(built, Source):
        assert built.why_untold.endswith(".")
        assert len(set(built.streams)) == len(built.streams)
    for kind, takes in getattr(built, "publishes", {}).items():
        assert takes.figures | set(takes.refuses) == FIGURES[kind]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.case(119)
def test_what_is_not_signed_by_a_secret_of_ours_is_refused_and_so_is_everything_where_there_is_no_secret(
    name: str, tmp_path: Path
) -> None:
    sample = SAMPLES.get(name)
    bodies = [b"", b"{}", b"[]", b'{"id": "1", "records": []}', b'{"value": []}', b"\xff\xfe"]
    calls: list[Signed] = [({"Content-Type": "application/json"}, body) for body in bodies]
    if sample is not None:
        calls.append(sample.call("guessed", "a"))
        if sample.signs_body:
            calls.append((sample.call("s3cret-of-ours", "a")[0], sample.call("s3cret-of-ours", "a")[1] + b" "))
    for secrets in ({}, {sample.secret: "s3cret-of-ours"} if sample else {}):
        source = connector(name, secrets, tmp_path)
        if not isinstance(source, Source):
            return
        for headers, body in calls:
            with pytest.raises((Unauthorised, Malformed)) as refused:
                source.receive(headers, body)
            assert "s3cret-of-ours" not in str(refused.value)


def called(client: Client, code: str, call: Signed) -> int:
    """What the vendor is answered."""
    headers, body = call
    return client.post(f"/hooks/{code}/", body, content_type="application/json", headers=headers).status_code


@pytest.mark.parametrize("name", sorted(SAMPLES))
@pytest.mark.case(119)
@pytest.mark.django_db
def test_what_is_forged_is_refused_at_the_door_counted_and_not_kept_and_what_is_ours_is_taken_once(
    name: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample, kind = SAMPLES[name], registry.connector_type(name)
    monkeypatch.setenv("HOOK_SECRET", OURS)
    monkeypatch.setenv("OTHER_SECRET", "x")
    secrets = {one.name: {"env": "OTHER_SECRET"} for one in kind.settings if one.secret and one.required}
    told = {one.name: "x" for one in kind.settings if one.required and not one.secret}
    connection = Connection.objects.create(
        code=name, name=name, connector=name, entity=world.entity(), base_url="https://127.0.0.1:1", realm=sample.realm or "R1",
        is_source=True, settings={**told, **sample.settings}, credentials={**secrets, sample.secret: {"env": "HOOK_SECRET"}},
    )  # fmt: skip
    webhooks.forget()
    forged = [sample.call("guessed", "a"), ({}, sample.call("guessed", "b")[1])]
    if sample.signs_body:
        headers, body = sample.call(OURS, "a")
        forged.append((headers, body.replace(b"1", b"2", 1)))
    for number, call in enumerate(forged, start=1):
        assert called(client, connection.code, call) == 401
        refused = RefusedDelivery.objects.filter(connection=connection)
        assert refused.count() == number
        kept = refused.latest("pk")
        assert kept.body_digest == hashlib.sha256(call[1]).hexdigest()
        assert OURS not in kept.reason
    assert not InboxMessage.objects.exists()
    for _ in range(2):
        assert called(client, connection.code, sample.call(OURS, "a")) in (200, 202, 204)
    [hint] = InboxMessage.objects.all()
    assert (hint.kind, hint.stream, hint.external_id) == ("hint", *sample.names)
    assert OURS not in str(hint.headers)


@pytest.mark.parametrize("name", sorted(SAMPLES))
@pytest.mark.case(118)
def test_a_call_is_a_hint_that_names_a_record_and_is_never_believed(name: str) -> None:
    sample = SAMPLES[name]
    said = connector(name, {sample.secret: "s3cret"}).receive(*sample.call("s3cret", "a"))
    assert isinstance(said, Delivery)
    assert [(hint.stream, hint.external_id) for hint in said.hints] == [sample.names]


@pytest.mark.parametrize("name", sorted(SAMPLES))
@pytest.mark.case(120)
def test_what_a_call_names_is_read_by_schedule_as_well_so_that_a_call_that_never_came_costs_time_alone(
    name: str,
) -> None:
    stream, _ = SAMPLES[name].names
    built = connector(name, {SAMPLES[name].secret: "s3cret"})
    assert stream in built.streams
    assert not holds_hints(built, stream)


@pytest.mark.parametrize("name", sorted(SAMPLES))
@pytest.mark.case(117, 121)
def test_a_repetition_is_the_same_delivery_whatever_stands_around_it(name: str) -> None:
    sample = SAMPLES[name]
    source = connector(name, {sample.secret: "s3cret"})
    first, again, later = (source.receive(*sample.call("s3cret", around)) for around in ("a", "a", "bb"))
    assert first.delivery_id == again.delivery_id == later.delivery_id
    assert first.delivery_id


@pytest.mark.parametrize("name", sorted(SAMPLES))
@pytest.mark.case(123)
def test_while_a_secret_is_changed_the_old_and_the_new_one_are_both_good_and_a_third_is_not(name: str) -> None:
    sample = SAMPLES[name]
    source = connector(name, {sample.secret: "new-secret", f"{sample.secret}_previous": "old-secret"})
    ids = {source.receive(*sample.call(secret, "a")).delivery_id for secret in ("new-secret", "old-secret")}
    assert len(ids) == 1
    with pytest.raises((Unauthorised, Malformed)):
        source.receive(*sample.call("third-secret", "a"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.case(124)
def test_nothing_asks_for_what_a_person_earns_or_for_their_bank(name: str) -> None:
    folder = ROOT / "integrations" / "connectors" / name
    text = "\n".join(one.read_text().lower() for one in sorted(folder.glob("*.py")))
    asked = [word for word in PRIVATE if word in text.replace('"""', "").replace("no bank accounts", "")]
    assert asked == [], asked


# What the cards say that trackers answer whose refusals have no words of their own; a status says what is done next.
SAID: tuple[tuple[str, int, Any, type[ConnectorError]], ...] = (
    (
        "harvest",
        401,
        {"error": "invalid_token", "error_description": "The access token provided is expired."},
        Unauthorised,
    ),
    ("harvest", 403, {"message": "You are not authorized to perform this action."}, Unauthorised),
    ("harvest", 404, {"status": 404, "error": "Not Found"}, Rejected),
    ("harvest", 422, {"message": "Per page must be less than or equal to 2000"}, Rejected),
    ("harvest", 429, {"message": "You have been throttled."}, Unavailable),
    ("harvest", 503, {"message": "You have been throttled."}, Unavailable),
    ("clockify", 400, {"message": "TIMEENTRY with id 1 doesn't belong to Workspace", "code": 501}, Rejected),
    (
        "clockify",
        401,
        {"message": "Full authentication is required to access this resource", "code": 1000},
        Unauthorised,
    ),
    ("clockify", 403, {"message": "Access is denied", "code": 403}, Unauthorised),
    ("clockify", 429, {"message": "Too many requests"}, Unavailable),
    ("clockify", 500, {"message": "Internal server error"}, InDoubt),
)


@pytest.mark.parametrize(("name", "status", "body", "kind"), SAID, ids=[f"{n}-{s}" for n, s, _, _ in SAID])
def test_what_a_tracker_answers_to_a_write_is_named_by_what_we_do_next(
    name: str, status: int, body: Any, kind: type[ConnectorError]
) -> None:
    del name  # whose words they are; the table is one, because outcomes are decided once
    text = json.dumps(body)
    answer = Response(status=status, headers={"content-type": "application/json"}, content=text.encode(), body=body)
    assert type(outcomes.judge(answer, writes=True, unreadable="", excerpt=text)) is kind


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_that_corrects_what_is_assumed_of_a_vendor_is_heeded(name: str, tmp_path: Path) -> None:
    declared = {setting.name for setting in registry.connector_type(name).settings}
    built = connector(name, tmp_path=tmp_path)
    assert "upstream_timeout" in declared or not hasattr(built, "capabilities"), (
        "whoever is written to says how long it may take"
    )
    told = {"upstream_timeout": 77, "memo_limit": 33, "overlap_minutes": 5}
    again = connector(name, tmp_path=tmp_path, told={one: value for one, value in told.items() if one in declared})
    if "upstream_timeout" in declared:
        assert (again.capabilities.upstream_timeout, built.capabilities.upstream_timeout != 77) == (77.0, True)
    if "memo_limit" in declared:
        assert (again.capabilities.memo_limit, built.capabilities.memo_limit != 33) == (33, True)
    if "overlap_minutes" in declared:
        assert again.account.overlap(again.settings) == timedelta(minutes=5)
