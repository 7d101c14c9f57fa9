"""The NetSuite account of the tests: two subsidiaries, a few people and projects, and the keys to sign in with."""

from __future__ import annotations

import time
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from integrations.connectors.netsuite import NetSuiteConnector
from integrations.protocol import Account
from integrations.sandbox.server import control
from portal.records import DocumentKind, Posting
from tests.integrations.contract import Bench


def _pem(key: Any) -> tuple[str, str]:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return private, public


@cache
def keys() -> dict[str, tuple[str, str]]:
    """Private and public keys by algorithm."""
    return {
        "PS256": _pem(rsa.generate_private_key(65537, 2048)),
        "ES256": _pem(ec.generate_private_key(ec.SECP256R1())),
        "ES384": _pem(ec.generate_private_key(ec.SECP384R1())),
        "ES512": _pem(ec.generate_private_key(ec.SECP521R1())),
    }


def ref(key: str) -> dict[str, str]:
    return {"id": key, "refName": key}


STAMP = "2026-08-{:02}T08:00:00Z"  # by days, far beyond every overlap
TOKENS = {
    "consumer_key": "consumer-key-1", "consumer_secret": "consumer-secret-canary-1",
    "token_id": "token-id-1", "token_secret": "token-secret-canary-1", "realm": "1234567_SB1",
}  # fmt: skip
SEED: dict[str, Any] = {
    "certificates": [
        {"id": f"cert-{name}", "client_id": "client-1", "public_key": public} for name, (_, public) in keys().items()
    ],
    "token_credentials": [TOKENS],
    "records": {
        "currency": [
            {"id": "1", "symbol": "USD", "name": "US Dollar"},
            {"id": "4", "symbol": "EUR", "name": "Euro"},
        ],
        "subsidiary": [
            {"id": "1", "name": "US", "legalName": "Firm Inc.", "currency": ref("1"), "lastModifiedDate": STAMP.format(1)},
            {"id": "2", "name": "DE", "parent": ref("1"), "currency": ref("4"), "lastModifiedDate": STAMP.format(2)},
        ],
        "department": [
            {"id": "3", "name": "Delivery", "subsidiary": ref("1"), "lastModifiedDate": STAMP.format(1)},
            {"id": "4", "name": "Old", "isInactive": True, "lastModifiedDate": STAMP.format(2)},
        ],
        "accountingPeriod": [
            {
                "id": str(100 + month), "periodName": f"2026-{month:02}", "startDate": f"2026-{month:02}-01",
                "endDate": f"2026-{month:02}-28", "closed": month < 8, "isPosting": True,
                "lastModifiedDate": STAMP.format(month),
            }
            for month in range(1, 11)
        ] + [
            {"id": "120", "periodName": "Q3 2026", "startDate": "2026-07-01", "endDate": "2026-09-30", "isQuarter": True,
             "lastModifiedDate": STAMP.format(20)},
        ],
        "customer": [
            {"id": "220", "entityId": "ACME", "companyName": "Acme Ltd", "subsidiary": ref("1"), "currency": ref("1"),
             "startDate": "2020-01-01", "lastModifiedDate": STAMP.format(1)},
            {"id": "221", "entityId": "ACME-EU", "companyName": "Acme EU", "parent": ref("220"), "subsidiary": ref("2"),
             "currency": ref("4"), "defaultTaxReg": "DE123456789", "lastModifiedDate": STAMP.format(2)},
        ],
        "job": [
            {"id": "1514", "entityId": "ACME-1", "companyName": "Acme rollout", "parent": ref("220"),
             "subsidiary": ref("1"), "entityStatus": {"id": "2", "refName": "In Progress"},
             "jobBillingType": {"id": "3", "refName": "Time and Materials"}, "startDate": "2026-01-01",
             "projectManager": ref("22"), "lastModifiedDate": STAMP.format(1)},
            {"id": "1515", "entityId": "ACME-2", "companyName": "Acme closed", "parent": ref("220"), "isInactive": True,
             "lastModifiedDate": STAMP.format(2)},
            {"id": "1516", "entityId": "ACME-3", "companyName": "No time here", "parent": ref("220"), "allowTime": False,
             "entityStatus": {"id": "1", "refName": "Closed"}, "lastModifiedDate": STAMP.format(3)},
        ],
        "projectTask": [
            {"id": "77", "title": "Build", "project": ref("1514"), "lastModifiedDate": STAMP.format(1)},
            {"id": "78", "title": "Done", "project": ref("1514"), "status": {"id": "COMPLETE"}, "nonBillableTask": True,
             "lastModifiedDate": STAMP.format(2)},
        ],
        "employee": [
            {"id": "22", "entityId": "E-22", "firstName": "Ann", "lastName": "Lee", "email": "ann@example.com",
             "subsidiary": ref("1"), "department": ref("3"), "hireDate": "2022-05-01",
             "lastModifiedDate": STAMP.format(1)},
            {"id": "23", "entityId": "E-23", "firstName": "Bob", "lastName": "Ray", "isInactive": True,
             "subsidiary": ref("1"), "releasedate": "2026-06-30", "lastModifiedDate": STAMP.format(2)},
        ],
        "serviceItem": [{"id": "90", "itemId": "CONSULTING"}],
        "expenseCategory": [{"id": "5", "name": "Travel"}],
        "invoice": [
            {"id": "501", "tranId": "INV-501", "entity": {"id": "220", "refName": "Acme Ltd"}, "subsidiary": ref("1"),
             "currency": ref("1"), "exchangeRate": 1.0, "tranDate": "2026-09-30", "dueDate": "2026-10-30", "subtotal": 1087.5,
             "taxTotal": 87, "total": 1174.5, "amountPaid": 500, "amountRemaining": 674.5, "otherRefNum": "PO-7",
             "status": {"id": "A", "refName": "Open"},
             "time": {"items": [{"apply": True, "doc": ref("1001"), "rate": 145.0, "quantity": "7:30", "amount": 1087.5,
                                 "memo": "Rollout workshop", "job": {"id": "1514", "refName": "Acme rollout"},
                                 "taxDetailsReference": "77"}]},
             "taxDetails": {"items": [{"taxDetailsReference": {"id": "77"}, "netAmount": 1087.5, "taxBasis": 1087.5,
                                       "taxRate": 8.0, "taxAmount": 87.0, "taxCode": {"id": "7", "refName": "S-US"}}]},
             "lastModifiedDate": STAMP.format(1)},
            {"id": "502", "tranId": "INV-502", "entity": {"id": "221", "refName": "Acme EU"}, "subsidiary": ref("2"),
             "currency": ref("4"), "exchangeRate": 1.1, "tranDate": "2026-09-30", "subtotal": 100, "taxTotal": 0, "total": 100,
             "amountRemaining": 0, "status": {"id": "B", "refName": "Paid In Full"},
             "item": {"items": [{"line": 1, "quantity": 2, "rate": 50, "amount": 100, "description": "Licence"}]},
             "lastModifiedDate": STAMP.format(2)},
        ],
        "creditMemo": [
            {"id": "601", "tranId": "CM-601", "entity": {"id": "220", "refName": "Acme Ltd"}, "subsidiary": ref("1"),
             "currency": ref("1"), "createdFrom": ref("501"), "tranDate": "2026-10-05", "subtotal": 145, "total": 145,
             "amountRemaining": 0, "status": {"id": "B", "refName": "Fully Applied"},
             "item": {"items": [{"line": 1, "quantity": 1, "rate": 145, "amount": 145, "description": "One hour",
                                 "custcol_tieout_posting": "1001"}]},
             "apply": {"items": [{"doc": ref("501"), "apply": True, "amount": 145},
                                 {"doc": ref("502"), "apply": False, "amount": 0}]},
             "lastModifiedDate": STAMP.format(3)},
        ],
        "customerPayment": [
            {"id": "701", "tranId": "PAY-701", "customer": {"id": "220", "refName": "Acme Ltd"}, "subsidiary": ref("1"),
             "currency": ref("1"), "tranDate": "2026-10-12", "payment": 520, "applied": 500, "unapplied": 20,
             "checkNumber": "BANK-1", "status": {"id": "C", "refName": "Deposited"},
             "apply": {"items": [{"doc": ref("501"), "apply": True, "amount": 500}]},
             "lastModifiedDate": STAMP.format(4)},
        ],
    },
    "delete": [{"type": "job", "id": "1499"}],
}  # fmt: skip

# The records of each stream, and a field of them in which people write words.
_SAYS = {
    "customers": ("customer", "companyName"), "projects": ("job", "companyName"), "tasks": ("projectTask", "title"),
    "employees": ("employee", "firstName"), "subsidiaries": ("subsidiary", "name"), "departments": ("department", "name"),
    "periods": ("accountingPeriod", "periodName"), "invoices": ("invoice", "memo"), "credit-memos": ("creditMemo", "memo"),
    "payments": ("customerPayment", "memo"),
}  # fmt: skip


def account(base_url: str, algorithm: str = "PS256", **settings: Any) -> Account:
    """The account, signed in to with a certificate of an algorithm."""
    return Account(
        code=f"netsuite-{algorithm}",
        base_url=f"{base_url}/netsuite",
        realm="1234567_SB1",
        settings={
            "auth": "oauth2",
            "client_id": "client-1",
            "certificate_id": f"cert-{algorithm}",
            "service_item": "90",
            "currencies": {"USD": "1", "EUR": "4"},
            **settings,
        },
        secrets={"private_key": keys()[algorithm][0]},
    )


def token_account(base_url: str) -> Account:
    """The account, signed in to with tokens."""
    return Account(
        code="netsuite-tba",
        base_url=f"{base_url}/netsuite",
        realm="1234567-sb1",
        settings={
            "auth": "tba",
            "consumer_key": TOKENS["consumer_key"],
            "token_id": TOKENS["token_id"],
            "service_item": "90",
            "currencies": {"USD": "1", "EUR": "4"},
        },
        secrets={"consumer_secret": TOKENS["consumer_secret"], "token_secret": TOKENS["token_secret"]},
    )


def bench(base_url: str, **settings: Any) -> Bench:
    """What the contract suite needs of this account."""

    def change(stream: str, key: str, at: datetime) -> None:
        if stream == "deleted":
            time.sleep(1.0 - time.time() % 1.0)  # no vendor deletes one record twice within the second of its stamp
            control(base_url, "POST", "netsuite/seed", {"delete": [{"type": "job", "id": key.partition("/")[2]}]})
            return
        kind, field = _SAYS[stream]
        [record] = [one for one in SEED["records"][kind] if one["id"] == key]
        said = {field: f"Changed at {at}", "lastModifiedDate": f"{at:%Y-%m-%dT%H:%M:%SZ}"}
        control(base_url, "POST", "netsuite/seed", {"records": {kind: [{**record, **said}]}})

    return Bench(
        connector=NetSuiteConnector,
        account=account(base_url, **settings),
        sandbox=base_url,
        vendor="netsuite",
        read={"method": "POST", "path": "/suiteql"},
        write={"method": "PUT", "path": "/timebill"},
        change=change,
    )


def time_posting(**changes: Any) -> Posting:
    """Good hours under a new key."""
    return Posting(
        **{
            "key": uuid4().hex, "kind": DocumentKind.TIME, "work_date": date(2026, 9, 14), "entity": "1",
            "resource": "22", "project": "1514", "task": "77", "cost_centre": "3", "item": "90",
            "hours": Decimal("7.5"), "rate": Decimal("145.00"), "currency": "USD", "billable": True,
            "memo": "Rollout workshop", **changes,
        }
    )  # fmt: skip


def expense_posting(**changes: Any) -> Posting:
    """A good expense under a new key."""
    return Posting(
        **{
            "key": uuid4().hex, "kind": DocumentKind.EXPENSE, "work_date": date(2026, 9, 10), "entity": "1",
            "resource": "22", "project": "1514", "item": "5", "amount": Decimal("84.50"), "currency": "USD",
            "billable": True, "memo": "Train", "receipt_reference": "R-1", **changes,
        }
    )  # fmt: skip


def time_postings(count: int) -> list[Posting]:
    """Good hours of one person on several days."""
    return [
        time_posting(work_date=date(2026, 9, 1) + timedelta(days=n), hours=Decimal(1 + n % 8)) for n in range(count)
    ]
