"""One session of Bayeux by long polling, as Salesforce's Streaming API speaks it: handshake, subscribe, connect, disconnect.

The rule here: an error is in the messages, whatever the status of the answer, and is named by what is done next. Events may come
with any answer; they are handed on in their order. Nothing is acknowledged: what is asked for again by its mark comes again.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping
from typing import Any

from integrations.connectors.salesforce import assumptions
from integrations.errors import ConnectorError, Rejected, Unauthorised, Unavailable
from integrations.http import Http

NEW, KEPT = -1, -2  # replay ids: what comes from now on, and everything that is still kept
Message = Mapping[str, Any]
_COOKIE = re.compile(r"(?:^|,)\s*(?P<name>[\w!#$%&'*+.^`|~-]+)=(?P<value>[^;,]*)")
_ATTRIBUTES = frozenset(("expires", "path", "domain", "max-age", "samesite"))


class SessionLost(Exception):
    """The vendor no longer knows the session; another one begins with a handshake and its subscriptions."""


class SignedOut(SessionLost):
    """The token of the session is no longer good; another session begins with a token that is had anew."""


class Forgotten(Exception):
    """The event of a mark is no longer kept."""


class Session:
    """A session with one org. `events` holds what came and was not taken yet."""

    def __init__(self, http: Http, version: str) -> None:
        self._http = http
        self._path = f"/cometd/{version}"
        self._cookies: dict[str, str] = {}
        self._client = ""
        self._number = 0
        self.events: list[Message] = []

    def begin(self) -> None:
        """Shake hands, with another token where this one is not good; what was subscribed before is no longer."""
        self._client, self._cookies, self.events = "", {}, []
        try:
            reply = self._handshake()
        except SignedOut as ended:
            if self._http.renew is None or not self._http.renew():
                raise Unauthorised(str(ended)) from None
            try:
                reply = self._handshake()
            except SignedOut as again:
                raise Unauthorised(str(again)) from None
        self._client = str(reply.get("clientId") or "")
        if not self._client or not part(reply, "ext").get("replay"):
            raise Rejected("Salesforce begins no session whose events can be read again.")

    def subscribe(self, channel: str, mark: int) -> None:
        """Hear what comes on a channel after a mark. Raises Forgotten, SessionLost, or Rejected where it may not be heard."""
        self._call("/meta/subscribe", subscription=channel, ext={"replay": {channel: mark}})

    def connect(self, seconds: float) -> None:
        """Wait so many seconds for events, at most, and put them among `events`. Waits longer where the vendor asks for it."""
        wait = int(seconds * 1000)
        reply = self._call(
            "/meta/connect", connectionType="long-polling", advice={"timeout": wait}, patience=assumptions.POLL_ENDS
        )
        advice = part(reply, "advice")
        if advice.get("reconnect") == "handshake":
            raise SessionLost
        pause = advice.get("interval")
        if isinstance(pause, int) and pause > 0 and not self.events:
            time.sleep(min(pause / 1000, seconds))

    def leave(self) -> None:
        """Say good-bye, so that the session no longer counts. Whoever cannot is forgotten by the vendor within minutes."""
        if self._client:
            with contextlib.suppress(ConnectorError, SessionLost):
                self._call("/meta/disconnect")
            self._client = ""

    def take(self) -> list[Message]:
        """The events that came, oldest first."""
        came, self.events = self.events, []
        return came

    def _handshake(self) -> Message:
        return self._call(
            "/meta/handshake", version="1.0", minimumVersion="1.0", supportedConnectionTypes=["long-polling"],
            ext={"replay": True},
        )  # fmt: skip

    def _call(self, channel: str, *, patience: float = 0.0, **said: Any) -> Message:
        """Send one message; the reply to it."""
        self._number += 1
        message = {"channel": channel, "id": str(self._number), **said}
        if self._client:
            message["clientId"] = self._client
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
        try:
            answer = self._http.request(
                "POST", self._path, json=[message], headers=headers if self._cookies else None, writes=False, patience=patience
            )  # fmt: skip
            body = answer.body
            self._keep_cookies(answer.headers)
        except ConnectorError as error:
            body = error.body
            if not _messages(body):
                raise
        messages = _messages(body)
        self.events += [one for one in messages if not str(one.get("channel", "/meta/")).startswith("/meta/")]
        reply = next((one for one in messages if one.get("channel") == channel), None)
        if reply is None:
            raise Unavailable("Salesforce answered something that is no reply to a message of ours.")
        if reply.get("successful") is not True:
            raise _refused(reply)
        return reply

    def _keep_cookies(self, headers: Mapping[str, str]) -> None:
        """Cookies say which server holds the session; without them it is refused."""
        for found in _COOKIE.finditer(headers.get("set-cookie", "")):
            if found["name"].lower() not in _ATTRIBUTES:
                self._cookies[found["name"]] = found["value"].strip()


def _messages(body: Any) -> list[Message]:
    return [one for one in body if isinstance(one, Mapping) and "channel" in one] if isinstance(body, list) else []


def part(message: Message, name: str) -> Message:
    """A table within a message; an empty one where there is none."""
    found = message.get(name)
    return found if isinstance(found, Mapping) else {}


def _refused(reply: Message) -> Exception:
    """What an unsuccessful reply means. A limit of events is not a limit of calls: it says nothing about reading and writing."""
    why = str(part(part(reply, "ext"), "sfdc").get("failureReason") or "")
    said = " ".join(filter(None, [str(reply.get("error") or ""), why])) or "no reason was given"
    channel = str(reply.get("subscription") or "")
    if "401::" in said:
        return SignedOut(f"Salesforce refuses the session: {said}")
    if "Unknown client" in said or "not completed handshake" in said or "402::" in said:
        return SessionLost(said)
    if "replayId" in said and "invalid" in said:
        return Forgotten(said)
    if "503::" in said:
        return Unavailable(f"Salesforce is too busy for sessions: {said}")
    return Rejected(f"Salesforce refuses {channel or 'the session'}: {said}")
