"""Creating many tables in one step.

Django renders every related model again after each operation, which takes twenty seconds for a schema whose tables are
all related. The tables of a first migration need no history among themselves: they are created once, as the migration
leaves them.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations import CreateModel
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState


class CreateTogether(Operation):
    """Takes CreateModel and the AddField, AddIndex and AddConstraint that complete those same models, in any number."""

    reversible = True

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.operations = operations

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Apply every operation to the state before any model is rendered from it."""
        state.__dict__.pop("apps", None)  # rendered again, once, when the tables are created
        for operation in self.operations:
            operation.state_forwards(app_label, state)

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Create the finished tables; foreign keys and indexes follow at the end of the migration."""
        for name in self._models():
            model = to_state.apps.get_model(app_label, name)
            if self.allow_migrate_model(schema_editor.connection.alias, model):
                schema_editor.create_model(model)

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Delete them again."""
        for name in reversed(self._models()):
            model = from_state.apps.get_model(app_label, name)
            if self.allow_migrate_model(schema_editor.connection.alias, model):
                schema_editor.delete_model(model)

    def describe(self) -> str:
        """What `migrate --plan` shows."""
        return f"Create {len(self._models())} tables together"

    def _models(self) -> list[str]:
        return [operation.name for operation in self.operations if isinstance(operation, CreateModel)]
