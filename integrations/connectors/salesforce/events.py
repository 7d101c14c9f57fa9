"""Change events and platform events as hints: channels are listened to for a short turn, and what they name is read again.

The rule here: an event is never believed, only the record that it names is asked for. A mark moves with the hints that stand
before it; where events may be lost, or are so many in a turn that asking for each would use up the day's calls, the stream is
read.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from integrations.connectors.salesforce import assumptions, bayeux, soql
from integrations.connectors.salesforce.bayeux import KEPT, NEW, Forgotten, Message, Session, SessionLost
from integrations.connectors.salesforce.settings import SETTINGS
from integrations.errors import Malformed, Rejected, Unavailable
from integrations.http import Http
from integrations.protocol import Account, Hint, Page

STREAM = "hints"
CHANGES = "changes"
_CHANNEL = re.compile(r"/(data|event)/\w+")
_RECORD = re.compile(r"(?P<object>[A-Za-z]\w*)\.(?P<field>[A-Za-z]\w*)")

Marks = dict[str, int]


class _Named(NamedTuple):
    """A record that an event names; all of its stream where `key` is empty."""

    stream: str
    key: str = ""


def channels(account: Account) -> Mapping[str, str]:
    """The channels that are listened to, and what each names. Raises Malformed for one that cannot be read."""
    told = dict(account.setting("channels", SETTINGS))
    for channel, names in told.items():
        is_record = channel.startswith("/event/") and _RECORD.fullmatch(str(names))
        if not _CHANNEL.fullmatch(channel) or not (names == CHANGES or is_record):
            raise Malformed(
                f"The channel “{channel} = {names}” cannot be read; expected /data/AccountChangeEvent = {CHANGES}, or "
                "/event/Name__e = Object.Field, where the field holds a record's id."
            )
        read = sorted(stream.object for stream in soql.streams(account).values())
        if is_record and is_record["object"] not in read:
            raise Malformed(
                f"The channel “{channel} = {names}” names records that are not read; expected one of {', '.join(read)}."
            )
    return {channel: str(names) for channel, names in told.items()}


def seconds(account: Account) -> float:
    """How long a turn listens. Raises Malformed for no time, or one for which no worker may wait."""
    told = account.setting("listen_seconds", SETTINGS)
    try:
        found = float(told)
    except (TypeError, ValueError):
        found = 0.0
    if not 0 < found <= assumptions.LISTEN_MOST:
        raise Malformed(f"A turn cannot listen for {told!r} seconds; expected at most {assumptions.LISTEN_MOST}.")
    return found


class Listener:
    """The channels of one org."""

    def __init__(self, account: Account, http: Http) -> None:
        self._http = http
        self._version = str(account.setting("api_version", SETTINGS))
        self._seconds = seconds(account)
        self._channels = channels(account)
        self._streams = {stream.object: stream.name for stream in soql.streams(account).values()}

    def look(self) -> str:
        """Subscribe to every channel for a moment; one sentence. Raises what keeps one from being heard."""
        session = Session(self._http, self._version)
        try:
            session.begin()
            for channel in self._channels:
                session.subscribe(channel, NEW)
        except SessionLost:
            raise Unavailable("Salesforce ended the session as soon as it began.") from None
        finally:
            session.leave()
        return f"It is heard on {len(self._channels)} channel{'s' if len(self._channels) > 1 else ''}."

    def pull(self, since: str | None) -> Iterator[Page]:
        """Hints of one turn. A session that ends is begun once more, from the marks; a channel that is refused stops no other."""
        if not self._channels:
            raise Malformed("No channel is named; hints need the setting channels.")
        marks = {channel: mark for channel, mark in _marks(since).items() if channel in self._channels}
        until = time.monotonic() + self._seconds
        named: Counter[str] = Counter()
        session = Session(self._http, self._version)
        refused: list[str] = []
        for last in (False, True):
            try:
                session.begin()
                refused, again = self._subscribe(session, marks)
                yield Page(records=(), cursor=_written(marks), last=False, again=again)
                yield from self._listen(session, marks, until, named)
                break
            except Forgotten as forgotten:  # told only once it is polled, and not of which channel
                if last:
                    raise Rejected(f"Salesforce keeps refusing our marks: {forgotten}") from None
                marks.clear()
            except SessionLost as lost:
                if last:
                    raise Unavailable(f"Salesforce ended the session twice in a turn: {lost}") from None
            finally:
                session.leave()
        if refused:
            raise Rejected(" ".join(refused))
        yield Page(records=(), cursor=_written(marks), last=True)

    def _subscribe(self, session: Session, marks: Marks) -> tuple[list[str], list[str]]:
        """Subscribe to each channel after its mark; why some are refused, and the streams of those that begin from now.

        Where the event of a mark is no longer kept, or there was none, a turn begins from now. One that heard nothing then leaves
        the mark of everything that is kept, so that nothing is missed between two turns.
        """
        refused: list[str] = []
        again: set[str] = set()
        for channel in self._channels:
            try:
                try:
                    session.subscribe(channel, marks.get(channel, NEW))
                except Forgotten:
                    marks.pop(channel, None)
                    session.subscribe(channel, NEW)
            except (Rejected, Forgotten) as no:
                refused.append(str(no))
                continue
            if channel not in marks:
                again |= {name for name, _ in self._everything(channel)}
                marks[channel] = KEPT
        if refused and len(refused) == len(self._channels):
            raise Rejected(" ".join(refused))
        return refused, sorted(again)

    def _listen(self, session: Session, marks: Marks, until: float, named: Counter[str]) -> Iterator[Page]:
        """Poll until the turn is over. Who answers at once and brings nothing is asked again a second later.

        The first poll of a session is meant to be answered at once.
        """
        rests = False
        while (left := until - time.monotonic()) > 0:
            began = time.monotonic()
            if not session.events:
                session.connect(left)
            if came := session.take():
                yield self._page(came, marks, named)
            elif rests:
                time.sleep(max(0.0, min(began + assumptions.POLL_PAUSE, until) - time.monotonic()))
            rests = True

    def _page(self, came: Sequence[Message], marks: Marks, named: Counter[str]) -> Page:
        """The hints of some events, and their marks. `named` counts what the turn has named of each stream so far."""
        hints: dict[str, list[Hint]] = {}
        again: set[str] = set()
        for event in came:
            channel = str(event["channel"])
            data = bayeux.part(event, "data")
            told = bayeux.part(data, "event")
            mark = told.get("replayId")
            if channel not in self._channels:
                continue
            for stream, key in self._names(channel, bayeux.part(data, "payload")):
                if key:
                    because = str(told.get("EventUuid") or f"{channel} {mark}")
                    hints.setdefault(stream, []).append(Hint(stream=stream, external_id=key, because=because))
                else:
                    again.add(stream)
            if isinstance(mark, int):
                marks[channel] = mark
        named.update({stream: len(found) for stream, found in hints.items()})
        again |= {stream for stream in hints if named[stream] > assumptions.ASKED_ONE_BY_ONE}
        left = [hint for stream, found in hints.items() if stream not in again for hint in found]
        return Page(records=(), cursor=_written(marks), last=False, hints=left, again=sorted(again))

    def _names(self, channel: str, payload: Message) -> list[_Named]:
        """What one event names; everything of its channel where it does not say, nothing where it is about what is not read."""
        names = self._channels[channel]
        if record := _RECORD.fullmatch(names):
            key = str(payload.get(record["field"]) or "")
            return [one._replace(key=key) for one in self._everything(channel)]
        header = bayeux.part(payload, "ChangeEventHeader")
        keys = header.get("recordIds")
        if not isinstance(header.get("entityName"), str) or not isinstance(keys, list):
            return self._everything(channel)
        stream = self._streams.get(header["entityName"])
        if stream is None:
            return []
        is_whole = header.get("changeType") == "GAP_OVERFLOW" or not keys or any("*" in str(key) for key in keys)
        return [_Named(stream)] if is_whole else [_Named(stream, str(key)) for key in keys]

    def _everything(self, channel: str) -> list[_Named]:
        """The streams that a channel can be about."""
        if record := _RECORD.fullmatch(self._channels[channel]):
            found = self._streams.get(record["object"])
        else:
            name = channel.removeprefix("/data/").removesuffix("ChangeEvent")
            found = self._streams.get(f"{name}c" if name.endswith("__") else name)
            if found is None:
                return [_Named(stream) for stream in self._streams.values()]  # a channel of several objects
        return [_Named(found)] if found else []


def _marks(cursor: str | None) -> Marks:
    """The marks of a cursor by channel. Raises Malformed."""
    try:
        found = json.loads(cursor or "{}")
        return {str(channel): int(mark) for channel, mark in found.items()}
    except (ValueError, TypeError, AttributeError):
        raise Malformed(f"The cursor {cursor!r} of hints holds no marks of channels.") from None


def _written(marks: Mapping[str, Any]) -> str:
    return json.dumps(marks, sort_keys=True)
