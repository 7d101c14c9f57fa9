"""What can go wrong between us and a vendor, named by what we do next.

    ConnectorError
      Unavailable    not reached, or told to wait; nothing booked      again later, same key
      InDoubt        sent, no answer; may be booked                    never resend; look it up by its key
      Rejected       answered no; nothing booked                       an exception case for finance
      Unauthorised   credentials or signature refused                  one connection case; everything else waits
      Malformed      what came cannot be read                          inbox message FAILED, for operations

Which HTTP outcome is which error is decided once, in `http.py`; a connector narrows it only from the vendor's own error
body. Free of Django.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


class ConnectorError(Exception):
    """Anything that keeps a connector from doing what it was asked. `detail` is the vendor's text or ours, redacted.

    Where the vendor answered, `body` is its answer (parsed JSON, redacted, else None) and `headers` are its headers, for
    the connector to narrow the error by; the headers are not redacted and are neither shown nor stored.
    """

    body: Any = None
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, detail: str = "", *, status: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status  # HTTP status where there was an answer


class Unavailable(ConnectorError):
    """Nothing was booked. Try again with the same key after `retry_after` seconds (None: the caller's own back-off).

    `awaits` says that it waits for the answer to another posting, and that the vendor is well.
    """

    def __init__(
        self, detail: str = "", *, status: int | None = None, retry_after: float | None = None, awaits: bool = False
    ) -> None:
        super().__init__(detail, status=status)
        self.retry_after = retry_after
        self.awaits = awaits


class InDoubt(ConnectorError):
    """The request may have been booked. Only a look-up by key may settle it."""


class Rejected(ConnectorError):
    """The vendor answered no and booked nothing.

    `code` is our stable word for the reason, one of REJECTION_CODES; `vendor_code` and `detail` are the vendor's own.
    """

    def __init__(
        self, detail: str = "", *, status: int | None = None, code: str = "rejected", vendor_code: str = ""
    ) -> None:
        super().__init__(detail, status=status)
        self.code = code
        self.vendor_code = vendor_code


class Unauthorised(ConnectorError):
    """Credentials, signature or permission refused."""


class Malformed(ConnectorError):
    """What came cannot be read as what it claims to be."""


# Our words for why a target refuses; each has a remedy on the cause page. The value is the sentence for finance.
REJECTION_CODES: dict[str, str] = {
    "rejected": "The target refused the posting.",
    "period-closed": "The target's accounting period is closed.",
    "project-inactive": "The project is inactive or unknown in the target.",
    "resource-inactive": "The person is inactive or unknown in the target.",
    "task-invalid": "The task is missing, closed or unknown in the target.",
    "dimension-missing": "A required cost centre or dimension is missing in the target.",
    "duplicate": "The target already holds a record under this key with other content.",
    "record-locked": "The record is locked by a workflow or an approval in the target.",
    "record-changed": "The record was changed in the target meanwhile.",
    "schema-changed": "The target no longer accepts the fields we send.",
    "amount-invalid": "The target refused an amount, rate or currency.",
    "alike": "The target holds hours that say the same and keeps no key, so that nobody could tell the two apart.",
    "twin": "The target has a record of the same name that is not known as ours.",
    "gone": "The target does not hold the record any more.",
    "text-invalid": "The target refused a text.",
    "company-wrong": "The connection keeps the books of another company.",
    "unit-unknown": "The person does not count in hours in the target.",
    "no-opposite": "The target takes no negative postings.",
    "unbillable": "The target cannot be told that hours are not billable, and would bill them.",
}
