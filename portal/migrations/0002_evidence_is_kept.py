"""What the database itself holds: evidence is written once, sent figures are frozen, hierarchies have no cycles."""

from django.db import migrations

APPEND_ONLY = (
    "portal_timeentry",
    "portal_expense",
    "portal_ledgertransition",
    "portal_receipt",
    "portal_readback",
    "portal_auditevent",
)
WRITTEN_ONCE = {"portal_attempt": "OLD.ended_at IS NOT NULL", "portal_attemptline": "OLD.outcome <> ''"}
HIERARCHIES = ("portal_customer", "portal_legalentity")

FUNCTIONS = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: row % is evidence and is neither changed nor deleted', TG_TABLE_NAME, OLD.id
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE FUNCTION refuse_changed_figures() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    standing text;
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'ledger entry % is evidence and is not deleted', OLD.id USING ERRCODE = 'restrict_violation';
    END IF;
    SELECT state INTO standing FROM portal_ledgerstate WHERE entry_id = NEW.id AND (state NOT IN ('held', 'ready') OR body_hash <> '');
    IF FOUND AND ROW(NEW.*) IS DISTINCT FROM ROW(OLD.*) THEN
        RAISE EXCEPTION 'ledger entry % is % and its figures are frozen: what was sent is not changed', OLD.id, standing
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION refuse_cycle() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    found boolean;
BEGIN
    IF NEW.parent_id IS NULL THEN
        RETURN NEW;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext(TG_TABLE_NAME));
    EXECUTE format('WITH RECURSIVE above(id) AS (SELECT $1 UNION SELECT t.parent_id FROM %I t JOIN above ON t.id = above.id'
                   ' WHERE t.parent_id IS NOT NULL) SELECT EXISTS (SELECT 1 FROM above WHERE id = $2)', TG_TABLE_NAME)
        INTO found USING NEW.parent_id, NEW.id;
    IF found THEN
        RAISE EXCEPTION '% % cannot be below itself: its parent % is already beneath it', TG_TABLE_NAME, NEW.code, NEW.parent_id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
"""


def _trigger(name: str, moment: str, table: str, function: str, condition: str = "") -> str:
    when = f" WHEN ({condition})" if condition else ""
    return f"CREATE TRIGGER {name} BEFORE {moment} ON {table} FOR EACH ROW{when} EXECUTE FUNCTION {function}();"


def _triggers() -> str:
    return "\n".join(
        [
            *(_trigger("is_append_only", "UPDATE OR DELETE", table, "refuse_change") for table in APPEND_ONLY),
            *(
                _trigger("answer_is_written_once", "UPDATE", table, "refuse_change", answered)
                for table, answered in WRITTEN_ONCE.items()
            ),
            *(_trigger("is_not_deleted", "DELETE", table, "refuse_change") for table in WRITTEN_ONCE),
            _trigger("sent_figures_are_frozen", "UPDATE OR DELETE", "portal_ledgerentry", "refuse_changed_figures"),
            *(
                _trigger("has_no_cycle", "INSERT OR UPDATE OF parent_id", table, "refuse_cycle")
                for table in HIERARCHIES
            ),
            "ALTER TABLE portal_ledgerstate SET (fillfactor = 70);",
        ]
    )


def _drop() -> str:
    return "\n".join(
        [
            *(f"DROP TRIGGER is_append_only ON {table};" for table in APPEND_ONLY),
            *(f"DROP TRIGGER answer_is_written_once ON {table};" for table in WRITTEN_ONCE),
            *(f"DROP TRIGGER is_not_deleted ON {table};" for table in WRITTEN_ONCE),
            "DROP TRIGGER sent_figures_are_frozen ON portal_ledgerentry;",
            *(f"DROP TRIGGER has_no_cycle ON {table};" for table in HIERARCHIES),
            "DROP FUNCTION refuse_change; DROP FUNCTION refuse_changed_figures; DROP FUNCTION refuse_cycle;",
            "ALTER TABLE portal_ledgerstate RESET (fillfactor);",
        ]
    )


class Migration(migrations.Migration):
    dependencies = [("portal", "0001_initial")]

    operations = [
        migrations.RunSQL(FUNCTIONS + _triggers(), _drop()),
    ]
