"""The server's side: sets by company, pages by link, batches, journals that wait until somebody posts them, and throttling.

Seed: by the name of a set, a list of its rows (`_SETS` below), and `"actions"`, played in order:

    {"do": "post"}                     people and the workflow post everything that waits and whose month is open
    {"do": "change", "set": "CustomersV3", "key": "usmf/US-001", "fields": {..}}          {"do": "remove", "set": .., "key": ..}
    {"do": "pay", "invoice": number, "amount": .., "on": day, "currency": "USD"}  a payment journal of one line, posted

Settings: `secrets` (client id → secret), `token_seconds`, `forget_tokens`, `closed` (months that are not open), `busy` (seconds
that a caller of low priority is told to wait; empty: nobody is), `rate` ([calls, seconds]), `mapped` (whether the application
is mapped to a user).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from integrations.sandbox import entra
from integrations.sandbox.dynamicsfinance.books import Books, Refused
from integrations.sandbox.dynamicsfinance.errors import infolog, refusal
from integrations.sandbox.dynamicsfinance.invoices import Invoices
from integrations.sandbox.entra import Entra
from integrations.sandbox.odata import BadFilter, batched, page, predicate
from integrations.sandbox.store import Store
from integrations.sandbox.vendor import Request, Response, Route, Vendor, Window

TENANT, COMPANY = "contoso.example", "usmf"
CLIENT_ID, CLIENT_SECRET = "fo-sandbox-client", "fo-sandbox-secret"
PAGE, BATCH = 10_000, 5000
_SETS: Mapping[str, tuple[str, ...]] = {
    "LegalEntities": ("LegalEntityId",),
    "FiscalPeriods": ("Calendar", "FiscalYear", "PeriodName"),
    "FinancialDimensionValues": ("FinancialDimension", "LegalEntityId", "DimensionValue"),
    "Workers": ("PersonnelNumber",),
    "CustomersV3": ("dataAreaId", "CustomerAccount"),
    "ProjectsV2": ("dataAreaId", "ProjectId"),
    "ProjectTasks": ("dataAreaId", "ProjectId", "TaskId"),
    "JournalTables": ("dataAreaId", "JournalBatchNumber"),
    "JournalTrans": ("dataAreaId", "JournalId", "LineNumber"),
    "Expenses": ("dataAreaId", "ExpenseTransactionNumber"),
    "PSAActuals": ("dataAreaId", "TransId"),
    "FreeTextInvoiceHeaders": ("dataAreaId", "InvoiceIdentifier"),
    "FreeTextInvoiceLines": ("dataAreaId", "ParentRecId", "LineNumber"),
    "SalesInvoiceHeadersV2": ("dataAreaId", "InvoiceNumber"),
    "CustomerPaymentJournalHeaders": ("dataAreaId", "JournalBatchNumber"),
    "CustomerPaymentJournalLines": ("dataAreaId", "JournalBatchNumber", "LineNumber"),
}


class DynamicsFinanceSandbox(Vendor):
    """One environment of one tenant."""

    name = "dynamicsfinance"

    def __init__(self, store: Store) -> None:
        self.entra = Entra(CLIENT_ID, CLIENT_SECRET)
        self.books = Books(store)
        self.invoices = Invoices(store)
        super().__init__(store)
        self._defaults()

    def _defaults(self) -> None:
        self.entra.defaults()
        self.busy = ""
        self.window = Window(6000, 300.0)
        self.mapped = True
        self.books.closed = set()

    def routes(self) -> Sequence[Route]:
        """What the documents describe and a connection needs."""
        return [
            Route("POST", f"/{TENANT}{entra.TOKEN_PATH}", self.entra.token),
            *(Route("GET", f"/data/{name}", self._list) for name in _SETS),
            Route("POST", "/data/JournalTables", self._write),
            Route("POST", "/data/JournalTrans", self._write),
            Route("POST", "/data/Expenses", self._write),
            Route("POST", "/data/FreeTextInvoiceHeaders", self._write),
            Route("DELETE", "/data/FreeTextInvoiceHeaders({key})", self._delete_invoice),
            Route("POST", "/data/$batch", self._batch),
        ]

    def authenticate(self, request: Request) -> Response | None:
        """A token of Entra's, a user for the application, and whether the system is busy."""
        if entra.asks(request):
            return None
        if not self.entra.admits(request):
            return refusal(401)
        if not self.mapped:
            return refusal(403)
        wait = self.window.refuses("app")
        told = self.busy or ("" if wait is None else str(max(1, round(wait))))
        if not told:
            return None
        busy = refusal(429)
        busy.headers["Retry-After"] = told
        return busy

    def error(self, status: int, request: Request) -> Response:
        """The documented error body."""
        del request
        return refusal(status)

    def _list(self, request: Request) -> Response:
        """A set: of the user's own company alone, unless all are asked for."""
        name = request.path.rsplit("/", 1)[1]
        rows = list(self.store.collection(name).values())
        if request.query.get("cross-company") != "true":
            rows = [row for row in rows if row.get("dataAreaId", "dat") == "dat"]
        try:
            holds = predicate(request.query.get("$filter", ""), wildcards=True)
            return page(request, [row for row in rows if holds(row)], PAGE, _tagged)
        except BadFilter as bad:
            return Response(400, {"error": {"code": "", "message": f"An error has occurred. {bad}"}})

    def _write(self, request: Request) -> Response:
        name = request.path.rsplit("/", 1)[1]
        write = {
            "JournalTables": self.books.header,
            "JournalTrans": self.books.line,
            "Expenses": self.books.expense,
            "FreeTextInvoiceHeaders": self.invoices.header,
            "FreeTextInvoiceLines": self.invoices.line,
        }[name]
        try:
            return Response(201, dict(_tagged(write(request.json()))))
        except Refused as refused:
            return infolog(refused.kind, *refused.words)

    def _delete_invoice(self, request: Request) -> Response:
        return Response(204) if self.invoices.delete(request.params["key"]) else refusal(404)

    def _batch(self, request: Request) -> Response:
        """Change sets in their order, each whole or not at all; all are answered."""
        writes = {"/data/JournalTrans", "/data/Expenses", "/data/FreeTextInvoiceLines"}

        def member(one: Request) -> Response:
            return self._write(one) if one.method == "POST" and one.path in writes else refusal(404)

        answer = batched(request, member, BATCH, begin=self._begin, goes_on=True)
        return answer or infolog("Batch", f"A batch has 1 to {BATCH} operations")

    def _begin(self) -> Callable[[], None]:
        """Remember the lines of invoices, which are written together; what it returns brings them back."""
        lines = self.store.collection("FreeTextInvoiceLines")
        before = set(lines)

        def take_back() -> None:
            for key in set(lines) - before:
                del lines[key]

        return take_back

    def seed(self, data: Mapping[str, Any]) -> None:
        """Take rows by set, then play the actions."""
        if unknown := set(data) - {"actions", *_SETS}:
            raise ValueError(f"Dynamics 365 Finance has no {min(unknown)!r}")
        for name, keys in _SETS.items():
            for row in data.get(name, ()):
                self.store.collection(name)["/".join(str(row[key]) for key in keys)] = row
        for action in data.get("actions", ()):
            self._act(**action)

    def _act(self, do: str, **how: Any) -> None:
        if do == "post":
            self.books.post_journals()
            self.books.post_expenses()
        elif do == "change":
            rows = self.store.collection(str(how["set"]))
            rows[how["key"]] = {**rows[how["key"]], **how["fields"]}
        elif do == "remove":
            del self.store.collection(str(how["set"]))[how["key"]]
        elif do == "pay":
            self._pay(
                str(how["invoice"]),
                how["amount"],
                str(how["on"]),
                is_posted=bool(how.get("is_posted", True)),
                currency=how.get("currency", "USD"),
            )
        else:
            raise ValueError(f"Dynamics 365 Finance has no action {do!r}")

    def _pay(self, invoice: str, amount: float, on: str, *, is_posted: bool, currency: str) -> None:
        number = f"PAY-{self.store.next_id('payment'):06}"
        key = f"{COMPANY}/{number}"
        self.store.collection("CustomerPaymentJournalHeaders")[key] = {
            "dataAreaId": COMPANY, "JournalBatchNumber": number, "JournalName": "ARPay",
            "IsPosted": "Yes" if is_posted else "No",
        }  # fmt: skip
        self.store.collection("CustomerPaymentJournalLines")[f"{key}/1"] = {
            "dataAreaId": COMPANY, "JournalBatchNumber": number, "LineNumber": 1, "MarkedInvoice": invoice,
            "SettleVoucher": "SelectedTransact", "Voucher": f"V-{number}", "TransactionDate": f"{on}T12:00:00Z",
            "AccountType": "Cust", "AccountDisplayValue": "US\\-001", "CustomerName": "Contoso Retail",
            "OffsetAccountType": "Bank", "CreditAmount": amount, "DebitAmount": 0, "CurrencyCode": currency,
            "PaymentReference": f"WIRE-{number}", "TransactionText": "",
        }  # fmt: skip

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Take the settings named at the top of this module."""
        rest = dict(settings)
        self.entra.configure(rest)
        self.busy = str(rest.pop("busy", self.busy))
        if "rate" in rest:
            calls, seconds = rest.pop("rate")
            self.window = Window(int(calls), float(seconds))
        self.mapped = bool(rest.pop("mapped", self.mapped))
        self.books.closed = set(rest.pop("closed", self.books.closed))
        super().configure(rest)

    def reset(self) -> None:
        """Forget records and settings."""
        super().reset()
        self._defaults()

    def inspect(self) -> Mapping[str, Any]:
        """What bears our keys, and the journals with the number of their lines."""
        lines = [str(row["JournalId"]) for row in self.store.collection("JournalTrans").values()]
        journals = self.store.collection("JournalTables").values()
        return {
            "by_key": self.books.by_key(),
            "invoices": self.invoices.lines_by_key(),
            "journals": {
                row["JournalBatchNumber"]: {
                    "description": row["Description"], "posted": row["Posted"],
                    "lines": lines.count(row["JournalBatchNumber"]),
                }
                for row in journals
            },
        }  # fmt: skip


def _tagged(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"@odata.etag": f'W/"{abs(hash(str(row)))}"', **row}
