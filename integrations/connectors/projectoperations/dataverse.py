"""Reading the tables of one Dataverse environment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import UUID

from integrations.connectors.projectoperations import assumptions, refusals
from integrations.connectors.projectoperations.settings import SETTINGS
from integrations.errors import ConnectorError, Malformed
from integrations.http import Http, Response, odata
from integrations.http.fields import Row, text
from integrations.protocol import Account

VENDOR = "Project Operations"
ROOT = f"/api/data/{assumptions.VERSION}"
HEADERS = {"OData-Version": "4.0", "OData-MaxVersion": "4.0"}


class Tables:
    """The tables of one environment."""

    def __init__(self, account: Account, http: Http, own: Sequence[refusals.Pattern]) -> None:
        self._http = http
        self._own = own
        self._size = min(int(account.setting("page_size", SETTINGS)), assumptions.COUNTED)

    def rows(self, name: str, wanted: str = "", *, select: str = "", orderby: str = "") -> Iterator[Row]:
        """Every row of a table that meets a filter. Raises as `pages` does."""
        yield from odata.whole(self.pages(name, wanted, select=select, orderby=orderby, counted=True), name, VENDOR)

    def pages(
        self, name: str, wanted: str = "", *, select: str = "", orderby: str = "", counted: bool = False
    ) -> Iterator[tuple[list[Row], Response, bool]]:
        """The pages of a table. A look that is refused is raised as the refusal that it is."""
        asked = {"$filter": wanted, "$orderby": orderby, "$select": select, "$count": "true" if counted else ""}
        params = {key: value for key, value in asked.items() if value}
        try:
            yield from odata.pages(self._http, f"{ROOT}/{name}", params, self._size, vendor=VENDOR)
        except ConnectorError as error:
            raise refusals.narrow(error, self._own, writes=False) from None

    def among(
        self, name: str, field: str, values: Sequence[str], *, texts: bool = False, select: str = ""
    ) -> Iterator[Row]:
        """The rows of which a field, which is a GUID or a text, has one of some values."""
        for start in range(0, len(values), odata.KEYS_AT_ONCE):
            chosen = values[start : start + odata.KEYS_AT_ONCE]
            wanted = odata.any_of(field, chosen) if texts else " or ".join(f"{field} eq {value}" for value in chosen)
            yield from self.rows(name, wanted, select=select)


def guid_of(key: str) -> str:
    """Our key as the GUID that it is; raises ValueError for one that is none of ours."""
    return str(UUID(hex=key))


def key_of(guid: str) -> str:
    """The key that a GUID is; empty for one that we did not choose. Ours are of version 5, which no server draws."""
    try:
        found = UUID(guid)
    except ValueError:
        return ""
    return found.hex if found.version == 5 else ""


def integer(row: Row, name: str) -> int | None:
    """A field as a whole number; None where it is empty. Raises Malformed."""
    value = row.get(name)
    if value in (None, ""):
        return None
    try:
        return int(str(value))
    except ValueError:
        raise Malformed(f"{name} is {value!r}, not a whole number.") from None


def lookup(row: Row, name: str) -> str:
    """The GUID that a lookup names."""
    return text(row, f"_{name}_value").lower()
