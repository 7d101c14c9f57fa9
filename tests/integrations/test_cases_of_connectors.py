"""The cases of docs/cases.md that are about talking to other systems, against every connector: proven of it, or why not.

Whether a case is one of a connector is told by what the connector declares and does, never by a list of names. Where it is, a
test of this very connector bears the case's number: in a file that is named for it, or in a contract that its class keeps. Where
no connector has a say, because Tieout decides before one is asked, a test of Tieout bears it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from integrations import registry
from integrations.protocol import Biller, Target
from integrations.sandbox import VENDORS
from tests.integrations.test_every_connector import SAMPLES, connector

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(registry.CONNECTORS)
CONTRACTS = ("SourcePromises", "SourceContract", "TargetContract", "RecipientContract", "BillerContract")


@dataclass(frozen=True)
class Facts:
    """What a connector declares and does."""

    name: str
    built: Any
    code: str

    @property
    def means(self) -> set[str]:
        """What its table of the vendor's words for no tells apart."""
        if not (ROOT / "integrations" / "connectors" / self.name / "refusals.py").exists():
            return set()
        return {one.means for one in import_module(f"integrations.connectors.{self.name}.refusals").PATTERNS}


def applies_if(holds: Callable[[Facts], bool], else_: str) -> Callable[[Facts], str]:
    """A case of the connectors of which something holds; of every other one, why it is none."""
    return lambda facts: "" if holds(facts) else else_


def decided_here(why: str) -> Callable[[Facts], str]:
    """A case in which no connector has a say."""
    return lambda _: f"{HERE} {why}"


HERE = "Tieout decides it before a connector is asked:"
CALLED = applies_if(lambda facts: facts.name in SAMPLES, "Its vendor sends us nothing, and whatever comes is refused.")
RULINGS: Mapping[int, Callable[[Facts], str]] = {
    22: applies_if(lambda facts: "merged_into" in facts.code, "Its customers bear no mark of a merge."),
    24: decided_here("that two accounts are one customer is said in the crosswalk."),
    29: decided_here("what names a record that is not there waits for its arrival."),
    62: applies_if(
        lambda facts: "one_outcome_each" in facts.code or hasattr(facts.built, "publish_together"), "It is told one thing a call."
    ),
    63: applies_if(lambda facts: isinstance(facts.built, Target), "It books no postings."),
    64: decided_here("a key carries its generation, so that what is booked anew has another."),
    65: decided_here("a key is kept with the hash of its body, and is not sent with another."),
    66: applies_if(
        lambda facts: facts.name in VENDORS or (ROOT / "tests" / facts.name / "server.py").is_file(), "It calls no vendor."
    ),
    68: applies_if(lambda facts: "schema-changed" in facts.means, "None of its refusals says that a field is missing."),
    72: applies_if(
        lambda facts: isinstance(facts.built, Biller) or "LINE_LIMIT" in facts.code, "It makes no document of many lines."
    ),
    73: applies_if(lambda facts: "record-changed" in facts.means, "None of its refusals says that a record changed meanwhile."),
    74: applies_if(
        lambda facts: "posting_key=" in facts.code or "posting_number=" in facts.code, "No stream of it brings our writing back."
    ),
    111: decided_here("an hour for another entity is held by a rule."),
    112: decided_here("a price list between entities is asked for by a rule."),
    113: decided_here("both legs are tied to one bundle."),
    114: decided_here("the work date says which target an hour is owed to."),
    117: CALLED,
    118: CALLED,
    119: CALLED,
    120: CALLED,
    121: CALLED,
    122: decided_here("who said a thing is kept with it, and it is not told to them again."),
    123: CALLED,
    132: lambda _: "",
}  # fmt: skip


@cache
def facts_of(name: str, folder: Path) -> Facts:
    """A connector without a network behind it, and its code."""
    code = "\n".join(one.read_text() for one in sorted((ROOT / "integrations" / "connectors" / name).glob("*.py")))
    return Facts(name, connector(name, tmp_path=folder), code)


@cache
def proofs() -> Mapping[int, set[str]]:
    """Of each case the connectors of which a test bears it, and `tieout` for a test that is of none."""
    found: dict[int, set[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for number, name in _of_file(path):
            found.setdefault(number, set()).add(name)
    return found


def _of_file(path: Path) -> Iterator[tuple[int, str]]:
    tree = ast.parse(path.read_text())
    named = [name for name in NAMES if name in path.stem.split("_")]
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            of_class = [name for name in NAMES if node.name.lower().startswith(f"test{name}")] or named
            kept = {base.id for base in node.bases if isinstance(base, ast.Name)} & set(CONTRACTS)
            for number in {number for contract in kept for number in _contracts()[contract]}:
                yield from ((number, name) for name in of_class)
            for test in (one for one in node.body if isinstance(one, ast.FunctionDef)):
                yield from ((number, name) for number in _numbers(test) for name in of_class or ["tieout"])
        elif isinstance(node, ast.FunctionDef) and node in tree.body:
            every = _parametrized(node) if path.stem == "test_every_connector" else named
            yield from ((number, name) for number in _numbers(node) for name in every or ["tieout"])


def _parametrized(test: ast.FunctionDef) -> list[str]:
    """Of which connectors a test of all of them is."""
    written = " ".join(ast.unparse(one) for one in test.decorator_list)
    return NAMES if "NAMES" in written else sorted(SAMPLES)


@cache
def _contracts() -> Mapping[str, set[int]]:
    """The cases that the tests of each contract bear, those that it takes over from another one included."""
    own: dict[str, set[int]] = {}
    bases: dict[str, list[str]] = {}
    for path in (ROOT / "tests" / "integrations").glob("*contract.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                tests = [one for one in node.body if isinstance(one, ast.FunctionDef)]
                own[node.name] = {number for test in tests for number in _numbers(test)}
                bases[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]

    def whole(name: str) -> set[int]:
        return own.get(name, set()).union(*(whole(base) for base in bases.get(name, ())))

    return {name: whole(name) for name in own}


def _numbers(test: ast.FunctionDef) -> set[int]:
    """The cases that a test bears."""
    calls = [
        one for one in test.decorator_list if isinstance(one, ast.Call) and ast.unparse(one.func) == "pytest.mark.case"
    ]
    return {ast.literal_eval(number) for call in calls for number in call.args}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("number", sorted(RULINGS))
def test_a_case_of_talking_to_other_systems_is_proven_of_every_connector_that_it_is_one_of(
    number: int, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    why_not = RULINGS[number](facts_of(name, tmp_path_factory.getbasetemp()))
    proven = proofs().get(number, set())
    if not why_not:
        assert name in proven, f"no test of {name} bears case {number}"
    elif why_not.startswith(HERE):
        assert proven, f"no test bears case {number}"
    assert not why_not or why_not.endswith(".")


def test_the_table_knows_a_proof_from_none() -> None:
    """It would not be worth much if every connector were proven of everything."""
    assert "tempo" not in proofs()[72]
    assert "harvest" not in proofs()[123]
    assert proofs()[123] > set(SAMPLES)
    assert _contracts()["SourceContract"] >= {7, 12, 66, 119, 120, 132}
    assert _contracts()["TargetContract"] >= {57, 62, 63, 66}
