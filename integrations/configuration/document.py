"""Reading the TOML document: its sections, their rows, and the path of every value. Unknown keys are refused."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from portal.importing.problems import Problem

SECTIONS = ("policies", "entities", "periods", "connections", "routes", "users", "teams", "ownership")
MISSING = object()


@dataclass(frozen=True, slots=True)
class TomlPlace:
    """One table of the document, as `connections[erp]`; without a code it is counted, as `connections[#2]`."""

    path: str

    def at(self, column: str = "") -> str:
        """As in `connections[erp].base_url`."""
        return f"{self.path}.{column}" if column else self.path

    def short(self) -> str:
        """As in `connections[erp]`."""
        return self.path


@dataclass(slots=True)
class Document:
    """The parsed file and what was found wrong while walking it."""

    content: Mapping[str, Any]
    problems: list[Problem] = field(default_factory=list)

    def problem(self, place: str, value: Any, message: str) -> None:
        """Note a mistake at its path."""
        self.problems.append(Problem(place, shown(value), message))

    def rows(
        self, section: str, known: Collection[str], name: str = "code"
    ) -> Iterator[tuple[TomlPlace, dict[str, Any]]]:
        """The tables of a section with their places; anything else is a mistake."""
        yield from self.tables(self.content.get(section, []), section, known, name)

    def tables(
        self, value: Any, path: str, known: Collection[str], name: str = "code"
    ) -> Iterator[tuple[TomlPlace, dict[str, Any]]]:
        """The tables of a list, each checked for keys that nobody knows."""
        if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
            self.problem(path, value, f"is not a list of tables; write each as [[{path.rpartition('.')[2]}]].")
            return
        for number, row in enumerate(value, 1):
            label = row.get(name)
            place = TomlPlace(f"{path}[{label if isinstance(label, str) and label else f'#{number}'}]")
            self.refuse_unknown(place, row, known)
            yield place, row

    def refuse_unknown(self, place: TomlPlace, row: Mapping[str, Any], known: Collection[str]) -> None:
        """Note every key that nobody knows, with the nearest one that is known."""
        for key in row:
            if key not in known:
                near = get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"expected among {', '.join(sorted(known))}."
                self.problem(place.at(key), "", f"is not a key that is known here; {hint}")


def read(path: Path) -> Document:
    """Parse the file. What is not TOML, and sections that nobody knows, are problems of the document."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as error:
        return Document({}, [Problem(str(path), "", f"cannot be read: {error.strerror}.")])
    except UnicodeDecodeError:
        return Document({}, [Problem(str(path), "", "is not UTF-8; TOML always is.")])
    except tomllib.TOMLDecodeError as error:
        return Document({}, [Problem(path.name, "", f"is not TOML: {error}.")])
    document = Document(content)
    for section in content:
        if section not in SECTIONS:
            near = get_close_matches(section, SECTIONS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected among {', '.join(SECTIONS)}."
            document.problem(section, "", f"is not a section that is known; {hint}")
    return document


def plain(value: Any) -> Any:
    """The value as JSON keeps it: decimals, days and times as text, so that nothing is rounded."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Decimal) else value.isoformat() if isinstance(value, (date, time)) else value


def shown(value: Any) -> str:
    """A value as a problem names it. Tables are not shown: one might hold a secret that does not belong there."""
    return "" if isinstance(value, (Mapping, list)) else str(value)[:120]
