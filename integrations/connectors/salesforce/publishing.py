"""How Salesforce is told how bills and payments stand: by upsert on an external id, many at once.

The rule here: our own name of a record is its external id, so it is made once and changed ever after, however often it is told.
Bills go in collections, of which each record stands or falls alone. A payment and the parts of it that settle bills belong
together and one after the other, so each payment is a graph: kept whole, or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from integrations.connectors.salesforce import assumptions, refusals
from integrations.connectors.salesforce.settings import SETTINGS
from integrations.connectors.salesforce.soql import Reader, Row, checked_name
from integrations.errors import ConnectorError, InDoubt, Malformed, Rejected, Unauthorised, Unavailable
from integrations.http import Http
from integrations.http.fields import portions
from integrations.protocol import Account, Takes
from portal.records import FIGURES, Held, Publication, PublishedKind

Kind = PublishedKind
PUBLISHES: Mapping[Kind, Takes] = {kind: Takes(figures=FIGURES[kind]) for kind in (Kind.INVOICE, Kind.PAYMENT)}
AMOUNTS = frozenset({"net", "total", "balance", "amount"})
_PART = "part"
_PREFIX = re.compile(r"[\w.-]{1,40}", re.ASCII)
Item = TypeVar("Item")


class SalesforceStatuses:
    """What one org holds of bills and payments."""

    def __init__(self, account: Account, http: Http, reader: Reader, own: Sequence[refusals.Pattern]) -> None:
        self._http = http
        self._reader = reader
        self._own = own
        self._prefix = str(account.setting("external_id_prefix", SETTINGS))
        if not _PREFIX.fullmatch(self._prefix):
            raise Malformed(
                f"External ids cannot begin with “{self._prefix}”; letters, digits, dots, dashes and underscores can."
            )
        self._key = checked_name(str(account.setting("external_id_field", SETTINGS)))
        self._objects = {
            Kind.INVOICE: checked_name(str(account.setting("invoice_object", SETTINGS))),
            Kind.PAYMENT: checked_name(str(account.setting("payment_object", SETTINGS))),
            _PART: checked_name(str(account.setting("part_object", SETTINGS))),
        }
        self._fields = {
            Kind.INVOICE: _fields(account, "invoice_fields", assumptions.INVOICE_FIELDS),
            Kind.PAYMENT: _fields(account, "payment_fields", assumptions.PAYMENT_FIELDS),
            _PART: _fields(account, "part_fields", assumptions.PART_FIELDS),
        }

    def look(self, kinds: Sequence[str]) -> None:
        """See that the objects of these kinds may be read, with every field that is told."""
        named = [Kind(kind) for kind in kinds if kind in PUBLISHES]
        for kind in (*named, *([_PART] if Kind.PAYMENT in named else [])):
            list(self._reader.rows(f"{self._select(kind)} LIMIT 1"))

    def body(self, told: Publication) -> dict[str, Any]:
        """What would be sent, in the org's own fields; pure."""
        fields = self._fields[told.kind]
        record = {field: _value(name, told.figures[name]) for name, field in fields.items() if name in told.figures}
        record[fields["customer"]] = told.names.get("customer", "")
        if told.kind is Kind.INVOICE:
            return {"record": record}
        parts = {
            bill: {
                self._fields[_PART]["invoice"]: told.names.get(bill, ""),
                self._fields[_PART]["amount"]: _value("amount", amount),
            }
            for bill, amount in told.figures["settles"].items()
        }
        return {"record": record, "parts": parts}

    def publish(self, told: Sequence[Publication]) -> list[str | ConnectorError]:
        """Make or change records of one kind, in as many calls as their number needs; of each its number or its error."""
        outcomes: list[str | ConnectorError] = []
        closed: ConnectorError | None = None
        is_bill = told[0].kind is Kind.INVOICE
        for portion in portions(told, assumptions.COLLECTION) if is_bill else _graph_portions(told):
            if closed is not None:
                outcomes += [closed] * len(portion)
                continue
            try:
                outcomes += self._collection(portion) if is_bill else self._graphs(portion)
            except ConnectorError as error:
                named = self._of_a_call(error)
                outcomes += [named] * len(portion)
                closed = named if isinstance(named, Unauthorised | Unavailable) else None
        return outcomes

    def held(self, told: Sequence[Publication]) -> dict[str, Held]:
        """What the org holds of records, by our key."""
        found: dict[str, Held] = {}
        for kind in PUBLISHES:
            wanted = {self.external_id(one.record): one for one in told if one.kind is kind}
            rows = {str(row[self._key]): row for row in self._rows(kind, list(wanted))}
            parts: dict[str, Row] = {}
            if kind is Kind.PAYMENT:
                named = [self._part_id(one.record, bill) for one in wanted.values() for bill in one.figures["settles"]]
                parts = {str(row[self._key]): row for row in self._rows(_PART, named)}
            for key, one in wanted.items():
                if key in rows:
                    found[one.key] = self._held(one, rows[key], parts)
        return found

    def external_id(self, record: str) -> str:
        """Our own name of a record as the org keeps it, such as `tieout-invoice-17`."""
        return f"{self._prefix}-{record.replace(':', '-')}"

    def _part_id(self, record: str, bill: str) -> str:
        return f"{self.external_id(record)}-{bill.replace(':', '-')}"

    def _collection(self, told: Sequence[Publication]) -> list[str | ConnectorError]:
        name = self._objects[told[0].kind]
        records = [
            {"attributes": {"type": name}, self._key: self.external_id(one.record), **self.body(one)["record"]}
            for one in told
        ]
        path = f"{self._reader.root}/composite/sobjects/{name}/{self._key}"
        answer = self._http.request("PATCH", path, json={"allOrNone": False, "records": records}).body
        if not isinstance(answer, list) or len(answer) != len(told):
            raise InDoubt("Salesforce answered a collection with something that is not one result for each record.")
        return [self._outcome(result) for result in answer]

    def _graphs(self, told: Sequence[Publication]) -> list[str | ConnectorError]:
        graphs = [
            {"graphId": str(number), "compositeRequest": list(self._requests(one))} for number, one in enumerate(told)
        ]
        answer = self._http.request("POST", f"{self._reader.root}/composite/graph", json={"graphs": graphs}).body
        results = answer.get("graphs") if isinstance(answer, Mapping) else None
        if not isinstance(results, list):
            raise InDoubt("Salesforce answered graphs with something that is not their results.")
        by_id = {str(result.get("graphId")): result for result in results if isinstance(result, Mapping)}
        return [self._of_a_graph(by_id.get(str(number))) for number in range(len(told))]

    def _requests(self, told: Publication) -> Iterator[dict[str, Any]]:
        """The payment, then each part of it, which names the payment by reference."""
        body = self.body(told)
        yield self._request(Kind.PAYMENT, self.external_id(told.record), "payment", body["record"])
        for number, (bill, part) in enumerate(body["parts"].items()):
            record = {self._fields[_PART]["payment"]: "@{payment.id}", **part}
            yield self._request(_PART, self._part_id(told.record, bill), f"part{number}", record)

    def _request(self, kind: str, external_id: str, reference: str, body: Row) -> dict[str, Any]:
        url = f"{self._reader.root}/sobjects/{self._objects[kind]}/{self._key}/{external_id}"
        return {"method": "PATCH", "url": url, "referenceId": reference, "body": body}

    def _of_a_call(self, error: ConnectorError) -> ConnectorError:
        named = refusals.narrow(error, self._own, writes=True)
        if isinstance(named, Rejected) and named.status == 404:
            return Unauthorised(f"The org has not what we write to: {named.detail}", status=404)
        return named

    def _outcome(self, result: Any) -> str | ConnectorError:
        if not isinstance(result, Mapping):
            return InDoubt("Salesforce answered something that is no result of a record.")
        if result.get("success") is True and result.get("id"):
            return str(result["id"])
        if result.get("success") is False:
            return refusals.of_a_record(self._http.redact.parsed(result.get("errors")), self._own)
        return InDoubt("Salesforce answered neither success nor refusal of a record.")

    def _of_a_graph(self, result: Row | None) -> str | ConnectorError:
        """The payment's number; of a graph that was rolled back the error that it began with."""
        answers = ((result or {}).get("graphResponse") or {}).get("compositeResponse")
        if not result or not isinstance(answers, list) or not answers:
            return InDoubt("Salesforce did not say what became of a payment.")
        if result.get("isSuccessful") is True:
            number = str((answers[0].get("body") or {}).get("id") or "")
            return number or InDoubt("Salesforce kept a payment and did not say its number.")
        said = [one.get("body") for one in answers if int(one.get("httpStatusCode") or 0) >= 300]
        cause = next(
            (body for body in said if refusals.read(body).code not in refusals.ROLLED_BACK), said[0] if said else None
        )
        return refusals.of_a_record(self._http.redact.parsed(cause), self._own)

    def _held(self, told: Publication, row: Row, parts: Mapping[str, Row]) -> Held:
        fields = self._fields[told.kind]
        figures = {name: row.get(field) for name, field in fields.items() if name in told.figures}
        if told.kind is Kind.PAYMENT:
            amount = self._fields[_PART]["amount"]
            figures["settles"] = {
                bill: _as_told(ours, parts.get(self._part_id(told.record, bill), {}).get(amount))
                for bill, ours in told.figures["settles"].items()
            }
        account = str(row.get(fields["customer"]) or "")
        ours = told.names.get("customer", "")
        is_same = account[:15] == ours[:15]  # ids of 15 and of 18 characters name one record
        return Held(number=str(row["Id"]), names={"customer": ours if is_same else account}, figures=figures)

    def _rows(self, kind: str, keys: Sequence[str]) -> Iterator[Row]:
        for portion in portions(keys, assumptions.ASKED):
            named = ", ".join(f"'{key}'" for key in portion)
            yield from self._reader.rows(f"{self._select(kind)} WHERE {self._key} IN ({named})")

    def _select(self, kind: str) -> str:
        fields = ", ".join(("Id", self._key, *self._fields[kind].values()))
        return f"SELECT {fields} FROM {self._objects[kind]}"  # noqa: S608 - names that were checked


def _fields(account: Account, setting: str, ours: Mapping[str, str]) -> dict[str, str]:
    """Our word to the org's field, without those that are not told. Raises Malformed for what is no field, or not known."""
    given = dict(account.setting(setting, SETTINGS))
    if unknown := set(given) - set(ours):
        raise Malformed(f"The setting {setting} names “{min(unknown)}”; know {', '.join(ours)}.")
    chosen = {name: str(field) for name, field in {**ours, **given}.items() if field}
    needed = {"invoice_fields": ("customer",), "payment_fields": ("customer",)}.get(setting, tuple(ours))
    if missing := [name for name in needed if name not in chosen]:
        raise Malformed(f"The setting {setting} names no field for {missing[0]}, without which nothing can be told.")
    return {name: checked_name(field) for name, field in chosen.items()}


def _value(name: str, value: Any) -> Any:
    """A figure as the org's field takes it: amounts are numbers."""
    return Decimal(str(value)) if name in AMOUNTS and value is not None else value


def _as_told(ours: str, theirs: Any) -> str:
    """An amount there in our spelling where it is the same."""
    if theirs is None:
        return "nothing"
    return ours if Decimal(str(theirs)) == Decimal(ours) else str(theirs)


def _graph_portions(told: Sequence[Publication]) -> Iterator[Sequence[Publication]]:
    """Payments that go in one call: at most as many graphs, and as many requests in them, as it takes."""
    portion: list[Publication] = []
    nodes = 0
    for one in told:
        size = 1 + len(one.figures["settles"])
        if portion and (len(portion) == assumptions.GRAPHS or nodes + size > assumptions.NODES):
            yield portion
            portion, nodes = [], 0
        portion.append(one)
        nodes += size
    if portion:
        yield portion
