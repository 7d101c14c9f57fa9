"""Reading the sets of one company: every look names the company, because without `cross-company` only the user's own is shown.

`dataAreaId` is the company, and the realm of the connection.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from integrations.connectors.dynamicsfinance import refusals
from integrations.connectors.dynamicsfinance.settings import SETTINGS
from integrations.errors import ConnectorError
from integrations.http import Http, Response, odata
from integrations.http.fields import Row, text
from integrations.http.odata import quoted
from integrations.protocol import Account

VENDOR = "Dynamics 365 Finance"
ROOT = "/data"


class Entities:
    """The sets of one environment, seen from one company."""

    def __init__(self, account: Account, http: Http, own: Sequence[refusals.Pattern]) -> None:
        self.company = account.realm
        self._http = http
        self._own = own
        self._size = int(account.setting("page_size", SETTINGS))

    def rows(
        self, name: str, wanted: str = "", *, shared: bool = False, orderby: str = "", select: str = ""
    ) -> Iterator[Row]:
        """Every row of a set that meets a filter; of this company, unless the set is shared by all. Raises as `pages` does."""
        pages = self.pages(name, wanted, shared=shared, orderby=orderby, select=select, counted=True)
        yield from odata.whole(pages, name, VENDOR)

    def pages(
        self,
        name: str,
        wanted: str = "",
        *,
        shared: bool = False,
        orderby: str = "",
        select: str = "",
        counted: bool = False,
        skip: int = 0,
    ) -> Iterator[tuple[list[Row], Response, bool]]:
        """The pages of a set. A look that is refused is raised as the refusal that it is."""
        ours = "" if shared else f"dataAreaId eq {quoted(self.company)}"
        both = " and ".join(part for part in (ours, f"({wanted})" if ours and wanted else wanted) if part)
        asked = {
            "$filter": both,
            "$orderby": orderby,
            "$select": select,
            "$count": "true" if counted else "",
            "$skip": skip,
        }
        params = {"cross-company": "true", **{name: value for name, value in asked.items() if value}}
        try:
            yield from odata.pages(self._http, f"{ROOT}/{name}", params, self._size, vendor=VENDOR)
        except ConnectorError as error:
            raise refusals.narrow(error, self._own, writes=False) from None

    def among(self, name: str, field: str, values: Sequence[str], *, orderby: str = "") -> Iterator[Row]:
        """The rows of which a field, which is a text, has one of some values; none is asked for without values."""
        for start in range(0, len(values), odata.KEYS_AT_ONCE):
            yield from self.rows(name, odata.any_of(field, values[start : start + odata.KEYS_AT_ONCE]), orderby=orderby)


def is_yes(row: Row, field: str) -> bool:
    """Whether a field of the enumeration NoYes says yes."""
    return text(row, field).lower() == "yes"


def unescaped(shown: str) -> str:
    """A display value as people write it: dashes within a segment are escaped there."""
    return shown.replace("\\-", "-").replace("\\\\", "\\")


def by(rows: Iterator[Row], field: str) -> dict[str, Row]:
    """Rows by one of their fields."""
    return {text(row, field): row for row in rows}
