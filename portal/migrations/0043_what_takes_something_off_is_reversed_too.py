from django.db import migrations

# A reversal takes back what it reverses: of a correction that takes hours off it adds them, so that only both rows tell.
FORWARD = """
CREATE FUNCTION reversal_takes_back() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE was record;
BEGIN
    SELECT hours, amount INTO was FROM portal_ledgerentry WHERE id = NEW.reverses_id;
    IF NEW.hours * was.hours > 0 OR NEW.amount * was.amount > 0 THEN
        RAISE EXCEPTION 'the reversal of entry % takes nothing back', NEW.reverses_id
              USING ERRCODE = 'check_violation', CONSTRAINT = 'reversal_takes_back', TABLE = 'portal_ledgerentry';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER reversal_takes_back AFTER INSERT ON portal_ledgerentry
   FOR EACH ROW WHEN (NEW.reverses_id IS NOT NULL) EXECUTE FUNCTION reversal_takes_back();
"""
BACK = "DROP TRIGGER reversal_takes_back ON portal_ledgerentry; DROP FUNCTION reversal_takes_back;"


class Migration(migrations.Migration):
    dependencies = [("portal", "0042_what_may_stand_at_a_target_is_not_cancelled")]

    operations = [
        migrations.RemoveConstraint(model_name="ledgerentry", name="reversal_takes_back"),
        migrations.RunSQL(FORWARD, BACK),
    ]
