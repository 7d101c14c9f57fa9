"""What every system that is told master data must do, whatever its vendor, over real HTTP against its sandbox.

A connector joins with a subclass that says how it is built and what its account holds; nothing here is overridden.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest

from integrations import publications
from integrations.errors import ConnectorError, InDoubt, Rejected, Unauthorised
from integrations.http import recording
from integrations.protocol import Recipient, Takes
from portal.records import FIGURES, Held, Publication, PublishedKind
from tests.integrations.contract import IMPATIENT, TIME_OUTS, WRITE_FAULTS, Bench, _named

Kind = PublishedKind
GOOD: Mapping[Kind, dict[str, Any]] = {
    Kind.CUSTOMER: {"code": "ACME", "name": "Acme", "currency": "GBP", "is_active": True},
    Kind.PROJECT: {"code": "ACM-1", "name": "Roll-out", "billing_model": "time_and_material", "is_active": True},
    Kind.TASK: {"code": "DSG", "name": "Design", "is_billable": False, "is_active": True},
    Kind.ASSIGNMENT: {"is_active": True, "is_approver": True},
    Kind.CONTRACT: {
        "code": "ACME-2026", "currency": "GBP", "cap_amount": "25000.5", "starts_on": "2026-01-01", "ends_on": None,
    },
    Kind.RATE: {"amount": "112.5", "currency": "GBP", "valid_from": "2026-02-01", "agreed_in": "ACME-2026 v1"},
}  # fmt: skip
CHANGED: Mapping[Kind, dict[str, Any]] = {
    Kind.CUSTOMER: {"name": "Acme Group"},
    Kind.PROJECT: {"name": "Roll-out, phase 2", "billing_model": "fixed_fee"},
    Kind.TASK: {"is_active": False},
    Kind.ASSIGNMENT: {"is_approver": False},
    Kind.CONTRACT: {"cap_amount": "30000"},
    Kind.RATE: {"amount": "120"},
}


class RecipientContract:
    """What a recipient promises. `person` is somebody whom the account knows."""

    bench: Bench
    person: str

    def count(self, kind: Kind) -> int:
        """How many records of a kind the sandbox holds: the judge of twins."""
        raise NotImplementedError

    def recipient(self) -> Recipient:
        found = self.bench.build()
        assert isinstance(found, Recipient)
        return found

    def told(self, kind: Kind, names: Mapping[str, str], number: str = "", **changes: Any) -> Publication:
        named = {"customer": ("customer",), "project": ("project",), "resource": ("resource",)}
        wanted = {
            Kind.CUSTOMER: (), Kind.PROJECT: ("customer",), Kind.TASK: ("project",), Kind.CONTRACT: ("project",)
        }.get(kind, ("project", "resource"))  # fmt: skip
        assert set(wanted) <= set(named)
        return Publication(
            key=uuid.uuid4().hex, kind=kind, version=1, number=number, names={name: names[name] for name in wanted},
            figures={**GOOD[kind], **changes},
        )  # fmt: skip

    def family(self) -> dict[str, str]:
        """A client and a project of theirs, and the person."""
        names = {"resource": self.person}
        for kind in (Kind.CUSTOMER, Kind.PROJECT):
            if kind in self.recipient().publishes:
                names[str(kind)] = self.recipient().publish(self.told(kind, names))
        return names

    def held(self, told: Publication) -> Held | None:
        return self.recipient().held([told]).get(told.key)

    def test_of_every_kind_it_says_of_each_figure_whether_it_takes_it_and_why_not(self) -> None:
        publishes = self.recipient().publishes
        assert publishes
        for kind, takes in publishes.items():
            assert isinstance(takes, Takes)
            assert takes.figures, kind
            assert takes.figures | set(takes.refuses) == FIGURES[kind]
            assert not takes.figures & set(takes.refuses)
            assert all(sentence.endswith(".") for sentence in takes.refuses.values())

    def test_everything_that_it_takes_is_held_as_told_and_a_change_reaches_the_same_record(self) -> None:
        names = self.family()
        for kind in self.recipient().publishes:
            number = names.get(str(kind)) or self.recipient().publish(self.told(kind, names))
            takes = self.recipient().publishes[kind]
            before = self.count(kind)
            for changes in ({}, CHANGED[kind], CHANGED[kind]):
                told = self.told(kind, names, number, **changes)
                again = self.recipient().publish(told)
                found = self.held(told)
                assert found is not None, kind
                assert (again, found.number) == (number, number), kind
                assert not publications.differences(told, found), kind
                assert set(found.figures) == takes.figures, kind
            assert self.count(kind) == before, kind
            if kind is Kind.ASSIGNMENT:
                self.recipient().publish(self.told(kind, names))

    def test_the_body_is_pure_and_json_takes_it(self) -> None:
        names = {"customer": "1", "project": "2", "resource": self.person}
        for kind in self.recipient().publishes:
            told = self.told(kind, names)
            body = self.recipient().publication_body(told)
            assert body == self.recipient().publication_body(told)
            json.dumps(body, default=str)

    def test_another_record_of_the_same_name_is_named_as_a_twin_and_nothing_is_made(self) -> None:
        names = self.family()
        for kind in (kind for kind in (Kind.CUSTOMER, Kind.PROJECT) if kind in self.recipient().publishes):
            before = self.count(kind)
            with pytest.raises(Rejected) as refused:
                self.recipient().publish(self.told(kind, names, name=f" {GOOD[kind]['name'].upper()} "))
            assert (refused.value.code, refused.value.vendor_code) == ("twin", names[str(kind)])
            assert self.count(kind) == before

    def test_a_record_that_is_gone_is_refused_and_not_made_again(self) -> None:
        names = self.family()
        absent = {number: name for name, number in names.items()}
        for kind in (kind for kind in (Kind.CUSTOMER, Kind.PROJECT) if kind in self.recipient().publishes):
            number = names[str(kind)][:-3] + "999"
            assert number not in absent
            told = self.told(kind, names, number)
            assert self.held(told) is None
            with pytest.raises(Rejected) as refused:
                self.recipient().publish(told)
            assert refused.value.code == "gone"

    @pytest.mark.parametrize(
        ("fault", "expected", "kept"), WRITE_FAULTS, ids=lambda value: _named(value) if isinstance(value, dict) else ""
    )
    def test_a_call_that_goes_wrong_is_the_error_that_says_what_to_do_next_and_nothing_is_made_twice(
        self, fault: dict[str, Any], expected: type[ConnectorError], kept: bool
    ) -> None:
        told = self.told(Kind.CUSTOMER, {})
        self.bench.fault(self.bench.write, **fault)
        with pytest.raises(ConnectorError) as error:
            self.recipient().publish(told)
        assert isinstance(error.value, expected), error.value
        self.bench.clear()
        found = self.held(told)
        assert (found is not None) == kept
        assert self.count(Kind.CUSTOMER) == int(kept)
        if kept:
            with pytest.raises(Rejected):
                self.recipient().publish(told)
        else:
            self.recipient().publish(told)
        assert self.count(Kind.CUSTOMER) == 1

    @pytest.mark.case(57)
    def test_a_time_out_before_or_after_commit_of_any_kind_of_record_makes_one(self) -> None:
        names = self.family()
        for kind in self.recipient().publishes:
            for number, fault in enumerate(TIME_OUTS):
                changes = {"name": f"Other {number}", "code": f"OTH-{number}"} if "name" in GOOD[kind] else {}
                told = self.told(kind, names, **changes)
                before = self.count(kind)
                for method in ("POST", "PUT", "PATCH"):
                    self.bench.fault({"method": method}, **fault)
                with pytest.raises(InDoubt):
                    self.bench.build(**IMPATIENT).publish(told)
                self.bench.clear()
                where = (kind, fault["kind"])
                if (found := self.held(told)) is None or publications.differences(told, found):
                    self.recipient().publish(told)
                found = self.held(told)
                assert found is not None, where
                assert not publications.differences(told, found), where
                assert self.count(kind) - before <= 1, where

    @pytest.mark.case(67)
    def test_credentials_that_end_in_the_middle_make_one_record(self) -> None:
        self.recipient().check()
        with recording() as exchanges:
            self.recipient().publish(self.told(Kind.CUSTOMER, {}))
        for number in range(len(exchanges)):
            for times in (1, None):
                before = self.count(Kind.CUSTOMER)
                told = self.told(Kind.CUSTOMER, {}, name=f"Other {number} {times}", code=f"OTH-{number}-{times}")
                self.bench.fault({}, kind="status", status=401, after=number, times=times)
                with suppress(Unauthorised, InDoubt):
                    self.recipient().publish(told)
                self.bench.clear()
                if self.held(told) is None:
                    assert self.count(Kind.CUSTOMER) == before, (number, times)
                    self.recipient().publish(told)
                assert self.count(Kind.CUSTOMER) == before + 1, (number, times)


class DemandingContract(RecipientContract):
    """What holds besides of a recipient whose lists may come to demand a field that nobody has told it so far."""

    @pytest.mark.case(68)
    def test_a_field_that_it_came_to_demand_is_a_changed_schema_in_its_own_words_and_nothing_is_made(self) -> None:
        self.bench.control(f"{self.bench.vendor}/configure", {"required": {"clients": ["cost_code"]}})
        with pytest.raises(Rejected) as refused:
            self.recipient().publish(self.told(Kind.CUSTOMER, {}))
        assert refused.value.code == "schema-changed"
        assert "cost" in refused.value.detail.lower()
        assert self.count(Kind.CUSTOMER) == 0
        own = [{"match": "cost.code", "means": "dimension-missing"}]
        with pytest.raises(Rejected) as refused:
            self.bench.build(refusals=own).publish(self.told(Kind.CUSTOMER, {}))
        assert refused.value.code == "dimension-missing"
        self.bench.control(f"{self.bench.vendor}/configure", {"required": {}})
        self.recipient().publish(self.told(Kind.CUSTOMER, {}))
        assert self.count(Kind.CUSTOMER) == 1
