"""Whoever lets an entity go live reads over the list what becomes owed, and not what is history or was booked before."""

from importlib import import_module

from django.db import migrations

EARLIER = import_module("reconciliation.migrations.0053_whatever_takes_a_second_person")
REFUSED = import_module("reconciliation.migrations.0059_a_refused_plan_stands_as_decided")
STOOD = [*REFUSED.OTHERS, REFUSED.WAITS, REFUSED.told(REFUSED.DECIDED)]
REHEARSED = "reconciliation_rehearsedline l WHERE l.rehearsal_id = x.rehearsal_id"
# Booked by somebody, and a person said that it is not the same work.
BESIDES = f"{REHEARSED} AND l.outcome = 'booked' AND l.document_id IS NOT NULL AND l.rule = '' AND l.decision = 'other'"
# Rehearsals that ran before this do not know the money of what is posted; of those none is told.
OWED = EARLIER.summed(
    "SELECT m.key AS currency, m.value::numeric AS amount FROM jsonb_each_text(r.totals->'owed') m"
    f" UNION ALL SELECT l.currency, l.amount_left AS amount FROM {BESIDES} AND r.totals->'owed' IS NOT NULL"
)
EVERY = EARLIER.summed(f"SELECT l.currency, l.amount_left AS amount FROM {REHEARSED}")


def told(arm):
    """Going live, with the documents that are posted then and their money."""
    if "reconciliation_onboarding x" not in arm:
        return arm
    assert arm.count(EVERY) == 3, arm
    assert arm.count("r.documents::bigint AS entries") == 1, arm
    count = f"(r.totals->>'to_post')::bigint + (SELECT count(*) FROM {BESIDES}) AS entries"
    return arm.replace(EVERY, OWED).replace("r.documents::bigint AS entries", count)


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0061_differences_that_are_over")]

    operations = [
        migrations.RunSQL(REFUSED.view([told(arm) for arm in STOOD]), REFUSED.view(STOOD)),
    ]
