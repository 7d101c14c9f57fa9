"""Change sets, with what holds of them: who decides edited none of it, and what was submitted is frozen."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

HELD = """
CREATE FUNCTION keep_change_set() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'draft' THEN
            RAISE EXCEPTION 'a change set begins as a draft' USING ERRCODE = 'restrict_violation', CONSTRAINT = 'a_change_set_begins_as_a_draft';
        END IF;
        RETURN NEW;
    END IF;
    IF OLD.state IN ('applying', 'applied', 'rejected', 'withdrawn')
       AND (NEW.content_hash, NEW.decided_by_id, NEW.is_emergency, NEW.effective_on, NEW.reason, NEW.title, NEW.comment)
           IS DISTINCT FROM
           (OLD.content_hash, OLD.decided_by_id, OLD.is_emergency, OLD.effective_on, OLD.reason, OLD.title, OLD.comment)
       OR OLD.state IN ('applied', 'rejected', 'withdrawn') AND NEW.state <> OLD.state
       OR OLD.state = 'applying' AND NEW.state NOT IN ('applying', 'applied') THEN
        RAISE EXCEPTION 'change set % is %: what is over stays as it was', OLD.id, OLD.state
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'a_change_set_that_is_over_stays_as_it_was';
    END IF;
    IF OLD.state <> 'draft' AND NEW.state <> 'draft'
       AND (NEW.content_hash, NEW.is_emergency, NEW.effective_on, NEW.reason, NEW.title, NEW.is_shared)
           IS DISTINCT FROM (OLD.content_hash, OLD.is_emergency, OLD.effective_on, OLD.reason, OLD.title, OLD.is_shared) THEN
        RAISE EXCEPTION 'change set % was submitted: its content is frozen', OLD.id
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'what_was_submitted_is_frozen';
    END IF;
    IF NEW.decided_by_id IS NOT NULL AND NEW.decided_by_id IS DISTINCT FROM OLD.decided_by_id
       AND EXISTS (SELECT FROM reconciliation_changeeditor e WHERE e.change_set_id = NEW.id AND e.user_id = NEW.decided_by_id)
       OR NEW.reviewed_by_id IS NOT NULL AND NEW.reviewed_by_id IS DISTINCT FROM OLD.reviewed_by_id
       AND EXISTS (SELECT FROM reconciliation_changeeditor e WHERE e.change_set_id = NEW.id AND e.user_id = NEW.reviewed_by_id) THEN
        RAISE EXCEPTION 'who decides on change set % edited none of it', NEW.id
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'who_decides_edited_none_of_it';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER change_set_is_kept BEFORE INSERT OR UPDATE ON reconciliation_changeset
    FOR EACH ROW EXECUTE FUNCTION keep_change_set();

CREATE FUNCTION keep_change_line() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER change_line_is_frozen BEFORE INSERT OR UPDATE OR DELETE ON reconciliation_changeline
    FOR EACH ROW EXECUTE FUNCTION keep_change_line();

CREATE FUNCTION keep_change_entity() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER change_entity_is_frozen BEFORE INSERT OR UPDATE OR DELETE ON reconciliation_changeset_entities
    FOR EACH ROW EXECUTE FUNCTION keep_change_entity();

CREATE FUNCTION keep_change_editor() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        RAISE EXCEPTION 'who edited change set % is kept', OLD.change_set_id
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'an_editor_is_kept';
    END IF;
    PERFORM FROM reconciliation_changeset WHERE id = NEW.change_set_id FOR NO KEY UPDATE;
    IF EXISTS (SELECT FROM reconciliation_changeset
                WHERE id = NEW.change_set_id AND NEW.user_id IN (decided_by_id, reviewed_by_id)) THEN
        RAISE EXCEPTION 'who decides on change set % edited none of it', NEW.change_set_id
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'who_decides_edited_none_of_it';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER change_editor_is_kept BEFORE INSERT OR UPDATE OR DELETE ON reconciliation_changeeditor
    FOR EACH ROW EXECUTE FUNCTION keep_change_editor();
"""
LET_GO = """
DROP TRIGGER change_editor_is_kept ON reconciliation_changeeditor;
DROP TRIGGER change_entity_is_frozen ON reconciliation_changeset_entities;
DROP TRIGGER change_line_is_frozen ON reconciliation_changeline;
DROP TRIGGER change_set_is_kept ON reconciliation_changeset;
DROP FUNCTION keep_change_editor;
DROP FUNCTION keep_change_entity;
DROP FUNCTION keep_change_line;
DROP FUNCTION keep_change_set;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0012_exchange_rates"),
        ("reconciliation", "0014_a_large_fix_is_planned_by_a_worker"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ChangeSet",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("title", models.CharField(max_length=300)),
                ("reason", models.TextField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("draft", "Draft"),
                            ("submitted", "Waits for approval"),
                            ("approved", "Approved"),
                            ("scheduled", "Scheduled"),
                            ("applying", "Validating again"),
                            ("applied", "Applied"),
                            ("rejected", "Rejected"),
                            ("withdrawn", "Withdrawn"),
                        ],
                        default="draft",
                        max_length=10,
                    ),
                ),
                ("is_emergency", models.BooleanField(default=False)),
                ("effective_on", models.DateField(blank=True, null=True)),
                ("is_shared", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField()),
                ("submitted_at", models.DateTimeField(blank=True, null=True)),
                ("content_hash", models.CharField(blank=True, max_length=64)),
                ("preview", models.JSONField(blank=True, default=dict)),
                ("previewed_at", models.DateTimeField(blank=True, null=True)),
                ("fingerprint", models.CharField(blank=True, max_length=64)),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("comment", models.TextField(blank=True)),
                ("problem", models.TextField(blank=True)),
                ("applied_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("result", models.JSONField(blank=True, default=dict)),
                ("total", models.PositiveIntegerField(default=0)),
                ("done", models.PositiveIntegerField(default=0)),
                ("reviewed_at", models.DateTimeField(blank=True, null=True)),
                ("review", models.TextField(blank=True)),
                (
                    "applied_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "created_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="change_sets",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "decided_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("entities", models.ManyToManyField(blank=True, related_name="change_sets", to="portal.legalentity")),
                (
                    "reviewed_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "rolls_back",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="roll_backs",
                        to="reconciliation.changeset",
                    ),
                ),
                (
                    "submitted_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="ChangeReach",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("state", models.CharField(max_length=10)),
                ("amount", models.DecimalField(blank=True, decimal_places=4, max_digits=18, null=True)),
                ("currency", models.CharField(blank=True, max_length=3)),
                ("done_at", models.DateTimeField(blank=True, null=True)),
                (
                    "document",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="portal.document"
                    ),
                ),
                (
                    "entry",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="portal.ledgerentry"
                    ),
                ),
                (
                    "change_set",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="reach", to="reconciliation.changeset"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ChangeLine",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.PositiveIntegerField()),
                ("model", models.CharField(max_length=40)),
                ("key", models.BigIntegerField(blank=True, null=True)),
                (
                    "action",
                    models.CharField(
                        choices=[("add", "New"), ("change", "Changed"), ("end", "Ended"), ("remove", "Removed")],
                        max_length=10,
                    ),
                ),
                ("values", models.JSONField(default=dict)),
                ("record", models.CharField(blank=True, max_length=300)),
                ("before", models.JSONField(blank=True, null=True)),
                ("after", models.JSONField(blank=True, null=True)),
                ("made", models.BigIntegerField(blank=True, null=True)),
                (
                    "change_set",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="lines", to="reconciliation.changeset"
                    ),
                ),
            ],
            options={
                "ordering": ["change_set", "position"],
            },
        ),
        migrations.CreateModel(
            name="ChangeEditor",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("since", models.DateTimeField()),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "change_set",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="editors",
                        to="reconciliation.changeset",
                    ),
                ),
            ],
            options={
                "ordering": ["change_set", "since"],
            },
        ),
        migrations.AddIndex(
            model_name="changeset",
            index=models.Index(
                condition=models.Q(("state__in", ["submitted", "approved", "scheduled", "applying"])),
                fields=["state", "effective_on"],
                name="change_set_under_way",
            ),
        ),
        migrations.AddConstraint(
            model_name="changeset",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("decided_by", None),
                    models.Q(("decided_by", models.F("created_by")), _negated=True),
                    _connector="OR",
                ),
                name="who_decides_did_not_draft",
            ),
        ),
        migrations.AddConstraint(
            model_name="changeset",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["approved", "scheduled", "applying", "applied"]), _negated=True),
                    ("decided_by__isnull", False),
                    ("is_emergency", True),
                    _connector="OR",
                ),
                name="what_applies_was_approved_or_is_an_emergency",
            ),
        ),
        migrations.AddConstraint(
            model_name="changeset",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "draft"), _negated=True),
                    models.Q(("content_hash", ""), ("decided_by", None), ("submitted_at", None)),
                    _connector="OR",
                ),
                name="a_draft_is_neither_submitted_nor_decided",
            ),
        ),
        migrations.AddConstraint(
            model_name="changeset",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state__in", ["draft", "withdrawn"]),
                    models.Q(("content_hash", ""), _negated=True),
                    _connector="OR",
                ),
                name="what_was_submitted_has_its_hash",
            ),
        ),
        migrations.AddConstraint(
            model_name="changeset",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("decided_at", None), ("decided_by", None)),
                    models.Q(("decided_at__isnull", False), ("decided_by__isnull", False)),
                    _connector="OR",
                ),
                name="a_decided_change_set_has_a_person_and_a_moment",
            ),
        ),
        migrations.AddConstraint(
            model_name="changeset",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "rejected"), _negated=True),
                    models.Q(("decided_by__isnull", False), models.Q(("comment", ""), _negated=True)),
                    _connector="OR",
                ),
                name="a_rejected_change_set_says_why",
            ),
        ),
        migrations.AddConstraint(
            model_name="changeset",
            constraint=models.CheckConstraint(
                condition=models.Q(("reason", ""), _negated=True), name="a_change_set_says_why"
            ),
        ),
        migrations.AddConstraint(
            model_name="changeset",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("reviewed_by", None),
                    models.Q(
                        ("is_emergency", True),
                        ("reviewed_at__isnull", False),
                        models.Q(("reviewed_by", models.F("created_by")), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="an_emergency_is_reviewed_by_another",
            ),
        ),
        migrations.AddConstraint(
            model_name="changeset",
            constraint=models.CheckConstraint(
                condition=models.Q(("done__lte", models.F("total"))),
                name="no_entry_is_validated_twice_for_a_change_set",
            ),
        ),
        migrations.AddIndex(
            model_name="changereach",
            index=models.Index(
                condition=models.Q(("done_at", None)),
                fields=["change_set", "document"],
                name="change_reach_to_validate",
            ),
        ),
        migrations.AddConstraint(
            model_name="changereach",
            constraint=models.UniqueConstraint(
                fields=("change_set", "entry"), name="a_change_set_reaches_an_entry_once"
            ),
        ),
        migrations.AddIndex(
            model_name="changeline",
            index=models.Index(fields=["model", "key"], name="change_line_by_record"),
        ),
        migrations.AddConstraint(
            model_name="changeline",
            constraint=models.UniqueConstraint(
                fields=("change_set", "position"), name="lines_of_a_change_set_are_in_order"
            ),
        ),
        migrations.AddConstraint(
            model_name="changeline",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("action", "add"), ("key", None)),
                    models.Q(models.Q(("action", "add"), _negated=True), ("key__isnull", False)),
                    _connector="OR",
                ),
                name="only_a_new_line_has_no_record_yet",
            ),
        ),
        migrations.AddConstraint(
            model_name="changeeditor",
            constraint=models.UniqueConstraint(
                fields=("change_set", "user"), name="an_editor_of_a_change_set_is_named_once"
            ),
        ),
        migrations.RunSQL(HELD, LET_GO),
    ]
