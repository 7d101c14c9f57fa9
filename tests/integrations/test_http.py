"""The way out of the house: where it may lead, what each outcome is called, what is kept of it and what never is."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from integrations.errors import ConnectorError, InDoubt, Malformed, Rejected, Unauthorised, Unavailable
from integrations.http import ForbiddenAddress, Http, Outgoing, Rate, TokenCache, multipart, odata, pacing, recording
from integrations.http.addresses import check_peer, check_url
from integrations.http.outcomes import retry_after
from integrations.http.recording import BODY_LIMIT, HIDDEN
from integrations.http.refusals import narrowed
from integrations.protocol import Account

SECRET = "canary/secret+value=1"  # has other spellings in URLs
Reply = Callable[[BaseHTTPRequestHandler, bytes], None]


class Vendor:
    """A server that answers as a test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.connections = 0
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                vendor.connections += 1
                super().setup()

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                vendor.seen.append((self.command, self.path, dict(self.headers.items()), body))
                reply = vendor.replies.pop(0) if vendor.replies else answer()
                reply(self, body)

            do_POST = do_PUT = do_DELETE = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self.server.server_address[1]}"


def answer(status: int = 200, body: Any = None, **headers: str) -> Reply:
    """A whole answer; a body that is not bytes is sent as JSON."""

    def reply(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        content = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        handler.send_response(status)
        sent = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        for name, value in sent.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return reply


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    found = Vendor()
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join(5)


def client(base_url: str, *, rate: Rate | None = None, **settings: Any) -> Http:
    account = Account(code="acme", base_url=base_url, settings=settings, secrets={"token": SECRET, "short": "abc"})
    http = Http(account, hosts=("example.com",), allow_loopback=True, rate=rate)

    def sign(request: Outgoing) -> None:
        request.headers["Authorization"] = f"Bearer {SECRET}"

    http.auth = sign
    return http


def fails(http: Http, method: str = "GET", **more: Any) -> ConnectorError:
    with pytest.raises(ConnectorError) as raised:
        http.request(method, "/x", **more)
    return raised.value


class TestAddresses:
    @pytest.mark.parametrize(
        "url",
        [
            "http://api.example.com",
            "ftp://api.example.com",
            "file:///etc/passwd",
            "https://api.example.com:8443",
            "https://api.example.com:80",
            "https://user@api.example.com",
            "https://user:pass@api.example.com",
            "https://api.example.com@evil.test",
            "https://evil.test",
            "https://notexample.com",
            "https://api.example.com.evil.test",
            "https://api.example.com.",
            "https://\u0435xample.com",
            "https://127.0.0.1",
            "http://localhost",
            "https://[::1]",
            "https://127.1",
            "https://0x7f000001",
            "https://2130706433",
            "https://[::ffff:127.0.0.1]",
            "https://169.254.169.254",
            "https://10.0.0.1",
            "https://api.example.com:99999",
            "https://",
            "api.example.com",
            "",
        ],
    )
    def test_an_address_that_is_not_the_vendors_is_refused(self, url: str) -> None:
        with pytest.raises(ForbiddenAddress):
            check_url(url, hosts=("example.com",), allow_loopback=False)

    @pytest.mark.parametrize("url", ["https://127.1", "http://0x7f000001", "https://evil.test", "http://10.0.0.1:80"])
    def test_loopback_being_allowed_allows_nothing_else(self, url: str) -> None:
        with pytest.raises(ForbiddenAddress):
            check_url(url, hosts=("example.com",), allow_loopback=True)

    def test_the_vendors_hosts_are_allowed(self) -> None:
        for url in ("https://example.com/x", "https://API.Example.com:443/x", "https://a.b.example.com"):
            check_url(url, hosts=(".example.com",), allow_loopback=False)
        for url in ("http://127.0.0.1:9000/x", "http://localhost:1", "http://[::1]:8080"):
            check_url(url, hosts=(), allow_loopback=True)

    @pytest.mark.parametrize(
        "peer",
        [
            "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
            "100.127.255.255", "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
            "::1", "::", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
            "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1",
        ],
    )  # fmt: skip
    def test_a_peer_that_is_not_on_the_public_internet_is_refused(self, peer: str) -> None:
        with pytest.raises(ForbiddenAddress):
            check_peer(peer, allow_loopback=False)

    def test_a_public_peer_is_taken_and_loopback_only_where_allowed(self) -> None:
        check_peer("93.184.216.34", allow_loopback=False)
        check_peer("2606:4700:4700::1111", allow_loopback=False)
        check_peer("127.0.0.1", allow_loopback=True)
        check_peer("::ffff:127.0.0.1", allow_loopback=True)
        with pytest.raises(ForbiddenAddress):
            check_peer("10.0.0.1", allow_loopback=True)

    def test_a_name_that_resolves_to_this_machine_gets_not_one_byte(self, monkeypatch: pytest.MonkeyPatch) -> None:
        received: list[bytes] = []
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]

            def accept() -> None:
                connection, _ = listener.accept()
                connection.settimeout(2)
                with connection, contextlib.suppress(OSError):
                    received.append(connection.recv(1000))

            thread = threading.Thread(target=accept)
            thread.start()
            monkeypatch.setattr(
                socket,
                "getaddrinfo",
                lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))],
            )
            account = Account(code="a", base_url="https://api.example.com")
            with recording() as exchanges, pytest.raises(ForbiddenAddress):
                Http(account, hosts=("example.com",)).request("POST", "/x", json={"a": 1})
            thread.join(5)
        assert received == [b""]
        assert exchanges[0].status is None
        assert "ForbiddenAddress" in exchanges[0].error

    def test_a_link_to_another_server_is_not_followed(self, vendor: Vendor) -> None:
        for link in (
            "http://127.0.0.1:1/next",
            "https://api.example.com/next",
            vendor.base_url.replace("http", "https"),
        ):
            with pytest.raises(Malformed):
                client(vendor.base_url).request("GET", link)
        assert vendor.seen == []
        client(vendor.base_url).request("GET", f"{vendor.base_url}/next?page=2")
        assert vendor.seen[0][1] == "/next?page=2"

    def test_a_redirect_is_not_followed(self, vendor: Vendor) -> None:
        for status in (301, 302, 303, 307, 308):
            vendor.replies = [answer(status, Location=f"{vendor.base_url}/private")]
            assert isinstance(fails(client(vendor.base_url)), Unavailable)
            vendor.replies = [answer(status, Location=f"{vendor.base_url}/private")]
            assert isinstance(fails(client(vendor.base_url), "POST", json={}), InDoubt)
        assert {path for _, path, *_ in vendor.seen} == {"/x"}

    def test_the_environment_has_no_say(self, vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        assert client(vendor.base_url).request("GET", "/x").status == 200

    def test_cookies_are_not_carried_from_one_account_to_the_next(self, vendor: Vendor) -> None:
        vendor.replies = [answer(200, Set_Cookie="session=1; Path=/")]
        client(vendor.base_url).request("GET", "/x")
        client(vendor.base_url).request("GET", "/x")
        assert "Cookie" not in vendor.seen[1][2]


class TestOutcomes:
    @pytest.mark.parametrize(
        ("status", "reads", "writes"),
        [
            (400, Rejected, Rejected), (401, Unauthorised, Unauthorised), (403, Unauthorised, Unauthorised),
            (404, Rejected, Rejected), (405, Rejected, Rejected), (408, Unavailable, Unavailable),
            (409, Rejected, Rejected), (422, Rejected, Rejected), (425, Unavailable, Unavailable),
            (429, Unavailable, Unavailable), (500, Unavailable, InDoubt), (501, Unavailable, InDoubt),
            (502, Unavailable, InDoubt), (503, Unavailable, Unavailable), (504, Unavailable, InDoubt),
        ],
    )  # fmt: skip
    def test_a_status_is_one_error(
        self, vendor: Vendor, status: int, reads: type[ConnectorError], writes: type[ConnectorError]
    ) -> None:
        for method, body, expected in (("GET", None, reads), ("POST", {}, writes), ("DELETE", None, writes)):
            vendor.replies = [answer(status, {"message": "no", "amount": 1.10}, X_Note="kept")]
            error = fails(client(vendor.base_url), method, json=body)
            assert type(error) is expected
            assert error.status == status
            assert error.body == {"message": "no", "amount": Decimal("1.1")}
            assert error.headers["x-note"] == "kept"
            assert "no" in error.detail

    def test_a_search_that_is_posted_is_a_read(self, vendor: Vendor) -> None:
        vendor.replies = [answer(500), answer(200, b"not json")]
        assert type(fails(client(vendor.base_url), "POST", json={}, writes=False)) is Unavailable
        assert type(fails(client(vendor.base_url), "POST", json={}, writes=False)) is Unavailable

    @pytest.mark.parametrize("status", [404, 405, 410])
    def test_a_page_that_says_not_found_proves_nothing(self, vendor: Vendor, status: int) -> None:
        vendor.replies = [answer(status, b"<html>gone</html>", Content_Type="text/html")] * 2
        assert type(fails(client(vendor.base_url))) is Unavailable
        assert type(fails(client(vendor.base_url), "PUT", json={})) is Unavailable

    @pytest.mark.parametrize("body", [b"<html>", b'{"a": 1', b"\xff\xfe", b"{'a': 1}", b"NaN"])
    def test_a_good_status_with_an_unreadable_body_is_no_good_answer(self, vendor: Vendor, body: bytes) -> None:
        vendor.replies = [answer(200, body), answer(201, body), answer(200, body)]
        assert type(fails(client(vendor.base_url))) is Unavailable
        assert type(fails(client(vendor.base_url), "POST", json={})) is InDoubt
        assert client(vendor.base_url).request("GET", "/x", raw=True).content == body

    def test_an_empty_good_answer_has_no_body(self, vendor: Vendor) -> None:
        vendor.replies = [answer(200, b""), answer(204, b"")]
        assert client(vendor.base_url).request("GET", "/x").body is None
        assert client(vendor.base_url).request("DELETE", "/x").status == 204

    def test_numbers_keep_their_digits_both_ways(self, vendor: Vendor) -> None:
        vendor.replies = [answer(200, b'\xef\xbb\xbf{"rate": 145.10, "n": 7, "deep": [{"h": 0.1}]}')]
        body = (
            client(vendor.base_url).request("POST", "/x", json={"rate": Decimal("145.10"), "h": Decimal("0.10")}).body
        )
        assert vendor.seen[0][3] == b'{"rate":145.10,"h":0.10}'
        assert body == {"rate": Decimal("145.10"), "n": 7, "deep": [{"h": Decimal("0.1")}]}
        assert str(body["rate"]) == "145.10"

    @pytest.mark.parametrize("value", [1.5, {"a": [1.5]}, {"a": Decimal("NaN")}, [Decimal("Infinity")]])
    def test_a_float_never_leaves(self, vendor: Vendor, value: Any) -> None:
        with pytest.raises(TypeError):
            client(vendor.base_url).request("POST", "/x", json={"v": value})
        assert vendor.seen == []

    @pytest.mark.parametrize(
        ("given", "seconds"),
        [("7", 7.0), ("0", 0.0), ("-3", 0.0), ("1.5", 1.5), ("", None), ("soon", None), ("nan", None), ("inf", None)],
    )
    def test_retry_after_in_seconds(self, given: str, seconds: float | None) -> None:
        assert retry_after({"retry-after": given}) == seconds

    def test_retry_after_as_a_date_is_held_against_the_vendors_clock(self) -> None:
        theirs = datetime(2020, 1, 1, tzinfo=UTC)
        until = format_datetime(theirs + timedelta(seconds=90), usegmt=True)
        assert retry_after({"retry-after": until, "date": format_datetime(theirs, usegmt=True)}) == 90
        assert retry_after({"retry-after": until}) == 0
        assert (
            80 < (retry_after({"retry-after": format_datetime(datetime.now(UTC) + timedelta(seconds=90))}) or 0) <= 90
        )

    def test_nothing_listening_is_unavailable_even_for_a_write(self) -> None:
        assert type(fails(client("http://127.0.0.1:9"), "POST", json={})) is Unavailable

    def test_a_connection_that_breaks_before_a_byte_was_sent_is_unavailable(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            http = client(f"https://127.0.0.1:{listener.getsockname()[1]}")  # speaks no TLS

            def accept() -> None:
                connection, _ = listener.accept()
                connection.close()

            thread = threading.Thread(target=accept)
            thread.start()
            error = fails(http, "POST", json={})
            thread.join(5)
        assert type(error) is Unavailable

    def test_an_answer_that_drips_is_ended_by_the_deadline(self, vendor: Vendor) -> None:
        def drip(handler: BaseHTTPRequestHandler, _: bytes) -> None:
            with contextlib.suppress(OSError):
                handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
                for _line in range(40):
                    handler.wfile.write(b"X-Drip: 1\r\n")
                    time.sleep(0.1)

        vendor.replies = [drip, drip]
        started = time.monotonic()
        assert type(fails(client(vendor.base_url, total_timeout="0.4"))) is Unavailable
        error = fails(client(vendor.base_url, total_timeout="0.4"), "POST", json={})
        assert type(error) is InDoubt
        assert "0.4 seconds" in error.detail
        vendor.replies = [drip]
        patient = fails(client(vendor.base_url, total_timeout="0.2"), patience=0.4)
        assert "within 0.6 seconds" in patient.detail
        assert time.monotonic() - started < 3.5

    def test_an_answer_cut_short_is_no_answer(self, vendor: Vendor) -> None:
        def cut(handler: BaseHTTPRequestHandler, _: bytes) -> None:
            handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"a":')
            handler.close_connection = True

        vendor.replies = [cut, cut]
        assert type(fails(client(vendor.base_url))) is Unavailable
        assert type(fails(client(vendor.base_url), "PUT", json={})) is InDoubt


class TestCredentials:
    def test_a_refused_call_is_made_once_more_with_fresh_credentials_and_only_once(self, vendor: Vendor) -> None:
        renewed: list[bool] = []

        def renew() -> bool:
            renewed.append(True)
            return True

        http = client(vendor.base_url)
        http.renew = renew
        vendor.replies = [answer(401), answer(200, {"ok": True})]
        assert http.request("POST", "/x", json={"a": 1}).body == {"ok": True}
        assert [call[3] for call in vendor.seen] == [b'{"a":1}'] * 2
        vendor.replies = [answer(401), answer(401)]
        assert type(fails(http)) is Unauthorised
        assert len(renewed) == 2
        assert len(vendor.seen) == 4

    def test_without_fresh_credentials_a_refusal_stands(self, vendor: Vendor) -> None:
        vendor.replies = [answer(401)]
        assert type(fails(client(vendor.base_url))) is Unauthorised
        vendor.replies = [answer(403)]
        http = client(vendor.base_url)
        http.renew = lambda: True
        assert type(fails(http)) is Unauthorised
        assert len(vendor.seen) == 2

    def test_one_thread_asks_for_a_token_while_the_others_wait(self) -> None:
        asked: list[int] = []
        cache = TokenCache()

        def obtain() -> tuple[str, float]:
            asked.append(1)
            time.sleep(0.05)
            return "token", 3600

        got: list[str] = []
        threads = [threading.Thread(target=lambda: got.append(cache.get("a", obtain))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert got == ["token"] * 8
        assert len(asked) == 1
        cache.drop("a")
        cache.get("a", obtain)
        assert len(asked) == 2

    def test_the_identity_changes_with_every_credential_and_shows_none(self, vendor: Vendor) -> None:
        one = Http(Account(code="a", base_url=vendor.base_url, secrets={"k": "secret-one"}))
        two = Http(Account(code="a", base_url=vendor.base_url, secrets={"k": "secret-two"}))
        assert one.identity != two.identity
        assert "secret" not in one.identity


class TestRecording:
    def test_what_went_over_the_wire_is_kept_without_its_secrets(self, vendor: Vendor) -> None:
        vendor.replies = [
            answer(200, {"echo": SECRET, "access_token": "at-canary", "hours": 1.5}, Retry_After="1", X_Internal="no"),
            answer(400, {"message": f"bad token {SECRET}"}),
        ]
        http = client(vendor.base_url)
        http.conceal("run-time-canary")
        with recording() as exchanges:
            http.request(
                "POST", "/x", params={"api_key": "pk-canary", "q": SECRET, "page": "2"},
                json={"token": "body-canary", "note": f"see {SECRET} and run-time-canary", "hours": Decimal("1.50")},
                headers={"X-Api-Key": "hk-canary", "Harvest-Account-Id": "77", "X-NetSuite-Idempotency-Key": "k-1"},
            )  # fmt: skip
            error = fails(http, "POST", data={"client_assertion": "ca-canary", "grant_type": "client_credentials"})
        text = repr(exchanges) + str(error) + error.detail
        for canary in (SECRET, "canary", "canary%2Fsecret", "canary/secret"):
            assert canary not in text
        good, bad = exchanges
        assert (good.method, good.status, bad.status) == ("POST", 200, 400)
        assert good.request_headers["Authorization"] == HIDDEN
        assert good.request_headers["Harvest-Account-Id"] == "77"
        assert good.request_headers["X-NetSuite-Idempotency-Key"] == "k-1"
        assert '"hours":1.50' in good.request_body
        assert "page=2" in good.url
        assert "grant_type=client_credentials" in bad.request_body
        assert good.response_headers["Retry-After"] == "1"
        assert "X-Internal" not in good.response_headers
        assert bad.error.startswith("Rejected: 400")
        assert good.duration_ms >= 0
        assert good.started_at.tzinfo is UTC

    def test_bodies_are_cut_and_no_half_of_a_secret_survives_the_cut(self, vendor: Vendor) -> None:
        filler = "x" * (BODY_LIMIT - len('{"v":"') - len(SECRET) // 2)
        with recording() as exchanges:
            client(vendor.base_url).request("POST", "/x", json={"v": filler + SECRET + "tail"})
        assert len(exchanges[0].request_body) <= BODY_LIMIT
        assert SECRET[:8] not in exchanges[0].request_body

    def test_only_the_thread_that_records_is_recorded_and_blocks_nest(self, vendor: Vendor) -> None:
        http = client(vendor.base_url)
        with recording() as outer:
            http.request("GET", "/x")
            with recording() as inner:
                http.request("GET", "/x")
            thread = threading.Thread(target=lambda: http.request("GET", "/x"))
            thread.start()
            thread.join()
        http.request("GET", "/x")
        assert (len(outer), len(inner), len(vendor.seen)) == (2, 1, 4)

    def test_a_call_without_an_answer_is_recorded_too(self) -> None:
        with recording() as exchanges:
            fails(client("http://127.0.0.1:9"), "POST", json={"a": 1})
        assert exchanges[0].status is None
        assert exchanges[0].error.startswith("Unavailable: Not reached")
        assert exchanges[0].request_body == '{"a":1}'


class TestWordsOfTheVendor:
    """What a vendor says becomes the text of a case, so a secret that it says again is cut out before anybody reads it."""

    SAID = {
        "error": {"code": f"Bad {SECRET}", "message": f"No user {SECRET}", "access_token": "at-canary", "lines": [1.5]}
    }

    def test_a_refusal_that_is_named_by_the_vendors_words_holds_no_secret(self, vendor: Vendor) -> None:
        vendor.replies = [answer(400, self.SAID), answer(401, self.SAID)]
        for method in ("POST", "GET"):
            error = fails(client(vendor.base_url), method)
            named = narrowed(error, odata.said(error.body), ())
            assert named.detail == f"No user {HIDDEN}"
            assert SECRET not in repr((named.detail, vars(named)))
            assert named.body["error"]["access_token"] == HIDDEN
            assert named.body["error"]["lines"] == [Decimal("1.5")]

    def test_nor_does_that_of_a_member_of_a_batch(self, vendor: Vendor) -> None:
        part = f"Content-Type: application/http\r\n\r\nHTTP/1.1 400 Bad\r\n\r\n{json.dumps(self.SAID)}\r\n"
        whole = f"--b\r\n{part}--b--\r\n".encode()
        vendor.replies = [answer(200, whole, Content_Type="multipart/mixed; boundary=b") for _ in range(2)]
        http, members = client(vendor.base_url), [multipart.Member("POST", "x", {})]
        [error] = multipart.carry_out(http, "/batch", members)
        with pytest.raises(Rejected) as raised:
            multipart.together(http, "/batch", members)
        for found in (error, raised.value):
            assert isinstance(found, Rejected)
            assert SECRET not in repr((found.detail, vars(found)))
            assert narrowed(found, odata.said(found.body), ()).detail == f"No user {HIDDEN}"


class TestSpeed:
    def test_connections_are_kept_alive_even_by_another_client(self, vendor: Vendor) -> None:
        for _ in range(5):
            client(vendor.base_url).request("GET", "/x")
        assert vendor.connections == 1

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
    def test_a_forked_child_opens_its_own_connection(self, vendor: Vendor) -> None:
        client(vendor.base_url).request("GET", "/parent")
        child = os.fork()
        if child == 0:
            done = 1
            with contextlib.suppress(BaseException):
                done = int(client(vendor.base_url).request("GET", "/child").status != 200)
            os._exit(done)
        assert os.waitpid(child, 0)[1] == 0
        client(vendor.base_url).request("GET", "/parent")
        assert vendor.connections == 2
        assert [path for _, path, *_ in vendor.seen] == ["/parent", "/child", "/parent"]

    def test_calls_are_paced_to_the_vendors_rate(self, monkeypatch: pytest.MonkeyPatch) -> None:
        slept: list[float] = []
        clock: SimpleNamespace = SimpleNamespace(now=100.0, monotonic=lambda: clock.now, sleep=slept.append)
        monkeypatch.setattr(pacing, "time", clock)
        for _ in range(12):
            assert pacing.pace("paced", Rate(5, 15), patience=60) == 0
        assert slept == [15.0] * 5 + [30.0] * 2
        clock.now += 31
        pacing.pace("paced", Rate(5, 15), patience=60)
        assert slept[7:] == [], "two starts in the last fifteen seconds leave room"

    def test_threads_share_one_window(self) -> None:
        waits: list[float] = []
        threads = [
            threading.Thread(target=lambda: waits.append(pacing.pace("shared", Rate(10, 1000), patience=0)))
            for _ in range(40)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert waits.count(0) == 10
        assert len(waits) == 40

    def test_a_wait_beyond_our_patience_is_unavailable_and_nothing_is_sent(self, vendor: Vendor) -> None:
        http = client(vendor.base_url, rate=Rate(1, 60), total_timeout="1")
        http.request("GET", "/x")
        error = fails(http, "POST", json={})
        assert isinstance(error, Unavailable)
        assert 50 < (error.retry_after or 0) <= 60
        assert len(vendor.seen) == 1
