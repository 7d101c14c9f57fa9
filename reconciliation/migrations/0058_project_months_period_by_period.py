"""Project months are added up period by period: a month of a ledger of years is found by its projects and days.

Until now all entries and their states were read for one month, because the database cannot know how few days a period has. Of the
states only those are read that are neither posted nor reconciled, by the index on states.
"""

from importlib import import_module

from django.db import migrations

BEFORE = import_module("reconciliation.migrations.0056_months_say_what_bills_ask_for").VIEW
_HEAD = BEFORE.index("    SELECT e.project_id, ap.id AS period_id, e.currency, count(*) AS entries")
_TAIL = BEFORE.index("    UNION ALL", _HEAD)
_IN_ONE_PERIOD = (
    (
        "FROM portal_accountingperiod ap\n      JOIN portal_project p ON p.entity_id = ap.entity_id\n",
        "FROM portal_project p\n",
    ),
    (
        "s.state NOT IN ('posted', 'reconciled')",
        "s.state IN ('held', 'rejected', 'in_doubt', 'ready', 'sending', 'accepted', 'cancelled', 'reversed')",
    ),
    ("     WHERE e.reverses_id IS NULL", "     WHERE p.entity_id = ap.entity_id AND e.reverses_id IS NULL"),
    ("GROUP BY 1, 2, 3", "GROUP BY 1, 3"),
)


def _work() -> str:
    """What stands on the ledger, of each period by itself."""
    work = BEFORE[_HEAD:_TAIL]
    for was, now in _IN_ONE_PERIOD:
        if work.count(was) != 1:
            raise RuntimeError(f"The view of project months says {was!r} {work.count(was)} times.")
        work = work.replace(was, now)
    return f"    SELECT w.* FROM portal_accountingperiod ap\n     CROSS JOIN LATERAL (\n{work}    ) w\n"  # noqa: S608


VIEW = BEFORE[:_HEAD] + _work() + BEFORE[_TAIL:]


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0057_what_stays_booked_at_other_rates")]

    operations = [migrations.RunSQL(VIEW, BEFORE)]
