"""Exports: small ones at once, long ones in the background, each noted, limited, scoped twice, and gone in the end."""

from __future__ import annotations

import io
import threading
import zipfile
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from portal import audit, exports
from portal.models import AuditEvent, Export, GrantRole, Notification, User
from portal.screens import exporting
from tests import world
from tests.reconciliation import desk
from tests.reconciliation.firm import Firm, build

pytestmark = pytest.mark.django_db
LEDGER = "/ledger/?tab=stopped&sort=hours"


@pytest.fixture
def firm() -> Firm:
    return build()


@pytest.fixture
def ana(firm: Firm) -> User:
    return world.user("ana", GrantRole.ANALYST, firm.entity)


@pytest.fixture
def client_of_ana(ana: User) -> Client:
    client = Client()
    client.force_login(ana)
    return client


@pytest.fixture
def long(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> Firm:
    """More rows than are given at once."""
    monkeypatch.setattr(exports, "AT_ONCE", 5)
    desk.off_rate(firm, 8)
    return firm


def body(answer: Any) -> str:
    return b"".join(answer.streaming_content).decode("utf-8-sig")


def asked(client: Client, address: str = LEDGER, form: str = "csv", **more: str) -> Export:
    answer = client.post(address, {"export": form, **more})
    assert (answer.status_code, answer["Location"]) == (303, "/exports/")
    return Export.objects.latest("pk")


def data(text: str) -> str:
    """The rows without the heading, which states the moment."""
    return text.split("\r\n\r\n", 1)[1]


def test_a_small_export_is_given_at_once_and_noted(firm: Firm, client_of_ana: Client, ana: User) -> None:
    desk.off_rate(firm, 4)
    text = body(client_of_ana.get(f"{LEDGER}&export=csv"))
    assert "Rows,4" in text
    noted = Export.objects.get()
    assert (noted.person, noted.state, noted.rows, noted.file) == (ana, "direct", 4, "")
    assert noted.address == LEDGER
    assert noted.entities == [firm.entity.pk]
    assert "hours" in noted.columns
    event = AuditEvent.objects.get(action="export.downloaded")
    assert (event.actor, (event.after or {})["rows"]) == (ana, 4)
    assert audit.verify() == []


def test_a_long_export_is_offered_made_in_the_background_and_the_same_file(long: Firm, client_of_ana: Client) -> None:
    offered = client_of_ana.get(f"{LEDGER}&export=csv")
    assert offered.status_code == 200
    assert "8 rows" in offered.content.decode()
    assert not Export.objects.exists()
    export = asked(client_of_ana)
    assert (export.state, export.expected, export.address) == ("waiting", 8, LEDGER)
    page = client_of_ana.get("/exports/").content.decode()
    assert "waiting for a worker" in page
    assert exports.due() == [export.pk]
    exporting.make(export.pk)
    export.refresh_from_db()
    assert (export.state, export.rows, exports.due()) == ("ready", 8, [])
    told = Notification.objects.get()
    assert (told.subject, told.url) == ("Your export is ready: Ledger (CSV), 8 rows", "/exports/")
    answer = client_of_ana.get(f"/exports/{export.pk}/file/")
    assert answer["Content-Disposition"].startswith('attachment; filename="ledger-')
    assert answer["X-Content-Type-Options"] == "nosniff"
    written = body(answer)
    exports.AT_ONCE = 100
    assert data(written) == data(body(client_of_ana.get(f"{LEDGER}&export=csv")))
    assert AuditEvent.objects.filter(action="export.downloaded", object_id=str(export.pk)).count() == 1


def test_excel_is_made_in_the_background_too(long: Firm, client_of_ana: Client) -> None:
    export = asked(client_of_ana, form="xlsx")
    exporting.make(export.pk)
    answer: Any = client_of_ana.get(f"/exports/{export.pk}/file/")
    book = zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content)))
    assert book.read("xl/worksheets/sheet1.xml").count(b"<row ") > 8


def test_the_queue_is_exported_as_causes_or_as_their_entries(firm: Firm, client_of_ana: Client) -> None:
    desk.mistyped(firm, 3)
    desk.off_rate(firm, 4)
    causes = data(body(client_of_ana.get("/exceptions/?export=csv"))).splitlines()
    assert len(causes) == 1 + 2
    text = body(client_of_ana.get("/exceptions/?export=csv&of=entries"))
    assert "Rows,7" in text
    lines = data(text).splitlines()
    assert lines[0].startswith("Cause,Rule,What is wrong,Entity,Entry,Source,Id at source,Work date,Person")
    assert len(lines) == 1 + 7
    assert sum("ACM-2231" in line for line in lines) == 3
    filtered = data(body(client_of_ana.get("/exceptions/?export=csv&of=entries&rule=rate-mismatch"))).splitlines()
    assert len(filtered) == 1 + 4


def test_a_long_export_of_entries_keeps_what_it_is_of(long: Firm, client_of_ana: Client) -> None:
    export = asked(client_of_ana, "/exceptions/?of=entries&tab=open")
    exporting.make(export.pk)
    text = body(client_of_ana.get(f"/exports/{export.pk}/file/"))
    assert len(data(text).splitlines()) == 1 + 8


def test_the_entities_looked_at_are_those_of_the_file(long: Firm, client_of_ana: Client, ana: User) -> None:
    gb = world.entity("GB", "GBP")
    ana.grants.create(entity=gb, role=GrantRole.ANALYST, valid_from="2020-01-01")
    client_of_ana.post("/entities/", {"entity": [long.entity.code]})
    export = asked(client_of_ana)
    assert f"entities={long.entity.code}" in export.address
    exporting.make(export.pk)
    export.refresh_from_db()
    assert export.entities == [long.entity.pk]
    ana.grants.filter(entity=gb).delete()
    assert client_of_ana.get(f"/exports/{export.pk}/file/").status_code == 200


def test_a_grant_that_was_revoked_before_it_is_made_refuses_it(long: Firm, client_of_ana: Client, ana: User) -> None:
    gb = world.entity("GB", "GBP")
    ana.grants.create(entity=gb, role=GrantRole.ANALYST, valid_from="2020-01-01")
    export = asked(client_of_ana)
    ana.grants.filter(entity=long.entity).delete()
    exporting.make(export.pk)
    export.refresh_from_db()
    assert (export.state, export.file != "") == ("failed", True)
    assert "hold no role any more in US" in export.problem
    exports.discard()
    assert not list(exports.storage().listdir("")[1])


def test_a_grant_that_was_revoked_before_the_download_refuses_it(long: Firm, client_of_ana: Client, ana: User) -> None:
    gb = world.entity("GB", "GBP")
    export = asked(client_of_ana)
    exporting.make(export.pk)
    ana.grants.create(entity=gb, role=GrantRole.ANALYST, valid_from="2020-01-01")
    ana.grants.filter(entity=long.entity).delete()
    answer = client_of_ana.get(f"/exports/{export.pk}/file/")
    assert answer.status_code == 403
    assert "hold no role any more in US" in answer.content.decode()
    assert not AuditEvent.objects.filter(action="export.downloaded").exists()


def test_nobody_else_finds_an_export(long: Firm, client_of_ana: Client) -> None:
    export = asked(client_of_ana)
    exporting.make(export.pk)
    other = Client()
    other.force_login(world.user("ben", GrantRole.CONTROLLER, everywhere=True))
    assert other.get(f"/exports/{export.pk}/file/").status_code == 404
    for action in ("cancel", "delete"):
        other.post("/exports/?tab=all", {"action": action, "selected": export.pk})
    export.refresh_from_db()
    assert export.state == "ready"
    assert "Ledger" not in other.get("/exports/?tab=all").content.decode().split("<main")[1]


def test_a_person_who_is_gone_gets_nothing_made(long: Firm, client_of_ana: Client, ana: User) -> None:
    export = asked(client_of_ana)
    User.objects.filter(pk=ana.pk).update(is_active=False)
    exporting.make(export.pk)
    export.refresh_from_db()
    assert export.state == "failed"


def expire_lease(export: Export) -> None:
    Export.objects.filter(pk=export.pk).update(lease_until=timezone.now() - timedelta(hours=1))


def test_what_a_dead_worker_began_another_one_ends(long: Firm, client_of_ana: Client) -> None:
    export = asked(client_of_ana)
    dead = exports.claim(export.pk)
    assert dead is not None
    exports.storage().save(dead.file, io.BytesIO(b"half of"))
    exporting.make(export.pk)
    export.refresh_from_db()
    assert export.state == "running", "a lease that holds is respected"
    expire_lease(export)
    assert exports.due() == [export.pk]
    exporting.make(export.pk)
    export.refresh_from_db()
    assert (export.state, export.fence) == ("ready", 2)
    with pytest.raises(exports.Gone):
        exports.keep(dead, io.BytesIO(b"too late"), rows=1, entities=[])
    assert exports.storage().listdir("")[1] == [export.file]


def test_an_export_that_never_ends_fails_with_a_sentence(long: Firm, client_of_ana: Client) -> None:
    export = asked(client_of_ana)
    for _ in range(exports.TRIES):
        assert exports.claim(export.pk) is not None
        expire_lease(export)
    assert exports.claim(export.pk) is None
    export.refresh_from_db()
    assert (export.state, exports.due()) == ("failed", [])
    assert "never ended" in export.problem


def test_a_cancelled_export_leaves_no_file(long: Firm, client_of_ana: Client) -> None:
    export = asked(client_of_ana)
    held = exports.claim(export.pk)
    assert held is not None
    answer = client_of_ana.post("/exports/", {"action": "cancel", "selected": export.pk})
    assert answer.status_code == 303
    with pytest.raises(exports.Gone):
        exports.go_on(held, 2000)
    with pytest.raises(exports.Gone):
        exports.keep(held, io.BytesIO(b"late"), rows=1, entities=[])
    export.refresh_from_db()
    assert (export.state, exports.storage().listdir("")[1]) == ("cancelled", [])
    assert not Notification.objects.exists()


def test_a_file_expires_and_can_be_deleted_before(long: Firm, client_of_ana: Client) -> None:
    first, second = (asked(client_of_ana) for _ in range(2))
    for export in (first, second):
        exporting.make(export.pk)
    Export.objects.filter(pk=first.pk).update(expires_at=timezone.now() - timedelta(hours=1))
    assert client_of_ana.get(f"/exports/{first.pk}/file/").status_code == 403
    assert exports.discard() == 1
    assert client_of_ana.get(f"/exports/{second.pk}/file/").status_code == 200
    asking = client_of_ana.post("/exports/", {"action": "delete", "selected": second.pk})
    confirmed = asking.context["confirmed"]
    client_of_ana.post("/exports/", {"action": "delete", "selected": second.pk, "confirmed": confirmed})
    assert set(Export.objects.values_list("state", "file")) == {("expired", ""), ("deleted", "")}
    assert exports.storage().listdir("")[1] == []
    assert client_of_ana.get(f"/exports/{second.pk}/file/").status_code == 403


def test_a_person_makes_so_many_exports_and_no_more(long: Firm, client_of_ana: Client, settings: Any) -> None:
    settings.EXPORTS_UNDER_WAY, settings.EXPORTS_AN_HOUR = 2, 4
    for _ in range(3):
        client_of_ana.post(LEDGER, {"export": "csv"})
    assert Export.objects.count() == 2
    assert "2 of your exports are under way" in client_of_ana.get("/exports/").content.decode()
    exports.AT_ONCE = 100
    assert [client_of_ana.get(f"{LEDGER}&export=csv").status_code for _ in range(3)] == [200, 200, 429]
    Export.objects.update(asked_at=timezone.now() - timedelta(hours=2))
    assert client_of_ana.get(f"{LEDGER}&export=csv").status_code == 200


def test_csv_is_written_as_the_persons_spreadsheet_reads_it(firm: Firm, client_of_ana: Client, ana: User) -> None:
    desk.off_rate(firm, 1)
    ana.preferences = {"csv": {"delimiter": "semicolon", "decimal": "comma"}}
    ana.save()
    text = body(client_of_ana.get(f"{LEDGER}&export=csv"))
    assert "Rows;1" in text
    assert ";8,00;" in text
    assert ";8.00;" not in text


def test_an_address_of_an_export_that_no_list_answers_is_no_way_in(long: Firm, client_of_ana: Client) -> None:
    assert client_of_ana.post("/exports/", {"export": "csv"}).status_code == 400, "that list has no export"
    assert not Export.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_workers_one_makes_the_file() -> None:
    firm = build()
    desk.off_rate(firm, 8)
    client = Client()
    client.force_login(world.user("ana", GrantRole.ANALYST, firm.entity))
    export = asked(client)
    together = threading.Barrier(2)

    def work() -> None:
        try:
            together.wait()
            exporting.make(export.pk)
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    export.refresh_from_db()
    assert (export.state, export.fence) == ("ready", 1)
    assert exports.storage().listdir("")[1] == [export.file]
    assert Notification.objects.count() == 1


def test_the_page_of_exports_asks_again_while_something_is_made(long: Firm, client_of_ana: Client) -> None:
    export = asked(client_of_ana)
    part = client_of_ana.get(reverse("exports_making"), {"of": "1"}, headers={"HX-Request": "true"})
    assert (part.status_code, "HX-Trigger" in part) == (200, False)
    exporting.make(export.pk)
    part = client_of_ana.get(reverse("exports_making"), {"of": "1"}, headers={"HX-Request": "true"})
    assert part.status_code == 286
    assert "tieout:changed" in part["HX-Trigger"]
    assert "Download" in client_of_ana.get("/exports/").content.decode()


@pytest.fixture(autouse=True)
def own_storage(settings: Any, tmp_path: Any) -> None:
    """A directory of the test's own."""
    settings.STORAGES = {
        **settings.STORAGES,
        "exports": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(tmp_path)},
        },
    }


@pytest.fixture(autouse=True)
def own_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that change the limit give it back."""
    monkeypatch.setattr(exports, "AT_ONCE", exports.AT_ONCE)
