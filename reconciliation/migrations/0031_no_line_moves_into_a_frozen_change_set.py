"""A line or an entity of a draft is not moved into a change set that was submitted: both change sets have to be drafts."""

from django.db import migrations

BOTH = """
CREATE OR REPLACE FUNCTION keep_change_line() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    parent record;
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.change_set_id, NEW.position, NEW.model, NEW.key, NEW.action, NEW.values, NEW.before, NEW.after)
       IS NOT DISTINCT FROM
       (OLD.change_set_id, OLD.position, OLD.model, OLD.key, OLD.action, OLD.values, OLD.before, OLD.after) THEN
        RETURN NEW;
    END IF;
    FOR parent IN SELECT id, state FROM reconciliation_changeset
                   WHERE id IN (OLD.change_set_id, NEW.change_set_id) ORDER BY id FOR NO KEY UPDATE LOOP
        IF parent.state <> 'draft' THEN
            RAISE EXCEPTION 'change set % is %: its lines are frozen', parent.id, parent.state
                USING ERRCODE = 'restrict_violation', CONSTRAINT = 'lines_change_in_a_draft_only';
        END IF;
    END LOOP;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;

CREATE OR REPLACE FUNCTION keep_change_entity() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    parent record;
BEGIN
    FOR parent IN SELECT id, state FROM reconciliation_changeset
                   WHERE id IN (OLD.changeset_id, NEW.changeset_id) ORDER BY id FOR NO KEY UPDATE LOOP
        IF parent.state <> 'draft' THEN
            RAISE EXCEPTION 'change set % is no draft: the entities that it touches are frozen', parent.id
                USING ERRCODE = 'restrict_violation', CONSTRAINT = 'entities_of_a_change_set_are_frozen_with_it';
        END IF;
    END LOOP;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
"""
ONE = """
CREATE OR REPLACE FUNCTION keep_change_line() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    parent bigint := CASE WHEN TG_OP = 'INSERT' THEN NEW.change_set_id ELSE OLD.change_set_id END;
    standing text;
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.change_set_id, NEW.position, NEW.model, NEW.key, NEW.action, NEW.values, NEW.before, NEW.after)
       IS NOT DISTINCT FROM
       (OLD.change_set_id, OLD.position, OLD.model, OLD.key, OLD.action, OLD.values, OLD.before, OLD.after) THEN
        RETURN NEW;
    END IF;
    SELECT state INTO standing FROM reconciliation_changeset WHERE id = parent FOR NO KEY UPDATE;
    IF standing <> 'draft' THEN
        RAISE EXCEPTION 'change set % is %: its lines are frozen', parent, standing
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'lines_change_in_a_draft_only';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;

CREATE OR REPLACE FUNCTION keep_change_entity() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    parent bigint := CASE WHEN TG_OP = 'INSERT' THEN NEW.changeset_id ELSE OLD.changeset_id END;
BEGIN
    PERFORM FROM reconciliation_changeset WHERE id = parent AND state = 'draft' FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'change set % is no draft: the entities that it touches are frozen', parent
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'entities_of_a_change_set_are_frozen_with_it';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0030_certified_and_paired")]

    operations = [migrations.RunSQL(BOTH, ONE)]
