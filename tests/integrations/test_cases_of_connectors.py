"""The cases of docs/cases.md that are about talking to other systems, against every connector: proven of it, or why not.

Which test proves a case of a connector, or why none does, is written in `cases_of_connectors`, cell by cell. Here each test that
is named there must exist, be of that connector, and bear the case's number.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from integrations import registry
from integrations.protocol import Target
from tests.integrations.cases_of_connectors import DECIDED_HERE, EVERY, HERE, TABLE
from tests.integrations.test_every_connector import SAMPLES, connector

TESTS = Path(__file__).resolve().parents[1]
NAMES = sorted(registry.CONNECTORS)


def is_test(told: str) -> bool:
    """Whether a cell names a test, and not a reason."""
    return told.startswith("test_") and "::" in told


@cache
def borne(path: Path) -> Mapping[str, frozenset[int]]:
    """The tests of a file as `name` or `Class::name` with the cases that they bear; a class has those of its contracts, too."""
    found: dict[str, frozenset[int]] = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = _numbers(node)
        elif isinstance(node, ast.ClassDef):
            kept = [base.id for base in node.bases if isinstance(base, ast.Name)]
            tests = {name: cases for base in kept for name, cases in contracts().get(base, {}).items()}
            tests |= {one.name: _numbers(one) for one in node.body if isinstance(one, ast.FunctionDef)}
            found |= {f"{node.name}::{name}": cases for name, cases in tests.items()}
    return found


@cache
def contracts() -> Mapping[str, Mapping[str, frozenset[int]]]:
    """The tests of each contract with the cases that they bear, those that it takes over from another one included."""
    own: dict[str, dict[str, frozenset[int]]] = {}
    bases: dict[str, list[str]] = {}
    for path in (TESTS / "integrations").glob("*contract.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                own[node.name] = {one.name: _numbers(one) for one in node.body if isinstance(one, ast.FunctionDef)}
                bases[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]

    def whole(name: str) -> dict[str, frozenset[int]]:
        taken = {test: cases for base in bases.get(name, ()) for test, cases in whole(base).items()}
        return taken | own.get(name, {})

    return {name: whole(name) for name in own}


def _numbers(test: ast.FunctionDef) -> frozenset[int]:
    """The cases that a test bears."""
    calls = [
        one for one in test.decorator_list if isinstance(one, ast.Call) and ast.unparse(one.func) == "pytest.mark.case"
    ]
    return frozenset(ast.literal_eval(number) for call in calls for number in call.args)


def flaw(number: int, name: str, told: str) -> str:
    """What is wrong with a cell; empty where nothing is."""
    if not is_test(told):
        return "" if told.endswith(".") and " " in told else "a reason is a sentence"
    file, _, test = told.partition("::")
    path = TESTS / "integrations" / file
    if not path.is_file() or test not in borne(path):
        return "there is no such test"
    if number not in borne(path)[test]:
        return "it does not bear the case"
    named = path.stem.split("_")
    is_of_it = file == EVERY or name in named or test.lower().startswith(f"test{name}")
    is_of_it = is_of_it or (name == "files" and "files" in named)
    return "" if is_of_it else "it is of another connector"


@pytest.mark.parametrize("number", sorted(TABLE))
def test_a_case_of_talking_to_other_systems_has_its_proof_or_its_reason_for_every_connector(number: int) -> None:
    assert sorted(TABLE[number]) == NAMES
    assert {name: wrong for name, told in TABLE[number].items() if (wrong := flaw(number, name, told))} == {}


@pytest.mark.parametrize("number", sorted(DECIDED_HERE))
def test_a_case_in_which_no_connector_has_a_say_is_proven_of_tieout(number: int) -> None:
    assert DECIDED_HERE[number].startswith(HERE)
    proofs = [
        path for path in sorted(TESTS.rglob("test_*.py")) if any(number in cases for cases in borne(path).values())
    ]
    assert proofs, f"no test bears case {number}"


def test_no_reason_stands_where_the_connector_says_otherwise(tmp_path: Path) -> None:
    """What a connector declares is no excuse for a reason: a target books, and who calls us is called with."""
    for name in NAMES:
        assert is_test(TABLE[63][name]) == isinstance(connector(name, tmp_path=tmp_path), Target), name
        assert {is_test(TABLE[number][name]) for number in (117, 118, 119, 120, 121, 123)} == {name in SAMPLES}, name


def test_the_table_knows_a_proof_from_none() -> None:
    proof = TABLE[22]["salesforce"]
    assert flaw(22, "salesforce", proof) == ""
    assert flaw(22, "tryton", proof) == "it is of another connector"
    assert flaw(23, "salesforce", proof) == "it does not bear the case"
    assert flaw(22, "salesforce", f"{proof}_or_not") == "there is no such test"
    assert flaw(22, "salesforce", "schema-changed") == "a reason is a sentence"
