"""Projects and tasks of Tryton: one tree of `project.work`, each with a `timesheet.work` that time is spent on.

We name a project or a task by the id of its `project.work`. A line of a time sheet names the other one, which refers back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from integrations.connectors.tryton.rpc import Rpc
from integrations.http.fields import Row, text

PREFIX = "project.work,"


class Place(NamedTuple):
    """Where time is spent: a project, and a task of it or none."""

    project: str = ""
    task: str = ""


def origin(project: str, task: str) -> str:
    """What the work of a posting refers to."""
    return f"{PREFIX}{task or project}"


def sheets(rpc: Rpc, origins: Iterable[str]) -> dict[str, int]:
    """The ids of the time sheets of some projects and tasks; one that has none is left out."""
    wanted = [[["origin", "in", sorted(set(origins))], ["company", "=", rpc.company]]]
    return {text(row, "origin"): int(row["id"]) for row in rpc.rows("timesheet.work", wanted[0], ["origin"])}


def places(rpc: Rpc, origins: Iterable[str]) -> dict[str, Place]:
    """The project and the task that each work refers to; a work of its own is of no project."""
    ids = sorted({int(o.removeprefix(PREFIX)) for o in origins if o.startswith(PREFIX) and o[len(PREFIX) :].isdigit()})
    rows = list(rpc.rows("project.work", [["id", "in", ids]], ["type", "path"])) if ids else []
    roots = projects(rpc, rows)
    return {
        f"{PREFIX}{row['id']}": Place(str(row["id"]))
        if row.get("type") == "project"
        else Place(roots.get(int(row["id"]), ""), str(row["id"]))
        for row in rows
    }


def projects(rpc: Rpc, rows: Iterable[Row]) -> Mapping[int, str]:
    """The project of every task among some works: the nearest one above it."""
    above = {int(row["id"]): _above(row) for row in rows if row.get("type") != "project"}
    ids = sorted({one for path in above.values() for one in path})
    domain = [["id", "in", ids], ["type", "=", "project"]]
    found = {int(row["id"]) for row in rpc.rows("project.work", domain, ["type"])} if ids else set()
    return {task: next((str(one) for one in reversed(path) if one in found), "") for task, path in above.items()}


def _above(row: Row) -> list[int]:
    """The works above one, from the root down. A path is like 1/3/5/."""
    ids = [int(part) for part in text(row, "path").split("/") if part.isdigit()]
    return [one for one in ids if one != int(row["id"])]
