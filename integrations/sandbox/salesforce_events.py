"""The stand-in for Salesforce's Streaming API: Bayeux by long polling, with sessions, cookies, replay ids and what is refused.

Channels are seeded under `"channels"`. A change of a record is an event of `/data/<Object>ChangeEvent` and of
`/data/ChangeEvents` where these are seeded; the action `{"do": "event", "channel": .., "payload": {..}}` publishes another one.

Settings: `sessions_end` (every session is forgotten), `events_expire` (what is kept is purged), `events_left` (deliveries left
today), `restricted` (channels that the user may not subscribe to), `polls_end` (seconds after which a silent poll is answered).
"""

from __future__ import annotations

import re
import secrets
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from integrations.sandbox.store import Store
from integrations.sandbox.vendor import Request, Response

Json = dict[str, Any]
DELIVERIES = 25_000
_PATH = re.compile(r"/cometd(?:/(?P<version>\d+\.\d))?/?")
_LARGEST = 32_768
_COOKIE = "BAYEUX_BROWSER"
_AGAIN = {"reconnect": "handshake", "interval": 0}


@dataclass
class _Session:
    """A client that shook hands: its cookie, whose token it came with, and where it stands on each channel."""

    cookie: str
    token: str
    heard: dict[str, int] = field(default_factory=dict)
    connected: bool = False


class _No(Exception):
    """A message is refused, with Salesforce's words."""

    def __init__(self, error: str, *, advice: Json | None = None, why: str = "") -> None:
        super().__init__(error)
        self.said: Json = {"error": error, "successful": False}
        if advice:
            self.said["advice"] = advice
        if why:
            self.said["ext"] = {"sfdc": {"failureReason": why}, "replay": True, "payload.format": True}


class Events:
    """The event bus of one org and those who listen to it."""

    def __init__(self, store: Store, tokens: set[str]) -> None:
        self._store = store
        self._tokens = tokens
        self._moved = threading.Condition(store.lock)
        self.defaults()

    def defaults(self) -> None:
        """Nobody listens, and everything may be heard."""
        self._sessions: dict[str, _Session] = {}
        self.left = DELIVERIES
        self.restricted: list[str] = []
        self.polls_end = 110.0

    def configure(self, settings: Json) -> None:
        """Take our settings out of those of the stand-in."""
        self.left = int(settings.pop("events_left", self.left))
        self.restricted = list(settings.pop("restricted", self.restricted))
        self.polls_end = float(settings.pop("polls_end", self.polls_end))
        with self._moved:
            if settings.pop("sessions_end", False):
                self._sessions.clear()
            if settings.pop("events_expire", False):
                for key in list(self._store.collection("bus")):
                    del self._store.collection("bus")[key]
            self._moved.notify_all()

    def changed(self, name: str, keys: list[str], kind: str) -> None:
        """Publish that records of an object changed, where its changes are selected."""
        header = {
            "entityName": name, "recordIds": keys, "changeType": kind, "changedFields": [], "sequenceNumber": 1,
            "transactionKey": secrets.token_hex(8), "commitNumber": secrets.randbits(40), "changeOrigin": "",
        }  # fmt: skip
        plain = name.removesuffix("c") if name.endswith("__c") else name
        for channel in (f"/data/{plain}ChangeEvent", "/data/ChangeEvents"):
            if channel in self._store.collection("channels"):
                self.publish(channel, {"ChangeEventHeader": header, "LastModifiedDate": "2026-08-01T08:00:00.000Z"})

    def publish(self, channel: str, payload: Json) -> None:
        """Keep an event for whoever listens, now or later."""
        with self._moved:
            mark = self._store.next_id("replay", 1000)
            told: Json = {"replayId": mark}
            if channel.startswith("/event/"):
                told["EventUuid"] = str(uuid.uuid4())
            data = {"schema": "I8b-dYxvxs5wOtCBr4qsew", "payload": payload, "event": told}
            self._store.collection("bus")[str(mark)] = {"channel": channel, "data": data}
            self._moved.notify_all()

    def answer(self, request: Request) -> Response:
        """Answer the messages of a request; a poll holds its connection until something comes or its time is up."""
        path = _PATH.fullmatch(request.path)
        if path is None or request.method != "POST":
            return Response(404, "<html>Not found</html>", {"Content-Type": "text/html"})
        if len(request.body) > _LARGEST:
            return _whole(413, "413::Maximum Request Size Exceeded")
        if path["version"] is None:
            return _whole(400, "400::API version in the URI is mandatory. URI format: '/cometd/60.0'")
        if float(path["version"]) < 37:
            return _whole(400, "400::Unsupported API version. Only API versions '37.0' and later are supported.")
        messages: list[Json] = request.json()
        answers: list[Json] = []
        headers: dict[str, str] = {}
        with self._moved:
            for message in messages:
                stands = {"channel": message["channel"], "id": message.get("id")}
                try:
                    answers += self._one(message, stands, request, headers)
                except _No as no:
                    answers.append({**stands, **no.said, **_subscription(message)})
        return Response(body=answers, headers=headers)

    def _one(self, message: Json, stands: Json, request: Request, headers: dict[str, str]) -> list[Json]:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if message["channel"] == "/meta/handshake":
            return [self._handshake(message, stands, token, headers)]
        client = str(message.get("clientId") or "")
        session = self._sessions.get(client)
        if session is None:
            raise _No("403::Unknown client", advice=_AGAIN)
        if f"{_COOKIE}={session.cookie}" not in request.headers.get("Cookie", ""):
            raise _No(f"400::Client {client} has established a session, but no {_COOKIE} cookie present")
        if token not in self._tokens or token != session.token:
            raise _No("401::Authentication invalid", advice={"reconnect": "none", "interval": 0})
        stands |= {"clientId": client, "successful": True}
        match message["channel"]:
            case "/meta/subscribe":
                self._subscribe(session, message)
                return [{**stands, **_subscription(message)}]
            case "/meta/connect":
                return self._connect(session, message, stands)
            case "/meta/disconnect":
                del self._sessions[client]
                return [stands]
            case other:
                raise _No(f"400::Unknown channel {other}")

    def _handshake(self, message: Json, stands: Json, token: str, headers: dict[str, str]) -> Json:
        if not token or token not in self._tokens:
            why = "401::Authentication invalid" if token else "401::Request requires authentication"
            raise _No("403::Handshake denied", advice={"reconnect": "none"}, why=why)
        if "long-polling" not in message.get("supportedConnectionTypes", ()):
            raise _No(f"400::Invalid connection type {message.get('supportedConnectionTypes')}")
        client, cookie = secrets.token_hex(14), secrets.token_hex(16)
        self._sessions[client] = _Session(cookie, token)
        headers["Set-Cookie"] = f"{_COOKIE}={cookie}; Path=/cometd; Expires=Wed, 01 Jan 2053 00:00:00 GMT; HttpOnly"
        return {
            **stands, "clientId": client, "successful": True, "version": "1.0", "minimumVersion": "1.0",
            "supportedConnectionTypes": ["long-polling"], "ext": {"replay": True, "payload.format": True},
        }  # fmt: skip

    def _subscribe(self, session: _Session, message: Json) -> None:
        channel = str(message.get("subscription") or "")
        if not channel:
            raise _No("400::Channel name not specified")
        if not channel.startswith("/"):
            raise _No("400::Channel subscriptions must start with a leading '/'")
        if channel not in self._store.collection("channels"):
            raise _No(f"400::The channel you requested to subscribe to does not exist {{{channel}}}")
        if channel in self.restricted:
            raise _No("403::User not allowed to subscribe CDC without View All Data permissions")
        self._deliverable()
        replay = message.get("ext", {}).get("replay", {})
        if channel not in replay:
            raise _No(
                f"400::The replayId for channel {{{channel}}} wasn't found using the provided replay ID map {{{replay}}}. Ensure "
                "that the channel name you provided in the replay map is valid and matches the channel name used for subscribing."
            )
        mark, kept = int(replay[channel]), self._kept(channel)
        if mark not in (-1, -2) and mark not in kept:
            raise _No(
                f"400::The replayId {{{mark}}} you provided was invalid.  Please provide a valid ID, -2 to replay all events, or "
                "-1 to replay only new events."
            )
        session.heard[channel] = max(kept, default=0) if mark == -1 else max(mark, 0)

    def _connect(self, session: _Session, message: Json, stands: Json) -> list[Json]:
        if message.get("connectionType") != "long-polling":
            raise _No(f"400::Invalid connection type {message.get('connectionType')}")
        wanted = message.get("advice", {}).get("timeout")
        seconds = self.polls_end if wanted is None else min(self.polls_end, wanted / 1000)
        if not session.connected:  # the first one tells the advice at once
            session.connected, seconds = True, 0.0
        client = stands["clientId"]
        self._moved.wait_for(lambda: self._waiting(session) or client not in self._sessions, seconds)
        if client not in self._sessions:
            raise _No("403::Unknown client", advice=_AGAIN)
        events = self._waiting(session)
        if events:
            self._deliverable()
            self.left -= len(events)
        for event in events:
            session.heard[event["channel"]] = event["data"]["event"]["replayId"]
        stands["advice"] = {"reconnect": "retry", "interval": 0, "timeout": 110_000}
        return [*events, stands]

    def _deliverable(self) -> None:
        if self.left <= 0:
            raise _No("403::Organization total events daily limit exceeded", advice={"reconnect": "none"})

    def _kept(self, channel: str) -> list[int]:
        return [int(key) for key, one in self._store.collection("bus").items() if one["channel"] == channel]

    def _waiting(self, session: _Session) -> list[Json]:
        """The events that a session has not had yet, oldest first."""
        found = sorted(self._store.collection("bus").items(), key=lambda one: int(one[0]))
        return [
            dict(one) for key, one in found if one["channel"] in session.heard and int(key) > session.heard[one["channel"]]
        ]  # fmt: skip


def _subscription(message: Mapping[str, Any]) -> Json:
    return {"subscription": message["subscription"]} if message.get("subscription") else {}


def _whole(status: int, error: str) -> Response:
    """The refusal of a request before its messages are read."""
    return Response(status, [{"channel": "/meta/handshake", "error": error, "successful": False}])
