"""A system that is told master data and keeps it in memory; it goes wrong on purpose. Its own records are the judge of twins."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, ClassVar

from integrations.errors import ConnectorError, Rejected
from integrations.http import Http
from integrations.protocol import Account, Capabilities, Setting, Takes
from portal.models import Connection, LegalEntity
from portal.records import FIGURES, Held, Publication, PublishedKind
from reconciliation.publishing import PROVISIONED, SUBSCRIBED
from tests import world

STATUSES = (PublishedKind.INVOICE, PublishedKind.PAYMENT)


@dataclass
class Records:
    """What one account holds, by kind and number. `faults` strike one call each, in order."""

    held: dict[PublishedKind, dict[str, dict[str, Any]]] = field(
        default_factory=lambda: {kind: {} for kind in PublishedKind}
    )
    calls: list[tuple[str, str]] = field(default_factory=list)
    faults: deque[Callable[[Records, Publication], None] | None] = field(default_factory=deque)
    numbers: Any = field(default_factory=lambda: count(1))

    def write(self, told: Publication) -> str:
        """Make or change a record as told."""
        number = told.number or self.upserted(told) or f"{told.kind[:2]}-{next(self.numbers)}"
        self.held[told.kind][number] = {**told.figures, "names": dict(told.names), "record": told.record}
        return number

    def upserted(self, told: Publication) -> str:
        """The number of a bill or a payment that is there under our own name of it; it is changed and never made twice."""
        mine = self.held[told.kind].items() if told.kind in STATUSES else ()
        return next((number for number, record in mine if record["record"] == told.record), "")

    def names(self, kind: PublishedKind) -> list[str]:
        """The names of everything of a kind."""
        return sorted(str(record.get("name")) for record in self.held[kind].values())


RECORDS: dict[str, Records] = {}


class MemoryRecipient:
    """One account."""

    name = "memory-recipient"
    settings: tuple[Setting, ...] = ()
    hosts: tuple[str, ...] = ()
    capabilities = Capabilities(concurrency=1, upstream_timeout=0.0)
    publishes: ClassVar[Mapping[PublishedKind, Takes]] = {
        kind: Takes(
            figures=figures,
            keyed=kind in (PublishedKind.CUSTOMER, PublishedKind.PROJECT, PublishedKind.TASK),
        )
        for kind, figures in FIGURES.items()
    }

    def __init__(self, account: Account, http: Http) -> None:
        self.records = RECORDS.setdefault(account.code, Records())

    def check(self) -> str:
        return "answers."

    def publication_body(self, publication: Publication) -> Any:
        return {"number": publication.number, **publication.names, **publication.figures}

    def publish(self, publication: Publication) -> str:
        records = self.records
        records.calls.append((publication.kind, publication.number))
        fault = records.faults.popleft() if records.faults else None
        if fault is not None:
            fault(records, publication)
        if publication.number and publication.number not in records.held[publication.kind]:
            raise Rejected("There is no such record.", code="gone")
        if not publication.number and publication.kind not in STATUSES and (twin := self._twin(publication)):
            raise Rejected(f"“{publication.figures.get('name')}” is there.", code="twin", vendor_code=twin)
        return records.write(publication)

    def held(self, publications: Sequence[Publication]) -> Mapping[str, Held]:
        found = {}
        for publication in publications:
            number = publication.number or self.records.upserted(publication) or self._twin(publication)
            record = self.records.held[publication.kind].get(number)
            if record is not None:
                figures = {name: value for name, value in record.items() if name not in ("names", "record")}
                found[publication.key] = Held(number=number, figures=figures, names=record["names"])
        return found

    def _twin(self, publication: Publication) -> str:
        if publication.kind in STATUSES:
            return ""
        for number, record in self.records.held[publication.kind].items():
            same = record["names"] == publication.names
            if same and ("name" not in publication.figures or record.get("name") == publication.figures["name"]):
                return number
        return ""


def loses(error: ConnectorError, *, kept: bool) -> Callable[[Records, Publication], None]:
    """A call that ends in an error, its record kept or not."""

    def strike(records: Records, publication: Publication) -> None:
        if kept:
            records.write(publication)
        raise error

    return strike


def recipient(owner: LegalEntity, *kinds: PublishedKind, code: str = "tracker") -> Connection:
    """A system in memory that is told some kinds of master data, all of them where none is named."""
    RECORDS[code] = Records()
    told = kinds or tuple(PublishedKind)
    return world.connection(
        code, "memory-recipient", owner, is_recipient=True,
        settings={
            "provisions": [str(k) for k in told if k in PROVISIONED],
            "subscribes": [str(k) for k in told if k in SUBSCRIBED],
        },
    )  # fmt: skip
