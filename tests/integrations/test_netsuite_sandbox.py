"""The stand-ins keep what was written, refuse what the vendor refuses, and fail exactly as they are told to."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from integrations.http import Outgoing
from integrations.sandbox.netsuite.errors import RefusedError
from integrations.sandbox.netsuite.records import Records
from integrations.sandbox.netsuite.suiteql import SuiteQL
from integrations.sandbox.netsuite.vendor import NetSuiteSandbox
from integrations.sandbox.server import SandboxServer, control, sandbox_server
from integrations.sandbox.store import Store
from portal.records import Receipt
from tests.integrations import netsuite_account
from tests.integrations.contract import Bench
from tests.integrations.netsuite_account import time_posting, time_postings

RECORD = "/services/rest/record/v1"


def call(bench: Bench, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], Any]:
    """One signed call, past every rule of our own client."""
    connector = bench.build()
    connector.check()
    signed = Outgoing(method, bench.sandbox, {}, None)
    connector.http.auth(signed)
    connection = http.client.HTTPConnection(urlsplit(bench.sandbox).netloc, timeout=5)
    sent = {**signed.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
    connection.request(method, f"/netsuite{path}", None if body is None else json.dumps(body), sent)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.headers.items()), json.loads(content) if content else None


def said(body: Any) -> tuple[str, str]:
    (detail,) = body["o:errorDetails"]
    return detail["o:errorCode"], detail["detail"]


class TestRecords:
    def test_a_record_that_is_not_there_is_answered_as_recorded(self, netsuite: Bench) -> None:
        status, headers, body = call(netsuite, "GET", f"{RECORD}/employee/999999")
        assert (status, said(body)[0]) == (404, "NONEXISTENT_ID")
        assert headers["Content-Type"].startswith("application/vnd.oracle.resource+json; type=error")
        status, _, body = call(netsuite, "GET", f"{RECORD}/expensereport/eid:none")
        assert (status, said(body)[0]) == (400, "USER_ERROR")
        assert "Transaction type specified is incorrect." in said(body)[1]
        status, _, body = call(netsuite, "GET", f"{RECORD}/file/1")
        assert (status, said(body)[1]) == (404, "Record type 'file' does not exist.")
        assert body["o:errorDetails"][0]["o:errorUrl"] == f"{RECORD}/file"

    def test_unknown_fields_are_ignored_unless_the_caller_asks_for_an_error(self, netsuite: Bench) -> None:
        bill = {"employee": {"id": "22"}, "hours": "1:00", "tranDate": "2026-09-01", "nonsense": 1}
        status, headers, _ = call(netsuite, "POST", f"{RECORD}/timebill", bill)
        assert status == 204
        assert headers["Location"].rsplit("/", 1)[-1].isdigit()
        status, _, body = call(netsuite, "POST", f"{RECORD}/timebill", bill, X_NetSuite_PropertyNameValidation="Error")
        assert (status, said(body)[0]) == (400, "INVALID_CONTENT")
        assert body["o:errorDetails"][0]["o:errorPath"] == "nonsense"

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"hours": "7.5"}, "'hours'"),
            ({"hours": "1:60"}, "'hours'"),
            ({"tranDate": "9/1/2026"}, "'tranDate'"),
            ({"isBillable": "T"}, "'isBillable'"),
            ({"rate": "145"}, "'rate'"),
            ({"employee": "22"}, "'employee'"),
            ({"memo": "x" * 4001}, "memo contained more than"),
            ({"customer": {"id": "1514"}}, "Please enter value(s) for: item"),
            ({"hours": ""}, "'hours'"),
        ],
    )
    def test_values_of_the_wrong_form_are_refused(self, netsuite: Bench, changes: dict[str, Any], words: str) -> None:
        bill = {"employee": {"id": "22"}, "hours": "1:00", "tranDate": "2026-09-01", **changes}
        status, _, body = call(netsuite, "POST", f"{RECORD}/timebill", bill)
        assert status == 400
        assert words in said(body)[1]

    def test_lines_are_added_unless_they_are_to_be_replaced(self, netsuite: Bench) -> None:
        report = {
            "entity": {"id": "22"}, "tranDate": "2026-09-01",
            "expense": {"items": [{"category": {"id": "5"}, "amount": 10}]},
        }  # fmt: skip
        for path in ("eid:a", "eid:a", "eid:b", "eid:b?replace=expense"):
            assert call(netsuite, "PUT", f"{RECORD}/expensereport/{path}", report)[0] == 204
        reports = netsuite.control("netsuite/inspect")["expensereports"]
        assert [len(found["expense"]["items"]) for found in reports] == [2, 1]
        shown = call(netsuite, "GET", f"{RECORD}/expensereport/eid:a")[2]
        assert "expense" not in shown
        assert "expense" in call(netsuite, "GET", f"{RECORD}/expensereport/eid:a?expandSubResources=true")[2]

    def test_paging_keeps_the_vendors_bounds(self, netsuite: Bench) -> None:
        for query in ("limit=1001", "limit=10&offset=5", "limit=0", "limit=x", "limit=1&offset=1000"):
            assert call(netsuite, "GET", f"{RECORD}/employee?{query}")[0] == 400
        body = call(netsuite, "GET", f"{RECORD}/employee?limit=1&offset=1")[2]
        assert (body["count"], body["hasMore"], body["totalResults"], body["items"][0]["id"]) == (1, False, 2, "23")

    def test_batches_are_asynchronous_only_and_bounded(self, netsuite: Bench) -> None:
        collection = "application/vnd.oracle.resource+json; type=collection"
        body = {"items": [{"externalId": "x"}]}
        assert call(netsuite, "PUT", f"{RECORD}/timebill", body, Content_Type=collection)[0] == 400
        many = {"items": [{"externalId": str(n)} for n in range(101)]}
        answer = call(netsuite, "PUT", f"{RECORD}/timebill", many, Content_Type=collection, Prefer="respond-async")
        assert answer[0] == 400

    def test_nobody_gets_in_without_good_credentials(self, sandbox: str) -> None:
        for authorization in ("", "Bearer nonsense", "Basic eDp5", 'OAuth oauth_token="x"'):
            connection = http.client.HTTPConnection(urlsplit(sandbox).netloc, timeout=5)
            connection.request("GET", f"/netsuite{RECORD}/employee/22", headers={"Authorization": authorization})
            answer = connection.getresponse()
            assert answer.status == 401
            assert said(json.loads(answer.read()))[0] == "INVALID_LOGIN"
            connection.close()


@pytest.fixture(scope="module")
def suiteql() -> Iterator[SuiteQL]:
    store = Store(None)
    vendor = NetSuiteSandbox(store)
    vendor.seed(netsuite_account.SEED)
    yield vendor.suiteql
    store.close()


class TestSuiteQL:
    def rows(self, suiteql: SuiteQL, query: str, *params: Any) -> list[dict[str, str]]:
        return suiteql.run(query, params, 1000, 0)[0]

    @pytest.mark.parametrize(
        ("query", "params", "rows"),
        [
            ("SELECT id FROM employee WHERE isinactive = 'F'", (), [{"id": "22"}]),
            ("select E.ID from Employee e where e.entityid like 'E-2%' order by e.id desc", (), [{"id": "23"}, {"id": "22"}]),
            ("SELECT id FROM job WHERE id IN (?, ?) AND NOT allowtime = 'F' ORDER BY id", (1514, "1515"), None),
            ("SELECT j.id, BUILTIN.DF(j.parent) AS p FROM job j WHERE j.id = 1514", (), [{"id": "1514", "p": "220"}]),
            ("SELECT startdate FROM job WHERE id = 1514", (), [{"startdate": "1/1/2026"}]),
            ("SELECT TO_CHAR(startdate, 'YYYY-MM-DD') AS d FROM job WHERE id = 1514", (), [{"d": "2026-01-01"}]),
            ("SELECT id FROM customer WHERE parent IS NULL", (), [{"id": "220"}]),
            ("SELECT id FROM customer WHERE parent IS NOT NULL AND parent = ?", (220,), [{"id": "221"}]),
            ("SELECT r.id, c.symbol FROM customer r LEFT JOIN currency c ON c.id = r.currency WHERE r.id = 221", (),
             [{"id": "221", "symbol": "EUR"}]),
            ("SELECT id FROM accountingperiod WHERE startdate BETWEEN TO_DATE('2026-03-01', 'YYYY-MM-DD') AND "
             "TO_DATE(?, 'YYYY-MM-DD') AND (closed = 'T' OR closed = 'F')", ("2026-03-31",), [{"id": "103"}]),
            ("SELECT recordid, type FROM deletedrecord", (), [{"recordid": "1499", "type": "job"}]),
        ],
    )  # fmt: skip
    def test_what_is_understood(
        self, suiteql: SuiteQL, query: str, params: tuple[Any, ...], rows: list[dict[str, str]] | None
    ) -> None:
        found = self.rows(suiteql, query, *params)
        if rows is not None:
            assert found == rows
        assert all(isinstance(value, str) for row in found for value in row.values())

    @pytest.mark.parametrize(
        "query",
        [
            "SELECT id FROM invoice",
            "SELECT socialsecuritynumber FROM employee",
            "SELECT * FROM employee",
            "SELECT COUNT(id) FROM employee",
            "SELECT id FROM employee GROUP BY id",
            "SELECT id FROM employee UNION SELECT id FROM job",
            "SELECT id FROM employee; DROP TABLE ns_record",
            "SELECT id FROM employee WHERE id = (SELECT id FROM job)",
            "SELECT id FROM employee WHERE id",
            "SELECT id FROM employee ORDER id",
            "SELECT id FROM ns_record",
            "SELECT id FROM sqlite_master",
            "SELECT TO_CHAR(hiredate, 'DD.MM.YYYY') AS d FROM employee",
            "SELECT load_extension('x') FROM employee",
            "SELECT id FROM employee WHERE id = ?",
            "DELETE FROM employee",
            "SELECT id FROM customer c JOIN job j ON c.id = j.parent",
            "SELECT id",
            "",
            "SELECT id FROM employee WHERE entityid = 'open",
        ],
    )
    def test_what_is_not_understood_is_refused_in_the_vendors_words(self, suiteql: SuiteQL, query: str) -> None:
        with pytest.raises(RefusedError) as refused:
            self.rows(suiteql, query)
        body = refused.value.response.body
        assert said(body)[0] == "INVALID_PARAMETER"
        assert said(body)[1].startswith("Invalid search query. Detailed unprocessed description follows.")

    def test_a_query_without_its_header_is_refused(self, netsuite: Bench) -> None:
        status, _, body = call(netsuite, "POST", "/services/rest/query/v1/suiteql", {"q": "SELECT id FROM job"})
        assert (status, said(body)[0]) == (400, "INVALID_HEADER")


class TestServer:
    def test_what_was_written_survives_a_killed_process(self, tmp_path: Path) -> None:
        def start() -> tuple[subprocess.Popen[str], str]:
            process = subprocess.Popen(
                [sys.executable, "-m", "integrations.sandbox", "--port", "0", "--state", str(tmp_path), "--vendor", "netsuite"],
                stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
            assert process.stdout is not None
            return process, process.stdout.readline().split()[1]

        process, base_url = start()
        try:
            control(base_url, "POST", "netsuite/seed", netsuite_account.SEED)
            posting = time_posting()
            (outcome,) = netsuite_account.bench(base_url).build().push([posting])
            assert isinstance(outcome, Receipt)
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        process, base_url = start()
        try:
            assert control(base_url, "GET", "netsuite/inspect")["records_by_external_id"]["timebill"] == {
                posting.key: 1
            }
            bench = netsuite_account.bench(base_url)
            assert bench.build().find([posting.key])[posting.key].number == outcome.number
            (second,) = bench.build().push([time_posting()])
            assert isinstance(second, Receipt)
            assert second.number != outcome.number
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()
            process.communicate()

    def test_a_port_that_is_taken_is_one_clear_sentence(self, sandbox: str) -> None:
        port = str(urlsplit(sandbox).port)
        ended = subprocess.run(
            [sys.executable, "-m", "integrations.sandbox", "--port", port, "--vendor", "netsuite"],
            capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
        assert ended.returncode == 1
        assert ended.stderr.startswith(f"The sandbox cannot listen on 127.0.0.1:{port}")
        assert "Traceback" not in ended.stderr

    def test_a_fault_strikes_only_what_it_matches_and_only_so_often(self, netsuite: Bench) -> None:
        connector = netsuite.build()
        connector.check()
        netsuite.fault(netsuite.write, kind="status", status=503, after=1, times=2, body="Mark")
        memos = ["other", "Mark", "other", "Mark", "Mark", "Mark"]
        outcomes = [connector.push([time_posting(memo=memo)])[0] for memo in memos]
        assert [isinstance(outcome, Receipt) for outcome in outcomes] == [True, True, True, False, False, True]
        assert netsuite.control("faults") == []

    @pytest.mark.parametrize(
        "fault",
        [{"vendor": "netsuite", "kind": "sulking"}, {"kind": "slow"}, {"vendor": "nobody", "kind": "slow"},
         {"vendor": "netsuite", "kind": "slow", "colour": "red"}],
    )  # fmt: skip
    def test_a_fault_that_does_not_exist_is_refused(self, sandbox: str, fault: dict[str, str]) -> None:
        with pytest.raises(ValueError, match="400"):
            control(sandbox, "POST", "faults", [fault])

    def test_another_hosts_name_is_not_answered(self, sandbox: str) -> None:
        connection = http.client.HTTPConnection(urlsplit(sandbox).netloc, timeout=5)
        connection.request("GET", "/_sandbox/health", headers={"Host": "evil.example.com"})
        assert connection.getresponse().status == 421
        connection.close()

    def test_it_listens_on_this_machine_only(self) -> None:
        server = SandboxServer(0, None, ["netsuite"])
        try:
            assert server.server_address[0] == "127.0.0.1"
        finally:
            server.server_close()
            server.vendors["netsuite"].store.close()

    def test_every_call_is_counted_and_the_most_at_once_is_known(self, netsuite: Bench) -> None:
        before = netsuite.control("netsuite/inspect")["calls"]
        connector = netsuite.build()
        for posting in time_postings(3):
            connector.push([posting])
        seen = netsuite.control("netsuite/inspect")
        calls = [call for call in netsuite.control("netsuite/calls") if call["method"] == "PUT"]
        assert seen["calls"] - before == len(netsuite.control("netsuite/calls")) - before
        assert seen["max_in_flight"] == 1
        assert [call["status"] for call in calls][-3:] == [204] * 3
        assert seen["most_records_under_one_external_id"] == 1

    def test_an_unknown_setting_is_refused(self, netsuite: Bench) -> None:
        with pytest.raises(ValueError, match="no setting"):
            netsuite.control("netsuite/configure", {"mood": "bad"})

    def test_two_servers_do_not_share_their_memory(self) -> None:
        with sandbox_server(names=["netsuite"]) as one, sandbox_server(names=["netsuite"]) as other:
            control(one, "POST", "netsuite/seed", {"records": {"timeBill": [{"id": "1", "externalId": "k"}]}})
            assert control(one, "GET", "netsuite/inspect")["records_by_external_id"]["timebill"] == {"k": 1}
            assert control(other, "GET", "netsuite/inspect")["records_by_external_id"]["timebill"] == {}


class TestStore:
    def test_documents_keep_their_order_and_outlive_the_store(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "x.sqlite3")
        documents = store.collection("things")
        for name in ("b", "a", "c"):
            documents[name] = {"n": name}
        documents["a"] = {"n": "changed"}
        del documents["c"]
        assert [store.next_id("n", 10), store.next_id("n", 10)] == [10, 11]
        store.close()
        store = Store(tmp_path / "x.sqlite3")
        assert list(store.collection("things").items()) == [("b", {"n": "b"}), ("a", {"n": "changed"})]
        assert store.next_id("n", 10) == 12
        store.clear()
        assert dict(store.collection("things")) == {}
        assert store.next_id("n", 10) == 10
        store.close()

    def test_a_deleted_record_is_gone_and_remembered_as_such(self) -> None:
        vendor = NetSuiteSandbox(Store(None))
        vendor.seed(netsuite_account.SEED)
        assert isinstance(vendor.records, Records)
        vendor.seed({"delete": [{"type": "job", "id": "1514"}]})
        assert vendor.records.get("job", "1514") is None
        rows, total = vendor.suiteql.run("SELECT recordid FROM deletedrecord ORDER BY recordid", [], 10, 0)
        assert (rows, total) == ([{"recordid": "1499"}, {"recordid": "1514"}], 2)
        vendor.store.close()
