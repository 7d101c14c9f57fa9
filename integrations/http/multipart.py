"""Several writes in one call, each by itself or all or none: an OData batch, and what became of its members.

OData 4.0, 11.7: a change set is carried out whole or not at all, and a batch answers its members in their order, each with a
status of its own. A member that was not answered was not come to; a batch that cannot be read says nothing about any of them.
"""

from __future__ import annotations

import email
import email.message
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from integrations.errors import ConnectorError, InDoubt, Unavailable
from integrations.http import outcomes
from integrations.http.client import Http
from integrations.http.outcomes import Response

_BOUNDARY = "tieout-batch"


class Member(NamedTuple):
    """One write of a batch; `path` is below the server, as it would be asked for alone."""

    method: str
    path: str
    body: Any
    headers: Mapping[str, str] = {}


def carry_out(
    http: Http, path: str, members: Sequence[Member], headers: Mapping[str, str] | None = None
) -> list[Response | ConnectorError]:
    """Write each of some members: a good answer or an error for each, in their order. What is raised holds for all of them.

    A member that the vendor did not come to is Unavailable: nothing of it was booked.
    """
    answer = _called(http, path, [[member] for member in members], headers)
    found = _parts(answer)
    if not found or len(found) > len(members):
        raise InDoubt(
            f"A batch of {len(members)} writes was answered with {len(found)} outcomes.", status=answer.status
        )
    judged = [http.judged(part, writes=True) or part for part in found]
    if len(judged) < len(members) and not any(isinstance(one, ConnectorError) for one in judged):
        raise InDoubt(
            f"A batch of {len(members)} writes was answered with {len(judged)} outcomes.", status=answer.status
        )
    late = Unavailable("The batch ended before it came to this one.")
    return [*judged, *[late] * (len(members) - len(judged))]


def together(http: Http, path: str, members: Sequence[Member], headers: Mapping[str, str] | None = None) -> None:
    """Write all of some members in one change set, or none of them. Raises why none was written."""
    answer = _called(http, path, [members], headers)
    found = _parts(answer)
    refused = next((one for part in found if (one := http.judged(part, writes=True)) is not None), None)
    if refused is not None:
        raise refused
    if len(found) != len(members):
        lost = f"A change set of {len(members)} writes was answered with {len(found)} outcomes."
        raise InDoubt(lost, status=answer.status)


def _called(
    http: Http, path: str, change_sets: Sequence[Sequence[Member]], headers: Mapping[str, str] | None
) -> Response:
    kind = {"Content-Type": f"multipart/mixed; boundary={_BOUNDARY}", "Accept": "multipart/mixed"}
    return http.request("POST", path, data=_spelt(http, change_sets), headers={**kind, **(headers or {})}, raw=True)


def _spelt(http: Http, change_sets: Sequence[Sequence[Member]]) -> bytes:
    lines: list[bytes] = []
    for number, members in enumerate(change_sets, 1):
        lines += [
            f"--{_BOUNDARY}".encode(),
            f"Content-Type: multipart/mixed; boundary=change-{number}".encode(),
            b"",
        ]
        for place, member in enumerate(members, 1):
            headers = {"Content-Type": "application/json", **member.headers}
            lines += [
                f"--change-{number}".encode(),
                b"Content-Type: application/http",
                b"Content-Transfer-Encoding: binary",
                f"Content-ID: {number}.{place}".encode(),
                b"",
                f"{member.method} {http.base_url}/{member.path.lstrip('/')} HTTP/1.1".encode(),
                *(f"{name}: {value}".encode() for name, value in headers.items()),
                b"",
                outcomes.encode(member.body),
            ]
        lines.append(f"--change-{number}--".encode())
    return b"\r\n".join([*lines, f"--{_BOUNDARY}--".encode(), b""])


def _parts(answer: Response) -> list[Response]:
    """The members' answers, in order; empty where the answer is no batch."""
    kind = answer.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/"):
        return []
    whole = email.message_from_bytes(
        b"Content-Type: " + kind.encode("latin-1", "replace") + b"\r\n\r\n" + answer.content
    )
    found = [_response(part) for part in whole.walk() if part.get_content_type() == "application/http"]
    return [one for one in found if one is not None] if all(found) else []


def _response(part: email.message.Message) -> Response | None:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return None
    head, _, content = payload.replace(b"\r\n", b"\n").lstrip(b"\n").partition(b"\n\n")
    first, _, rest = head.partition(b"\n")
    words = first.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return None
    headers = {name.lower(): value for name, value in email.message_from_bytes(rest + b"\n\n").items()}
    try:
        body = outcomes.decode(content)
    except outcomes.UnreadableError:
        body = None
    return Response(status=int(words[1]), headers=headers, content=content.strip(), body=body)
