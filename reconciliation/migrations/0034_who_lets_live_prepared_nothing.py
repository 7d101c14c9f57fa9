"""The database refuses that somebody lets go live what they prepared themselves, and that differences change once it is proposed."""

from django.db import migrations

GUARD = """
CREATE FUNCTION refuse_own_going_live() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' OR OLD.state <> 'proposed' THEN
        RAISE EXCEPTION 'onboarding % was not proposed before it went live', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    IF (NEW.rehearsal_id, NEW.proposed_by_id, NEW.proposed_at) IS DISTINCT FROM
       (OLD.rehearsal_id, OLD.proposed_by_id, OLD.proposed_at) THEN
        RAISE EXCEPTION 'onboarding % goes live as it was proposed', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    IF EXISTS (SELECT FROM reconciliation_rehearsedline
                WHERE rehearsal_id = NEW.rehearsal_id AND decided_by_id = NEW.decided_by_id)
       OR EXISTS (SELECT FROM reconciliation_historicalcutover
                   WHERE entity_id = NEW.entity_id AND (NEW.source_id IS NULL OR source_id = NEW.source_id)
                     AND history_user_id = NEW.decided_by_id AND history_date >= NEW.started_at) THEN
        RAISE EXCEPTION 'who lets onboarding % go live prepared it', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER who_lets_it_go_live_prepared_nothing BEFORE UPDATE ON reconciliation_onboarding
    FOR EACH ROW WHEN (NEW.state = 'live') EXECUTE FUNCTION refuse_own_going_live();
CREATE TRIGGER nothing_begins_live BEFORE INSERT ON reconciliation_onboarding
    FOR EACH ROW WHEN (NEW.state = 'live') EXECUTE FUNCTION refuse_own_going_live();

CREATE FUNCTION refuse_change_of_proposed_differences() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    frozen bigint;
BEGIN
    SELECT o.id INTO frozen FROM touched t
      JOIN reconciliation_rehearsal r ON r.id = t.rehearsal_id JOIN reconciliation_onboarding o ON o.id = r.onboarding_id
     WHERE o.state <> 'preparing' LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the differences of onboarding % are decided', frozen USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER proposed_differences_are_not_added AFTER INSERT ON reconciliation_rehearsedline
    REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_proposed_differences();
CREATE TRIGGER proposed_differences_stay AFTER UPDATE ON reconciliation_rehearsedline
    REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_proposed_differences();
CREATE TRIGGER proposed_differences_are_kept AFTER DELETE ON reconciliation_rehearsedline
    REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_proposed_differences();
"""
DROP = """
DROP TRIGGER proposed_differences_are_kept ON reconciliation_rehearsedline;
DROP TRIGGER proposed_differences_stay ON reconciliation_rehearsedline;
DROP TRIGGER proposed_differences_are_not_added ON reconciliation_rehearsedline;
DROP FUNCTION refuse_change_of_proposed_differences;
DROP TRIGGER nothing_begins_live ON reconciliation_onboarding;
DROP TRIGGER who_lets_it_go_live_prepared_nothing ON reconciliation_onboarding;
DROP FUNCTION refuse_own_going_live;
"""


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0033_tolerances_of_a_comparison")]

    operations = [migrations.RunSQL(GUARD, DROP)]
