"""Work that was handed over and is not billed as it was approved is blocked while its proposal takes it: nobody can propose it."""

from importlib import import_module

from django.db import migrations

BEFORE = import_module("reconciliation.migrations.0058_project_months_period_by_period").VIEW
_OPEN = "i.state IN ('open', 'released', 'approved')"
_LEFT_OUT = f"i.state <> 'handed_over' AND NOT {_OPEN}"
_CHANGES = (
    (
        "SELECT e.project_id, ap.id, e.currency, 0, 0, 0, 0, 0, coalesce(-sum(w.part), 0), 0, 0, 0, 0, 0, 0, 0, 0, 0,\n",
        f"SELECT e.project_id, ap.id, e.currency, 0, 0, 0, coalesce(sum(w.part) FILTER (WHERE {_LEFT_OUT}), 0), 0,\n"
        "           coalesce(-sum(w.part), 0), 0, 0, 0, 0, 0, 0, 0, 0, 0,\n",
    ),
    ("FILTER (WHERE i.state <> 'handed_over')", f"FILTER (WHERE {_OPEN})"),
    (
        "     CROSS JOIN LATERAL (SELECT e.amount * x.quantity / nullif(",
        "      LEFT JOIN portal_billingbalance b ON b.entry_id = e.id\n"
        "     CROSS JOIN LATERAL (SELECT e.amount * least(x.quantity,\n"
        "           greatest(coalesce(b.delivered - b.invoiced + b.credited, x.quantity), 0)) / nullif(",
    ),
    ("WHERE (i.state = 'handed_over' OR l.held_by_id IS NOT NULL)", f"WHERE (NOT {_OPEN} OR l.held_by_id IS NOT NULL)"),
)  # fmt: skip


def _view() -> str:
    view = BEFORE
    for was, now in _CHANGES:
        if view.count(was) != 1:
            raise RuntimeError(f"The view of project months says {was!r} {view.count(was)} times.")
        view = view.replace(was, now)
    return view


VIEW = _view()


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0062_what_becomes_owed_when_it_goes_live")]

    operations = [migrations.RunSQL(VIEW, BEFORE)]
