"""How systems' keys stand to our records is kept as rows and written anew when something of it changed, not whenever it is asked.

A sequence counts the changes of what it is made of: it takes no lock and survives no transaction, so that nobody waits for it.
"""

from django.db import migrations, models

COUNTED = (
    "portal_crosswalk", "portal_project", "portal_projectstatus", "portal_customer", "portal_contract", "portal_task",
    "portal_resource", "portal_engagement", "portal_costcentre", "portal_role", "portal_legalentity", "portal_connection",
    "reconciliation_route", "portal_foreignrecord", "portal_alias", "portal_rejectedvalue",
)  # fmt: skip
WRITTEN = (
    "origin", "connection_id", "system", "realm", "kind", "external_id", "their_code", "their_name", "foreign_id",
    "crosswalk_id", "internal_id", "code", "name", "entity_id", "valid_from", "valid_to", "allows_many", "state",
    "is_ambiguous", "is_expiring", "is_conflicting", "is_inactive", "entries", "hours", "money",
)  # fmt: skip
KEEP = (
    """
DROP VIEW reconciliation_mapping;
CREATE TABLE reconciliation_mapping AS SELECT * FROM reconciliation_mappings() WITH NO DATA;
ALTER TABLE reconciliation_mapping ADD PRIMARY KEY (id);
CREATE INDEX mapping_by_record ON reconciliation_mapping (kind, internal_id);
CREATE SEQUENCE reconciliation_mapping_word;
CREATE FUNCTION keep_mappings() RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
    kept reconciliation_mappingskept;
    changes bigint;
    latest bigint;
    begun timestamptz;
    waited boolean := false;
BEGIN
    LOOP
        SELECT CASE WHEN is_called THEN last_value ELSE 0 END INTO changes FROM reconciliation_mapping_word;
        SELECT coalesce(max(id), 0) INTO latest FROM portal_ledgertransition;
        SELECT * INTO kept FROM reconciliation_mappingskept WHERE id = 1;
        IF FOUND AND kept.word = changes AND kept.written_at::date = CURRENT_DATE
           AND kept.written_at > clock_timestamp() - interval '10 minutes'
           AND (kept.moves = latest OR (kept.seconds > 0.2 AND kept.written_at > clock_timestamp() - interval '1 minute')) THEN
            RETURN kept.written_at;
        END IF;
        EXIT WHEN waited;
        PERFORM pg_advisory_xact_lock(1835102320);  -- one writes, the others find it written
        waited := true;
    END LOOP;
    begun := clock_timestamp();
    WITH fresh AS MATERIALIZED (SELECT DISTINCT ON (id) * FROM reconciliation_mappings()),
         gone AS (DELETE FROM reconciliation_mapping m WHERE NOT EXISTS (SELECT 1 FROM fresh f WHERE f.id = m.id))
    INSERT INTO reconciliation_mapping AS m SELECT * FROM fresh
        ON CONFLICT (id) DO UPDATE SET (COLUMNS) = ROW(VALUES_OF_COLUMNS) WHERE m.* IS DISTINCT FROM EXCLUDED.*;
    INSERT INTO reconciliation_mappingskept (id, word, moves, written_at, seconds)
        VALUES (1, changes, latest, clock_timestamp(), extract(epoch FROM clock_timestamp() - begun))
        ON CONFLICT (id) DO UPDATE SET word = EXCLUDED.word, moves = EXCLUDED.moves, written_at = EXCLUDED.written_at,
                                       seconds = EXCLUDED.seconds
        RETURNING written_at INTO begun;
    RETURN begun;
END $$;
CREATE FUNCTION word_of_mappings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM nextval('reconciliation_mapping_word');
    RETURN NULL;
END $$;
""".replace("VALUES_OF_COLUMNS", ", ".join(f"EXCLUDED.{name}" for name in WRITTEN)).replace(
        "COLUMNS", ", ".join(WRITTEN)
    )
    + "\n".join(
        f"CREATE TRIGGER tells_mappings AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION word_of_mappings();"
        for table in COUNTED
    )
)
ASK = (
    "\n".join(f"DROP TRIGGER tells_mappings ON {table};" for table in COUNTED)
    + """
DROP FUNCTION word_of_mappings();
DROP FUNCTION keep_mappings();
DROP SEQUENCE reconciliation_mapping_word;
DROP TABLE reconciliation_mapping;
CREATE VIEW reconciliation_mapping AS SELECT * FROM reconciliation_mappings();
"""
)


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0024_a_person_may_be_forgotten"),
        ("reconciliation", "0026_who_bills_is_a_route"),
    ]

    operations = [
        migrations.CreateModel(
            name="MappingsKept",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("word", models.BigIntegerField()),
                ("moves", models.BigIntegerField()),
                ("written_at", models.DateTimeField()),
                ("seconds", models.FloatField()),
            ],
            options={
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="mappings_are_kept_once")],
            },
        ),
        migrations.RunSQL(KEEP, ASK),
    ]
