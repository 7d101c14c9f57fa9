"""Changes of many master records at once leave history, and nothing in the code base can pass the history by."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.db import models

from portal import changes_watch, history
from portal.models import Customer, LegalEntity, MasterChange, Role, User

pytestmark = pytest.mark.django_db

APPS = ("portal", "reconciliation", "integrations")
SILENT = {
    "update",
    "bulk_create",
    "bulk_update",
    "delete",
    "aupdate",
    "abulk_create",
    "abulk_update",
    "adelete",
    "_raw_delete",
}


@pytest.mark.case(129)
def test_rows_made_changed_and_deleted_in_bulk_leave_one_history_row_each_with_its_reason() -> None:
    actor = User.objects.create(username="controller")
    roles = history.bulk_create_with_reason(
        Role, [Role(code="SC", name="Senior"), Role(code="JC", name="Junior")], reason="Launch", actor=actor
    )
    assert all(role.pk for role in roles)
    roles[0].name = "Senior consultant"
    assert history.bulk_update_with_reason(Role, roles[:1], ["name"], reason="Title changed") == 1
    assert history.bulk_delete_with_reason(Role, roles[1:], reason="Not used") == 1

    told = Role.history.order_by("history_id").values_list(
        "code", "name", "history_type", "history_change_reason", "history_user__username"
    )
    assert list(told) == [
        ("SC", "Senior", "+", "Launch", "controller"),
        ("JC", "Junior", "+", "Launch", "controller"),
        ("SC", "Senior consultant", "~", "Title changed", None),
        ("JC", "Junior", "-", "Not used", None),
    ]
    assert list(Role.objects.values_list("code", "name")) == [("SC", "Senior consultant")]


def test_rows_that_change_in_different_fields_are_written_with_only_these_fields() -> None:
    entity = LegalEntity.objects.create(code="US", name="US", currency="USD")
    acme, beta = (
        Customer.objects.create(code=code, name=code, currency="USD", entity=entity) for code in ("ACME", "BETA")
    )
    changes: list[tuple[Customer, dict[str, object]]] = [
        (acme, {"name": "Acme Inc"}),
        (beta, {"currency": "EUR", "entity_id": None}),
    ]
    assert history.update_each_with_reason(Customer, changes, reason="Clean-up") == 2
    assert list(Customer.objects.values_list("code", "name", "currency", "entity__code")) == [
        ("ACME", "Acme Inc", "USD", "US"),
        ("BETA", "BETA", "EUR", None),
    ]
    assert Customer.history.filter(history_change_reason="Clean-up", history_type="~").count() == 2


def test_a_change_without_a_reason_is_refused() -> None:
    with pytest.raises(history.ReasonMissing, match="reason"):
        history.bulk_create_with_reason(Role, [Role(code="SC", name="Senior")], reason="  ")
    assert not Role.objects.exists()


def test_a_noted_change_is_taken_once_and_stands_until_it_is_settled() -> None:
    assert changes_watch.note("project", [7, 7, 9]) == 2
    taken = changes_watch.take()
    assert [(change.kind, change.internal_id) for change in taken] == [("project", 7), ("project", 9)]
    changes_watch.settle(taken[:1])
    assert [change.internal_id for change in changes_watch.take()] == [9]
    assert MasterChange.objects.exclude(handled_at=None).count() == 1


def test_a_change_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="spaceship"):
        changes_watch.note("spaceship", [1])


# What passes the history by, found in the syntax trees


def _with_history() -> dict[str, type[models.Model]]:
    return {model.__name__: model for model in apps.get_models() if history.has_history(model)}


def _reverse_accessors() -> set[str]:
    """Names such as `project.statuses` that lead to rows of a model with history."""
    names = set()
    for model in apps.get_models():
        for relation in model._meta.related_objects:
            if history.has_history(relation.related_model) and relation.get_accessor_name():
                names.add(str(relation.get_accessor_name()))
    return names


@dataclass
class Watch(ast.NodeVisitor):
    """Follows expressions that lead to rows of models with history, through plain assignments within a function."""

    watched: dict[str, type[models.Model]]
    accessors: set[str]
    tables: dict[str, type[models.Model]]  # of models whose history this module does not write by itself
    found: list[tuple[int, str]] = field(default_factory=list)
    names: list[dict[str, str]] = field(default_factory=lambda: [{}])

    def leads_to(self, node: ast.AST) -> str:
        """The model with history to whose rows an expression leads; empty for none."""
        if isinstance(node, ast.Name):
            return next((scope[node.id] for scope in reversed(self.names) if node.id in scope), "")
        if isinstance(node, ast.Attribute):
            if node.attr in ("objects", "_base_manager", "_default_manager"):
                return self.model_of(node.value)
            return node.attr if node.attr in self.accessors else self.leads_to(node.value)
        if isinstance(node, ast.Call):
            return self.leads_to(node.func)
        if isinstance(node, ast.Subscript):
            return self.leads_to(node.value)
        return ""

    def model_of(self, node: ast.AST) -> str:
        return next((part for part in (getattr(node, "id", ""), getattr(node, "attr", "")) if part in self.watched), "")

    def named_in(self, annotation: str) -> str:
        return next((name for name in self.watched if re.search(rf"\b{name}\b", annotation)), "")

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        scope: dict[str, str] = {}
        for argument in [*node.args.args, *node.args.kwonlyargs]:
            text = ast.unparse(argument.annotation) if argument.annotation else ""
            if "QuerySet" in text or "Manager" in text:
                scope |= dict.fromkeys([argument.arg] if (name := self.named_in(text)) else [], name)
        self.names.append(scope)
        self.generic_visit(node)
        self.names.pop()

    def visit_Assign(self, node: ast.Assign) -> None:
        target = self.leads_to(node.value)
        for name in (part.id for part in node.targets if isinstance(part, ast.Name)):
            self.names[-1].pop(name, None)
            if target and not _is_one_row(node.value):
                self.names[-1][name] = target
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute) and node.func.attr in SILENT:
            target = self.leads_to(node.func.value)
            if target and not self.is_outside_history(target, node) and not _is_one_row(node.func.value):
                self.found.append((node.lineno, f"{target}.{node.func.attr}"))
        self.generic_visit(node)

    def is_outside_history(self, target: str, node: ast.Call) -> bool:
        """Whether all that is updated are columns that the model declares not to be part of its history."""
        model = self.watched.get(target)
        assert isinstance(node.func, ast.Attribute)
        if model is None or node.func.attr != "update" or not node.keywords:
            return False
        return {str(keyword.arg) for keyword in node.keywords} <= _untracked(model)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.sql(node.value, node.lineno)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self.sql(
            "".join(str(part.value) if isinstance(part, ast.Constant) else "?" for part in node.values), node.lineno
        )
        self.generic_visit(node)

    def sql(self, text: str, line: int) -> None:
        for verb, table in re.findall(r'\b(UPDATE|INSERT\s+INTO|DELETE\s+FROM|COPY)\s+"?(\w+)"?', text, re.IGNORECASE):
            model = self.tables.get(table)
            if model is None:
                continue
            if verb.upper() == "UPDATE" and (
                columns := re.search(r"\bSET\b(.*?)(\bFROM\b|\bWHERE\b|$)", text, re.IGNORECASE | re.DOTALL)
            ):
                written = set(re.findall(r"(?:^|,)\s*\"?(\w+)\"?\s*=", columns.group(1)))
                if written and written <= _untracked(model):
                    continue
            self.found.append((line, f"{verb.upper()} {table}"))


def _is_one_row(node: ast.AST) -> bool:
    """Whether an expression ends in one row (its save and delete are recorded), not in a set of rows."""
    one = {
        "get",
        "first",
        "last",
        "earliest",
        "latest",
        "create",
        "get_or_create",
        "update_or_create",
        "count",
        "exists",
    }
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in one


def _untracked(model: type[models.Model]) -> set[str]:
    tracked = {name for f in model.history.model.tracked_fields for name in (f.name, f.attname)}  # type: ignore[attr-defined]
    return {name for f in model._meta.concrete_fields for name in (f.name, f.attname)} - tracked


def _breaches(source: str) -> list[str]:
    known = _with_history()
    tables = {model._meta.db_table: model for model in known.values() if not _writes_history(source, model)}
    watch = Watch(known, _reverse_accessors(), tables)
    watch.visit(ast.parse(source))
    return [f"{line}: {what}" for line, what in watch.found]


def _writes_history(source: str, model: type[models.Model]) -> bool:
    """Whether hand-written SQL of a module writes the model's history as well; that it does so is for its own tests.

    For cases that is also a module which imports `remember`, the one function that writes their history.
    """
    if model._meta.db_table == "reconciliation_exceptioncase" and "reconciliation.sql.cases import remember" in source:
        return True
    return f"INSERT INTO {model.history.model._meta.db_table}" in source  # type: ignore[attr-defined]


def _sources() -> Iterator[Path]:
    for app in APPS:
        for path in sorted((Path(settings.BASE_DIR) / app).rglob("*.py")):
            if "migrations" not in path.parts and path != Path(history.__file__):
                yield path


TRIAGE_SQL = "reconciliation/sql/triage.py"  # several of its writes are one decision, remembered once by who decides


@pytest.mark.case(129)
def test_whoever_has_triage_write_cases_remembers_them() -> None:
    writing = re.compile(r"\bsql\.(change|change_tags|give_by_rule)\(")
    writers = [
        path for path in _sources() if "sql import triage" in (text := path.read_text()) and writing.search(text)
    ]
    assert len(writers) >= 3
    assert [path.name for path in writers if not re.search(r"\bremember(_each)?\(", path.read_text())] == []


@pytest.mark.case(129)
def test_nothing_outside_the_history_module_changes_rows_with_history_in_silence() -> None:
    found = [
        f"{path.relative_to(settings.BASE_DIR)}:{breach}"
        for path in _sources()
        if path != Path(settings.BASE_DIR) / TRIAGE_SQL
        for breach in _breaches(path.read_text())
    ]
    assert found == [], "Use portal.history (bulk_create_with_reason, bulk_update_with_reason …) for: " + ", ".join(
        found
    )


@pytest.mark.case(129)
@pytest.mark.parametrize(
    "source",
    [
        "Project.objects.filter(code='X').update(name='Y')",
        "models.Project._base_manager.update(name='Y')",
        "project.statuses.all().delete()",
        "Rate.objects.bulk_create([Rate()])",
        "def close(rows):\n    found = Project.objects.filter(code='X')\n    found.update(name='Y')",
        "def close(found: QuerySet[Project]):\n    found.exclude(code='').update(name='Y')",
        "ExceptionCase.objects.update(open_holds=0, state='resolved')",
        "cursor.execute('UPDATE portal_project SET name = %s WHERE id = 1')",
        "cursor.execute('UPDATE reconciliation_exceptioncase SET open_holds = 1, state = %s')",
        "cursor.execute(f'DELETE FROM portal_rate WHERE id IN ({ids})')",
    ],
)
def test_the_watch_sees_what_passes_the_history_by(source: str) -> None:
    assert _breaches(source)


@pytest.mark.parametrize(
    "source",
    [
        "digest.update(b'x'); settings.update(a=1); {}.update(b=2)",
        "Project.objects.get(code='X').delete()",
        "LedgerState.objects.filter(entry=1).update(state='held')",
        "ExceptionCase.objects.filter(pk=1).update(open_holds=3, open_hours=2)",
        "cursor.execute('UPDATE reconciliation_exceptioncase SET open_holds = 1, open_people = 2 FROM x WHERE true')",
        "sql.execute('SELECT id FROM portal_project FOR UPDATE')",
        "execute('UPDATE portal_project SET name = %s'); execute('INSERT INTO portal_historicalproject SELECT 1')",
    ],
)
def test_the_watch_is_not_disturbed_by_anything_else(source: str) -> None:
    assert _breaches(source) == []
