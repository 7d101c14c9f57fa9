"""A milestone whose amount changes is left to bill with its new amount, and is never lowered below what stands billed of it."""

from django.db import migrations

FUNCTIONS = """
CREATE FUNCTION keep_billed_milestone() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    billed numeric;
BEGIN
    SELECT invoiced - credited INTO billed FROM portal_billingbalance WHERE milestone_id = NEW.id;
    IF billed > 0 AND NEW.currency <> OLD.currency THEN
        RAISE EXCEPTION 'milestone % is billed with % %, and stays in that currency', OLD.code, billed, OLD.currency
            USING ERRCODE = 'check_violation';
    END IF;
    IF billed > NEW.amount THEN
        RAISE EXCEPTION 'milestone % is billed with % %, and does not go below that', OLD.code, billed, OLD.currency
            USING ERRCODE = 'check_violation';
    END IF;
    UPDATE portal_billingbalance SET delivered = NEW.amount WHERE milestone_id = NEW.id AND delivered <> NEW.amount;
    RETURN NULL;
END $$;
CREATE TRIGGER what_is_billed_of_it_stays AFTER UPDATE OF amount, currency ON portal_milestone
    FOR EACH ROW EXECUTE FUNCTION keep_billed_milestone();
ALTER TABLE portal_billingbalance DISABLE TRIGGER is_kept_by_allocations;
UPDATE portal_billingbalance b SET delivered = m.amount FROM portal_milestone m
 WHERE m.id = b.milestone_id AND m.amount <> b.delivered AND m.amount >= b.invoiced - b.credited;
ALTER TABLE portal_billingbalance ENABLE TRIGGER is_kept_by_allocations;
"""
BACK = """
DROP TRIGGER what_is_billed_of_it_stays ON portal_milestone;
DROP FUNCTION keep_billed_milestone();
"""


class Migration(migrations.Migration):
    dependencies = [("portal", "0028_requests_to_forget_a_person")]

    operations = [migrations.RunSQL(FUNCTIONS, BACK)]
