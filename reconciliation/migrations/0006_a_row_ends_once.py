"""An operation is followed until nothing of it is on its way, and the result of a row is final."""

from django.db import migrations, models
from django.db.models import F, Q
from django.db.models.lookups import IsNull

FINAL = """
CREATE FUNCTION refuse_second_result() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'row % of operation % has ended as %: a result is neither changed nor deleted', OLD.id, OLD.operation_id, OLD.result
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER a_result_is_final BEFORE UPDATE ON reconciliation_operationrow
    FOR EACH ROW WHEN (OLD.result <> 'pending') EXECUTE FUNCTION refuse_second_result();
CREATE TRIGGER a_result_is_kept BEFORE DELETE ON reconciliation_operationrow
    FOR EACH ROW WHEN (OLD.result <> 'pending') EXECUTE FUNCTION refuse_second_result();
"""
NOT_FINAL = """
DROP TRIGGER a_result_is_final ON reconciliation_operationrow;
DROP TRIGGER a_result_is_kept ON reconciliation_operationrow;
DROP FUNCTION refuse_second_result;
"""
OVER = """
UPDATE reconciliation_operationrow r SET finished_at = coalesce(o.finished_at, o.created_at)
  FROM reconciliation_operation o WHERE o.id = r.operation_id AND r.result <> 'pending' AND r.finished_at IS NULL;
UPDATE reconciliation_operation SET finished_at = coalesce(finished_at, created_at) WHERE state IN ('done', 'cancelled');
"""


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0005_reach_of_the_cases_that_stand")]

    operations = [
        migrations.AddField("operation", "turn", models.PositiveIntegerField(default=0)),
        migrations.AddField("operation", "settled_at", models.DateTimeField(blank=True, null=True)),
        migrations.AddField("operation", "posted", models.PositiveIntegerField(default=0)),
        migrations.AddField("operation", "refused", models.PositiveIntegerField(default=0)),
        migrations.AddField("operation", "on_the_way", models.PositiveIntegerField(default=0)),
        migrations.RunSQL(OVER, migrations.RunSQL.noop),
        migrations.AddConstraint(
            "operation",
            models.CheckConstraint(
                condition=Q(done__lte=F("total") - F("failed")), name="an_operation_ends_no_row_twice"
            ),
        ),
        migrations.AddConstraint(
            "operation",
            models.CheckConstraint(
                condition=~Q(state__in=["done", "cancelled"]) | Q(IsNull(F("finished_at"), False)),
                name="an_operation_that_is_over_says_since_when",
            ),
        ),
        migrations.AddConstraint(
            "operationrow",
            models.CheckConstraint(
                condition=Q(result="pending", finished_at=None)
                | (~Q(result="pending") & Q(IsNull(F("finished_at"), False))),
                name="a_row_ends_when_it_has_a_result",
            ),
        ),
        migrations.AddIndex(
            "operation",
            models.Index(
                fields=["entity", "created_by"],
                condition=Q(settled_at=None, state__in=["running", "done", "cancelled"]),
                name="operation_under_way",
            ),
        ),
        migrations.RunSQL(FINAL, NOT_FINAL),
    ]
