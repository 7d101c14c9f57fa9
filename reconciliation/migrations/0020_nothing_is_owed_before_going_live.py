"""The database refuses a ledger entry for an entity that is being brought in, and for a document that was booked before."""

from django.db import migrations

GUARD = """
CREATE FUNCTION refuse_entries_before_going_live() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    bad record;
BEGIN
    SELECT n.id, e.code INTO bad FROM fresh n
      JOIN reconciliation_onboarding o ON o.entity_id = n.entity_id AND (o.source_id IS NULL OR o.source_id = n.source_id)
      JOIN portal_legalentity e ON e.id = n.entity_id
     WHERE o.state <> 'live' AND n.reverses_id IS NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'nothing is owed for % before it goes live', bad.code USING ERRCODE = 'check_violation';
    END IF;
    SELECT n.document_id, b.number INTO bad FROM fresh n
      JOIN reconciliation_bookedbefore b ON b.document_id = n.document_id WHERE n.reverses_id IS NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'document % was booked before as %: it is history', bad.document_id, bad.number
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER nothing_is_owed_before_going_live AFTER INSERT ON portal_ledgerentry
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION refuse_entries_before_going_live();

CREATE FUNCTION refuse_undoing_of_live() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'onboarding % is live; that stays as it was decided', OLD.id USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER going_live_stays BEFORE UPDATE OR DELETE ON reconciliation_onboarding
    FOR EACH ROW WHEN (OLD.state = 'live') EXECUTE FUNCTION refuse_undoing_of_live();
CREATE TRIGGER is_append_only BEFORE UPDATE OR DELETE ON reconciliation_bookedbefore
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""
DROP = """
DROP TRIGGER is_append_only ON reconciliation_bookedbefore;
DROP TRIGGER going_live_stays ON reconciliation_onboarding;
DROP FUNCTION refuse_undoing_of_live;
DROP TRIGGER nothing_is_owed_before_going_live ON portal_ledgerentry;
DROP FUNCTION refuse_entries_before_going_live;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("reconciliation", "0019_bringing_in_an_entity"),
        ("portal", "0002_evidence_is_kept"),
    ]

    operations = [migrations.RunSQL(GUARD, DROP)]
