"""A source in memory that keeps the protocol: records with stamps, pages, tombstones or none, webhooks with a signature."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from integrations.errors import Malformed, Unauthorised
from integrations.http import Http
from integrations.protocol import Account, Delivery, Hint, Page, Setting, SourceRecord
from portal.records import CanonicalRecord, MasterKind, MasterRecord, Reference, SourceStatus, TimeEntryRecord


@dataclass
class Vendor:
    """What stands at the vendor, and how it answers. One per account code, shared by every connector built for it."""

    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    page_size: int = 2
    tombstones: bool = False
    again: tuple[str, ...] = ()  # streams that every page asks to be read
    withheld: str = ""  # what its pages say that it hides
    is_coarse: bool = False  # its stamps do not tell apart what happens within a second
    announce: int | None = None  # the total it claims
    forgets_last: bool = False
    failures: list[Exception] = field(default_factory=list)  # raised by the next calls
    fail_after_pages: Exception | None = None
    calls: list[str] = field(default_factory=list)
    before_page: Callable[[int], None] | None = None

    def put(self, number: int | str, stamp: str, **values: Any) -> None:
        self.items[str(number)] = {
            "id": str(number),
            "stamp": stamp,
            "status": "approved",
            "day": "2026-10-01",
            **values,
        }


VENDORS: dict[str, Vendor] = {}


def signature(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class FakeSource:
    """Reads a `Vendor`. The cursor is the greatest stamp read; a range starts at it again, so ties are repeated."""

    name = "fake"
    hosts: tuple[str, ...] = ()
    settings: tuple[Setting, ...] = (Setting(name="secret", label="Signing secret", secret=True),)
    streams: tuple[str, ...] = ("time",)
    why_untold = "The fake takes no message."

    def __init__(self, account: Account, http: Http) -> None:
        self.account = account
        self.vendor = VENDORS.setdefault(account.code, Vendor())

    @property
    def tombstones(self) -> bool:
        return self.vendor.tombstones

    def check(self) -> str:
        self._called("check")
        return "The fake answers."

    def pull(self, stream: str, since: str | None) -> Iterator[Page]:
        self._called(f"pull {since or 'all'}")
        items = sorted(
            (item for item in self.vendor.items.values() if item["stamp"] >= (since or "")),
            key=lambda item: (item["stamp"], item["id"]),
        )
        size = self.vendor.page_size
        pages = [items[start : start + size] for start in range(0, len(items), size)] or [[]]
        cursor = since
        for number, page in enumerate(pages, start=1):
            if self.vendor.before_page is not None:
                self.vendor.before_page(number)
            if page:
                cursor = page[-1]["stamp"]
            last = number == len(pages) and not self.vendor.forgets_last
            yield Page(
                records=[self._record(item) for item in page], cursor=cursor, last=last, total=self.vendor.announce,
                again=self.vendor.again,
                withheld=self.vendor.withheld,
            )  # fmt: skip
            if self.vendor.fail_after_pages is not None:
                raise self.vendor.fail_after_pages

    def fetch(self, hint: Hint) -> Iterable[SourceRecord]:
        self._called(f"fetch {hint.external_id}")
        item = self.vendor.items.get(hint.external_id)
        return [self._record(item)] if item else []

    def present(self, stream: str, start: date, end: date) -> Iterator[str]:
        self._called("present")
        yield from (
            item["id"] for item in self.vendor.items.values() if start.isoformat() <= item["day"] <= end.isoformat()
        )

    def receive(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        valid = [signature(value, body) for name, value in self.account.secrets.items() if name.startswith("secret")]
        if not any(hmac.compare_digest(headers.get("X-Signature", ""), each) for each in valid):
            raise Unauthorised("The signature is not ours.")
        try:
            event = json.loads(body)
            hints = [Hint(stream="time", external_id=str(each)) for each in event["ids"]]
            return Delivery(delivery_id=event["delivery"], hints=hints)
        except (ValueError, KeyError, TypeError):
            raise Malformed("The body is not an event.") from None

    def map(self, record: SourceRecord) -> Iterable[CanonicalRecord]:
        item = record.payload
        if item.get("kind") == "customer":
            return [self._customer(record, item)]
        if item.get("bug"):
            raise ZeroDivisionError("a bug in the mapping")
        try:
            hours = Decimal(str(item["hours"])) if "hours" in item else Decimal(8)
        except ArithmeticError:
            raise Malformed(f"hours is {item['hours']!r}, not a number.") from None
        return [
            TimeEntryRecord(
                external_id=record.external_id,
                revision=record.revision,
                status=SourceStatus(item["status"]),
                resource=Reference("", item.get("person", "ana"), "Ana Consultant"),
                project=Reference("", item.get("project", "ACM-1"), "Acme roll-out"),
                work_date=date.fromisoformat(item["day"]),
                zone="America/New_York",
                billable=True,
                currency="USD",
                description=item.get("text", "Workshop"),
                approved_by=Reference("", "pat", "Pat Manager"),
                hours=hours,
                rate=Decimal(120),
            )
        ]

    def _customer(self, record: SourceRecord, item: Mapping[str, Any]) -> MasterRecord:
        return MasterRecord(
            external_id=record.external_id, revision=record.revision, kind=MasterKind.CUSTOMER, code=item["code"],
            name=item["name"], is_active=item.get("active", True), attributes=item.get("attributes", {}),
        )  # fmt: skip

    def _record(self, item: Mapping[str, Any]) -> SourceRecord:
        return SourceRecord(
            stream="time",
            external_id=item["id"],
            revision=item["stamp"],
            payload=dict(item),
            is_coarse=self.vendor.is_coarse,
        )

    def _called(self, what: str) -> None:
        self.vendor.calls.append(what)
        if self.vendor.failures:
            raise self.vendor.failures.pop(0)
