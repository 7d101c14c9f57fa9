"""What is written and posted: hour journals with their lines, expenses, and the transactions that posting makes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from integrations.sandbox.store import Store

LINE = frozenset(
    {
        "dataAreaId", "JournalId", "LineNumber", "ProjectID", "ActivityNumber", "Category", "LineProperty", "ProjectDate",
        "VoucherDate", "ResourceId", "ResourceCompanyId", "Hours", "SalesPrice", "CurrencyId", "DimensionDisplayValue",
        "Description", "TransactionID", "Voucher",
    }
)  # fmt: skip
EXPENSE = frozenset(
    {
        "dataAreaId", "LegalEntityDataAreaId", "EmployeePersonnelNumber", "ProjectID", "ActivityNumber", "ExpenseCategory",
        "TransactionDate", "TransactionAmount", "Currency", "Billable", "ReceiptNumber", "PaymentMethod",
        "DimensionDisplayValue", "AdditionalInformation", "ExpenseTransactionNumber", "ProjectTransactionID", "Voucher",
        "PostingErrors",
    }
)  # fmt: skip
DESCRIPTION = 60


class Refused(Exception):
    """The Infolog says no."""

    def __init__(self, kind: str, *words: str) -> None:
        super().__init__("; ".join(words))
        self.kind, self.words = kind, words


class Books:
    """Journals, expenses and posted transactions of all companies."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.closed: set[str] = set()

    def header(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Make a journal; its number sequence names it."""
        number = f"TIE-{self._store.next_id('journal'):06}"
        made = {"JournalBatchNumber": number, "Posted": "No", "PostedUserId": "", **given}
        self._store.collection("JournalTables")[f"{given['dataAreaId']}/{number}"] = made
        return made

    def line(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Write a line of a journal; its place in it is its key."""
        kind = "ProjHourJournalTransEntity"
        if unknown := set(given) - LINE:
            raise Refused(kind, f"The property '{min(unknown)}' does not exist on type 'JournalTrans'")
        company = given["dataAreaId"]
        header = self._store.collection("JournalTables").get(f"{company}/{given['JournalId']}")
        if header is None:
            raise Refused(
                kind, f"The value '{given['JournalId']}' in field 'Journal' is not found in the related table"
            )
        if header["Posted"] == "Yes":
            raise Refused(kind, f"Journal {given['JournalId']} has already been posted")
        lines = self._store.collection("JournalTrans")
        key = f"{company}/{given['JournalId']}/{given['LineNumber']}"
        if key in lines:
            raise Refused(
                kind, "Cannot create a record in Hour journal lines (ProjJournalTrans). The record already exists"
            )
        if len(str(given.get("Description", ""))) > DESCRIPTION:
            raise Refused(kind, f"Description is too long: at most {DESCRIPTION} characters")
        self._related(kind, company, given)
        made = self._moment({**dict.fromkeys(LINE, ""), **given}, "ProjectDate", "VoucherDate")
        lines[key] = made
        return made

    def expense(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Write an expense; its number sequence names it."""
        kind = "TrvExpTransEntity"
        if unknown := set(given) - EXPENSE:
            raise Refused(kind, f"The property '{min(unknown)}' does not exist on type 'Expenses'")
        self._related(kind, given["dataAreaId"], {**given, "ResourceId": given["EmployeePersonnelNumber"]})
        number = f"EXP-{self._store.next_id('expense'):06}"
        made = {**dict.fromkeys(EXPENSE, ""), **given, "ExpenseTransactionNumber": number}
        made = self._moment(made, "TransactionDate")
        self._store.collection("Expenses")[f"{given['dataAreaId']}/{number}"] = made
        return made

    def post_journals(self) -> None:
        """What people do in the client: post every journal that waits, whole, where its period is open."""
        lines = self._store.collection("JournalTrans")
        for name, header in list(self._store.collection("JournalTables").items()):
            chosen = [(key, row) for key, row in lines.items() if key.startswith(f"{name}/")]
            if header["Posted"] == "Yes" or any(str(row["ProjectDate"])[:7] in self.closed for _, row in chosen):
                continue
            for key, row in chosen:
                number = self._actual(row, "Hour", row["ProjectDate"], row["ResourceId"], row["Hours"])
                lines[key] = {**row, "TransactionID": number, "Voucher": f"V-{number}"}
            self._store.collection("JournalTables")[name] = {**header, "Posted": "Yes"}

    def post_expenses(self) -> None:
        """What the expense workflow does; one of a closed month says why it was not posted."""
        expenses = self._store.collection("Expenses")
        for key, row in list(expenses.items()):
            if row["Voucher"]:
                continue
            if str(row["TransactionDate"])[:7] in self.closed:
                month = str(row["TransactionDate"])[:7]
                expenses[key] = {**row, "PostingErrors": f"Fiscal period for {month} is not open."}
                continue
            amount = row["TransactionAmount"]
            number = self._actual(row, "Cost", row["TransactionDate"], row["EmployeePersonnelNumber"], amount)
            expenses[key] = {**row, "ProjectTransactionID": number, "Voucher": f"V-{number}", "PostingErrors": ""}

    def by_key(self) -> dict[str, int]:
        """How many lines and expenses bear each key of ours."""
        texts = [str(row["Description"]) for row in self._store.collection("JournalTrans").values()]
        texts += [str(row["AdditionalInformation"]) for row in self._store.collection("Expenses").values()]
        return dict(Counter(text.partition(" ")[0] for text in texts))

    def _actual(self, row: Mapping[str, Any], kind: str, day: Any, resource: Any, quantity: Any) -> str:
        number = f"PT{self._store.next_id('actual'):08}"
        made = {
            "dataAreaId": row["dataAreaId"], "TransId": number, "ProjTransType": kind, "ProjTransDate": day,
            "ProjId": row["ProjectID"], "ResourceId": resource, "Qty": quantity, "Voucher": f"V-{number}",
        }  # fmt: skip
        self._store.collection("PSAActuals")[f"{row['dataAreaId']}/{number}"] = made
        return number

    def _related(self, kind: str, company: Any, given: Mapping[str, Any]) -> None:
        project = self._store.collection("ProjectsV2").get(f"{company}/{given['ProjectID']}")
        if project is None:
            raise Refused(
                kind,
                f"The value '{given['ProjectID']}' in field 'Project ID' is not found in the related table 'Projects'",
            )
        if project.get("ProjectStage") == "Finished":
            raise Refused(kind, f"Project {given['ProjectID']} is in a stage in which no transactions may be created")
        if given["ResourceId"] not in self._store.collection("Workers"):
            raise Refused(
                kind,
                f"The value '{given['ResourceId']}' in field 'Resource' is not found in the related table 'Resources'",
            )

    @staticmethod
    def _moment(row: dict[str, Any], *fields: str) -> dict[str, Any]:
        """Days as they are shown: as noon."""
        return {**row, **{field: f"{str(row[field])[:10]}T12:00:00Z" for field in fields}}
