"""How Stripe is told customers: by name, with our code in their metadata.

The rule here: a customer is looked for before it is made. One of the same code or name is a twin, and a person decides. Stripe's
list of customers is read for it, because its Search does not show at once what was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from integrations.connectors.stripe import refusals, writing
from integrations.connectors.stripe.paging import everything
from integrations.errors import Rejected, Unavailable
from integrations.http import Http
from integrations.protocol import Takes
from portal.records import Held, Publication, PublishedKind

Record = Mapping[str, Any]
CODE = "tieout_customer"
PUBLISHES: Mapping[PublishedKind, Takes] = {
    PublishedKind.CUSTOMER: Takes(
        figures=frozenset({"code", "name"}),
        keyed=True,
        refuses={
            "currency": "A customer in Stripe takes the currency of the first invoice.",
            "is_active": "Stripe's customers are never inactive, only deleted.",
        },
    )
}


def body(told: Publication) -> dict[str, str]:
    """What would be sent; pure."""
    if told.kind is not PublishedKind.CUSTOMER:
        raise Rejected(f"Stripe takes customers only, and no {told.kind}.")
    return {"name": str(told.figures["name"]), f"metadata[{CODE}]": str(told.figures["code"])}


class Customers:
    """The customers of one account."""

    def __init__(self, http: Http, own: Sequence[refusals.Pattern]) -> None:
        self.http, self.own = http, own

    def publish(self, told: Publication) -> str:
        """Make or change one customer; its id. Raises Rejected for a twin, and for one that is gone."""
        sent = body(told)
        if told.number:
            if self._read(told.number) is None:
                raise Rejected("The customer is not in Stripe any more; correct its key in the crosswalk.", code="gone")
            writing.change(self.http, f"/v1/customers/{quote(told.number, safe='')}", sent, self.own)
            return told.number
        if (twin := self._named(told)) is not None:
            raise Rejected(
                f"“{twin.get('name')}” is there already, with id {twin['id']}.",
                code="twin",
                vendor_code=str(twin["id"]),
            )
        made = writing.make(
            self.http, "/v1/customers", sent, told.key, self.own,
            is_there=lambda one: self._read(str(one["id"])) is not None,
        )  # fmt: skip
        return str(made["id"])

    def held(self, told: Publication) -> Held | None:
        """What Stripe holds of one customer; None when it holds none."""
        found = self._read(told.number) if told.number else self._named(told)
        if found is None:
            return None
        code = (found.get("metadata") or {}).get(CODE)
        return Held(number=str(found["id"]), figures={"name": found.get("name"), "code": code})

    def _named(self, told: Publication) -> Record | None:
        """A customer of our code, else one of the same name."""
        everybody = list(everything(self.http, "/v1/customers", {}))
        code, name = str(told.figures["code"]), _plain(told.figures["name"])
        by_code = next((one for one in everybody if (one.get("metadata") or {}).get(CODE) == code), None)
        return by_code or next((one for one in everybody if name and _plain(one.get("name")) == name), None)

    def _read(self, key: str) -> Record | None:
        try:
            found = self.http.request("GET", f"/v1/customers/{quote(key, safe='')}").body
        except Rejected as refused:
            if refused.status in (404, 410):
                return None
            raise
        if not isinstance(found, Mapping) or str(found.get("id")) != key:
            raise Unavailable(f"Stripe answered something that is not customer {key}.")
        return None if found.get("deleted") is True else found


def _plain(text: Any) -> str:
    """A name as people compare it: blanks and capitals aside."""
    return " ".join(str(text or "").split()).casefold()
