"""A rehearsal that is decided lets the names of a forgotten person go, and whoever brought its bookings lets nothing go live."""

from django.db import migrations

SAME_NAMES_APART = """
CREATE FUNCTION refuse_change_of_proposed_differences_but_of_names() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    names constant text[] := ARRAY['person', 'sentence'];
    frozen bigint;
BEGIN
    IF current_setting('tieout.forgetting', true) = 'on' AND NOT EXISTS (
        SELECT FROM touched o FULL JOIN became n ON n.id = o.id
         WHERE to_jsonb(o) - names IS DISTINCT FROM to_jsonb(n) - names) THEN
        RETURN NULL;
    END IF;
    SELECT o.id INTO frozen FROM touched t
      JOIN reconciliation_rehearsal r ON r.id = t.rehearsal_id JOIN reconciliation_onboarding o ON o.id = r.onboarding_id
     WHERE o.state <> 'preparing' LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the differences of onboarding % are decided', frozen USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER proposed_differences_stay ON reconciliation_rehearsedline;
CREATE TRIGGER proposed_differences_stay AFTER UPDATE ON reconciliation_rehearsedline
    REFERENCING OLD TABLE AS touched NEW TABLE AS became
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_proposed_differences_but_of_names();
"""
AS_BEFORE = """
DROP TRIGGER proposed_differences_stay ON reconciliation_rehearsedline;
CREATE TRIGGER proposed_differences_stay AFTER UPDATE ON reconciliation_rehearsedline
    REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_proposed_differences();
DROP FUNCTION refuse_change_of_proposed_differences_but_of_names;
"""
WHO_BROUGHT_THE_BOOKINGS = """
CREATE FUNCTION refuse_going_live_by_who_brought_the_bookings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM reconciliation_rehearsal
                WHERE id = NEW.rehearsal_id AND basis = 'file' AND asked_by_id = NEW.decided_by_id) THEN
        RAISE EXCEPTION 'who lets onboarding % go live brought the bookings that it was compared with', NEW.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER who_lets_it_go_live_brought_no_bookings BEFORE UPDATE ON reconciliation_onboarding
    FOR EACH ROW WHEN (NEW.state = 'live') EXECUTE FUNCTION refuse_going_live_by_who_brought_the_bookings();
"""
ANYBODY = """
DROP TRIGGER who_lets_it_go_live_brought_no_bookings ON reconciliation_onboarding;
DROP FUNCTION refuse_going_live_by_who_brought_the_bookings;
"""


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0040_milestones_of_project_months")]

    operations = [
        migrations.RunSQL(SAME_NAMES_APART, AS_BEFORE),
        migrations.RunSQL(WHO_BROUGHT_THE_BOOKINGS, ANYBODY),
    ]
