"""The page of each connector agrees with its code, and nothing but its folder knows the vendor.

What a connector declares decides what its page must say: streams, settings, what it is told and bills, and what it cannot do.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from integrations import registry
from integrations.protocol import Biller, Recipient, Source, Target
from tests.integrations.test_every_connector import SAMPLES, connector

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(registry.CONNECTORS)


def page_of(name: str) -> Mapping[str, str]:
    """The sections of a connector's page, by their headings."""
    _, *parts = re.split(r"^## (.+)\n", (ROOT / "docs" / "connectors" / f"{name}.md").read_text(), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_page_names_every_stream_and_setting_and_none_that_is_not_there(name: str, tmp_path: Path) -> None:
    sections, built = page_of(name), connector(name, tmp_path=tmp_path)
    whole = "\n".join(sections.values())
    assert isinstance(built, Source)
    listed = re.findall(r"`([\w-]+)`", sections["Streams"])
    assert [stream for stream in built.streams if stream not in listed] == []
    settings = {setting.name for setting in built.settings}
    assert [setting for setting in sorted(settings) if f"`{setting}`" not in whole] == []
    rows = re.findall(r"^\| (?:secrets? )?((?:`\w+`(?:, (?:secrets? )?)?)+)", sections["Connection"], re.MULTILINE)
    told = {one for row in rows for one in re.findall(r"`(\w+)`", row)}
    assert told - settings == set()


@pytest.mark.parametrize("name", NAMES)
def test_a_page_says_what_the_connector_takes_and_in_its_own_place_what_it_cannot_do(name: str, tmp_path: Path) -> None:
    sections, built = page_of(name), connector(name, tmp_path=tmp_path)
    whole, cannot = "\n".join(sections.values()).lower(), sections["What it cannot do"].lower()
    assert "- " in cannot
    if isinstance(built, Target):
        can = built.capabilities
        assert "Posting" in sections
        assert can.reversal or "negative" in cannot
        assert can.expenses or "expense" in cannot
        assert can.statement or "statement" in cannot
        assert not can.books_within or "accepted" in whole
        assert not can.requires_task or "task" in whole
    if isinstance(built, Biller):
        assert "Invoice drafts" in sections
    if isinstance(built, Recipient):
        assert [kind for kind in built.publishes if str(kind).replace("_", " ") not in whole] == []
    if getattr(built, "deletions_untold", ""):
        assert "deletions are not told" in cannot
    if not built.tombstones:
        assert re.search(r"night|sweep", whole)
    if name in SAMPLES:
        assert re.search(r"webhook|hint", whole)


@pytest.mark.parametrize("name", sorted({*NAMES} - {"files"}))  # whose vendor is whoever writes the file
def test_what_is_assumed_of_a_vendor_stands_in_one_named_place_and_its_page_lists_it(name: str) -> None:
    place = f"integrations/connectors/{name}/assumptions.py"
    assert f"`{place}`" in page_of(name)["Assumptions"]
    doc = ast.get_docstring(ast.parse((ROOT / place).read_text()))
    assert doc
    for module in (ROOT / "integrations" / "connectors" / name).glob("*.py"):
        if module.name != "assumptions.py":
            assert not re.search(r"unsourced|\bis assumed|\bwe assume", module.read_text(), re.IGNORECASE), module.name


def replaced(name: str) -> Mapping[str, str]:
    """By what a connection replaces each value that is assumed: the setting, as code, or why there is none."""
    assumptions = importlib.import_module(f"integrations.connectors.{name}.assumptions")
    found = {one: f"`{setting.name}`" for setting in registry.connector_type(name).settings for one in setting.replaces}
    fixed = {one: why for names, why in assumptions.FIXED.items() for one in names.split(", ")}
    assert not found.keys() & fixed.keys()
    assert {*found, *fixed} <= set(vars(assumptions)), "what is replaced or fixed is assumed"
    return found | fixed


def assumed(name: str) -> str:
    """What a connector assumes, as its page lists it: its readings, and its values with the settings that replace them."""
    source = (ROOT / f"integrations/connectors/{name}/assumptions.py").read_text()
    lines, module, over = source.splitlines(), ast.parse(source), replaced(name)
    doc = ast.get_docstring(module) or ""
    readings = [" ".join(one.split()) for one in re.findall(r"^- (.*(?:\n  .*)*)", doc, re.MULTILINE)]
    rows: list[tuple[list[str], str]] = []
    for node in module.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        names = [one.id for one in ast.walk(target) if isinstance(one, ast.Name)]
        if names == ["FIXED"] or names[0].startswith("_"):
            continue
        first = above = node.lineno - 1
        while lines[above - 1].startswith("#"):
            above -= 1
        beside = lines[first].partition("  # ")[2].removeprefix("fmt: skip")
        said = " ".join(line.lstrip("# ") for line in lines[above:first]) or beside
        if not said and rows:  # what stands below a comment belongs to it
            rows[-1][0].extend(names)
        else:
            rows.append((names, said or f"{ast.unparse(node.value)[:60]}." if node.value else ""))
    shown = [
        f"| {', '.join(f'`{one}`' for one in names)} | {said.replace('|', '/')} | {_told(names, over)} |"
        for names, said in rows
    ]
    table = [
        "| In the code | What it is | The setting that replaces it, or why there is none |",
        "| --- | --- | --- |",
        *shown,
    ]
    return "\n".join([*(f"- {one}" for one in readings), "", *table] if readings else table)


def _told(names: list[str], over: Mapping[str, str]) -> str:
    """What replaces some values; each with its name where they are not replaced alike."""
    by_word: dict[str, list[str]] = {}
    for one in names:
        by_word.setdefault(over[one], []).append(one)
    if len(by_word) == 1:
        return next(iter(by_word))
    return "; ".join(f"{', '.join(f'`{one}`' for one in some)}: {word}" for word, some in by_word.items())


@pytest.mark.parametrize("name", sorted({*NAMES} - {"files"}))
def test_every_assumption_names_the_setting_that_replaces_it_or_says_why_there_is_none(name: str) -> None:
    assumptions = importlib.import_module(f"integrations.connectors.{name}.assumptions")
    settings = {setting.name for setting in registry.connector_type(name).settings}
    readings = re.findall(r"^- (.*(?:\n  .*)*)", assumptions.__doc__ or "", re.MULTILINE)
    assert readings
    for one in readings:
        assert "No setting: " in " ".join(one.split()) or settings & set(re.findall(r"`(\w+)`", one)), one
    values = {one for one in vars(assumptions) if one.isupper() and not one.startswith("_")} - {"FIXED"}
    assert values == set(replaced(name)), "each value is replaced by a setting, or says why not"
    for setting in registry.connector_type(name).settings:
        for one in setting.replaces:
            stands = getattr(assumptions, one)
            assert setting.default in (stands, {}, []), f"{setting.name} begins with what is assumed, or adds to it"


@pytest.mark.parametrize("name", sorted({*NAMES} - {"files"}))
def test_a_page_lists_every_assumption_as_the_code_has_it_with_the_setting_that_replaces_it(name: str) -> None:
    listed = assumed(name)
    assert listed in page_of(name)["Assumptions"], f"the page is to list this:\n\n{listed}"


def test_a_connector_is_its_folder_and_one_line_for_nothing_else_asks_which_vendor_it_is() -> None:
    """Help texts may have one as an example; code that compares with a name may not. Files are our own upload as well."""
    own = (
        "integrations/connectors/",
        "integrations/sandbox/",
        "integrations/demo/",
        "integrations/bench/",
        "integrations/registry.py",
    )
    found: list[Any] = []
    for app in ("portal", "reconciliation", "integrations"):
        for path in sorted((ROOT / app).rglob("*.py")):
            where = path.relative_to(ROOT).as_posix()
            if where.startswith(own) or "/migrations/" in where:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and node.value in NAMES and node.value != "files":
                    found.append((where, node.lineno, node.value))
                vendor = re.match(r"integrations\.connectors\.(?!files\b)", getattr(node, "module", None) or "")
                if isinstance(node, ast.ImportFrom) and vendor:
                    found.append((where, node.lineno, node.module))
    assert found == []


def test_the_code_that_the_guide_shows_stands_word_for_word_in_the_source() -> None:
    guide = (ROOT / "docs" / "connectors" / "adding.md").read_text()
    pieces = re.findall(r"From `([\w/.]+)`:\n\n```python\n(.*?)```", guide, re.DOTALL)
    assert len(pieces) >= 4
    for path, code in pieces:
        shown, source = (_lines(text) for text in (code, (ROOT / path).read_text()))
        assert any(source[at : at + len(shown)] == shown for at in range(len(source))), path
    _, _, places = guide.partition("## Where things go")
    rows = re.findall(r"^\| `(\w+/[\w/<>.]+)` \|", places, re.MULTILINE)
    missing = [row for row in rows if not (ROOT / row.replace("<vendor>", "tempo")).is_file()]
    assert (len(rows) >= 12, missing) == (True, [])
    for path in ("tests/integrations/cases_of_connectors.py", "tests/integrations/test_every_connector.py"):
        assert path in rows


def _lines(text: str) -> list[str]:
    """The lines of code without how far they stand in and without empty ones, which a page sets otherwise."""
    return [line.strip() for line in text.splitlines() if line.strip()]
