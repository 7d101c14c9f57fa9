"""What a source yields: untouched vendor records in pages, and hints of what moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRecord:
    """One vendor record, untouched, with what the inbox needs to file it once.

    `revision` orders copies of one record by string comparison (pad numbers, use ISO 8601 in UTC); when the vendor has
    none, use a hash of the payload prefixed by the moment of reading. `is_coarse` says that the revision is a stamp under
    which the record may have changed once more (NetSuite's and Salesforce's are to the second): another payload under the
    latest copy's stamp is then filed as a copy of its own, in the order of arrival.
    """

    stream: str
    external_id: str
    revision: str
    payload: Any  # what json.dumps takes
    is_coarse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some records and the cursor that stands behind them.

    The cursor is stored in the transaction that files the records, and the range is closed at its start: re-reading from
    it may repeat records and never skips one. `total` is how many the vendor says the whole range holds, where it says so;
    a pull whose pages add up to fewer is truncated. `last` is true on the last page of the range only. `hints` name what
    the vendor says moved or is gone without showing it; each is asked for by name, like a webhook's. `again` are streams
    of which hints may be lost: they are read at once instead of when they are due. `withheld` says what the vendor seems to
    hide from us although it shows the range: people are told, and what is shown is filed as ever.
    """

    records: Sequence[SourceRecord]
    cursor: str | None
    last: bool
    total: int | None = None
    hints: Sequence[Hint] = ()
    again: Sequence[str] = ()
    withheld: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """A vendor's word that something moved; what is true is read again from the vendor."""

    stream: str
    external_id: str
    because: str = ""  # the vendor's own mark of the change, by which a hint of a pull that comes again is known


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One webhook request whose signature held. `delivery_id` is the same when the vendor repeats itself."""

    delivery_id: str
    hints: Sequence[Hint]
