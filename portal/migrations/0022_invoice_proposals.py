"""Invoice proposals and drafts: what is to be billed next sits in one proposal only, and who approves it did not make it so."""

import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

FUNCTIONS = """
CREATE FUNCTION keep_proposals_apart() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    bad record;
BEGIN
    PERFORM 1 FROM portal_document d
      WHERE d.id IN (SELECT e.document_id FROM fresh f JOIN portal_ledgerentry e ON e.id = f.entry_id)
      ORDER BY d.id FOR NO KEY UPDATE OF d;
    PERFORM 1 FROM portal_ledgerstate s WHERE s.entry_id IN (SELECT entry_id FROM fresh) ORDER BY s.entry_id FOR SHARE OF s;
    PERFORM 1 FROM portal_milestone m WHERE m.id IN (SELECT milestone_id FROM fresh) ORDER BY m.id FOR NO KEY UPDATE OF m;

    SELECT f.id INTO bad FROM fresh f
      JOIN portal_proposalline l ON l.id = f.line_id JOIN portal_invoiceproposal i ON i.id = l.proposal_id
      LEFT JOIN portal_ledgerentry e ON e.id = f.entry_id
      LEFT JOIN portal_milestone m ON m.id = f.milestone_id LEFT JOIN portal_project p ON p.id = m.project_id
     WHERE f.entity_id IS DISTINCT FROM coalesce(e.entity_id, p.entity_id) OR f.entity_id <> i.entity_id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'part % of a proposal is of another entity than what it bills', bad.id USING ERRCODE = 'check_violation';
    END IF;

    SELECT f.entry_id, s.state INTO bad FROM fresh f
      JOIN portal_ledgerentry e ON e.id = f.entry_id JOIN portal_ledgerstate s ON s.entry_id = e.id
     WHERE s.state NOT IN ('posted', 'reconciled') OR e.reverses_id IS NOT NULL OR NOT e.is_billable OR e.is_cost_only
        OR EXISTS (SELECT 1 FROM portal_ledgerentry r JOIN portal_ledgerstate rs ON rs.entry_id = r.id
                    WHERE r.reverses_id = e.id AND rs.state <> 'cancelled') LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry % (%) is not to be proposed: what is posted, billable and not being reversed is', bad.entry_id, bad.state
            USING ERRCODE = 'check_violation';
    END IF;

    SELECT w.entry_id, w.milestone_id, w.taken, w.left INTO bad FROM (
        SELECT f.entry_id, f.milestone_id,
               (SELECT sum(p.quantity) FROM portal_proposalpart p WHERE p.released_at IS NULL
                   AND (p.entry_id = f.entry_id OR p.milestone_id = f.milestone_id)) AS taken,
               coalesce(b.delivered - b.invoiced + b.credited,
                        CASE WHEN m.id IS NOT NULL THEN m.amount WHEN e.kind = 'time' THEN coalesce(e.hours, 0)
                             ELSE coalesce(e.amount, 0) END) AS left
          FROM (SELECT DISTINCT entry_id, milestone_id FROM fresh) f
          LEFT JOIN portal_ledgerentry e ON e.id = f.entry_id LEFT JOIN portal_milestone m ON m.id = f.milestone_id
          LEFT JOIN portal_billingbalance b ON b.entry_id = f.entry_id OR b.milestone_id = f.milestone_id) w
     WHERE w.taken > w.left LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'more is proposed of % % than is left to bill: % of %',
            CASE WHEN bad.entry_id IS NULL THEN 'milestone' ELSE 'entry' END, coalesce(bad.entry_id, bad.milestone_id), bad.taken, bad.left
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION keep_proposals_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    stands text;
    was jsonb;
    becomes jsonb;
BEGIN
    IF TG_TABLE_NAME = 'portal_proposalline' THEN
        SELECT state INTO stands FROM portal_invoiceproposal
         WHERE id = CASE WHEN TG_OP = 'DELETE' THEN OLD.proposal_id ELSE NEW.proposal_id END;
    ELSE
        SELECT i.state INTO stands FROM portal_invoiceproposal i JOIN portal_proposalline l ON l.proposal_id = i.id
         WHERE l.id = CASE WHEN TG_OP = 'DELETE' THEN OLD.line_id ELSE NEW.line_id END;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        was := to_jsonb(OLD) - 'draft_id' - 'released_at';
        becomes := to_jsonb(NEW) - 'draft_id' - 'released_at';
        IF was = becomes THEN
            IF to_jsonb(OLD)->>'released_at' IS NOT NULL AND to_jsonb(NEW)->>'released_at' IS NULL THEN
                RAISE EXCEPTION 'a part of a proposal that was given back is not taken again' USING ERRCODE = 'check_violation';
            END IF;
            RETURN NEW;
        END IF;
    END IF;
    IF stands IS NOT NULL AND stands <> 'open' THEN
        RAISE EXCEPTION 'a proposal that is % is not edited', stands USING ERRCODE = 'check_violation';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;

CREATE FUNCTION keep_approvers_apart() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.approved_by_id IS NOT NULL AND EXISTS (
        SELECT 1 FROM portal_proposaleditor WHERE proposal_id = NEW.id AND user_id = NEW.approved_by_id) THEN
        RAISE EXCEPTION 'who approves a proposal edited none of it' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
"""
TRIGGERS = """
CREATE TRIGGER nothing_is_proposed_twice AFTER INSERT ON portal_proposalpart
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION keep_proposals_apart();
CREATE TRIGGER what_was_released_stays BEFORE INSERT OR UPDATE OR DELETE ON portal_proposalline
    FOR EACH ROW EXECUTE FUNCTION keep_proposals_frozen();
CREATE TRIGGER what_was_released_stays BEFORE INSERT OR UPDATE OR DELETE ON portal_proposalpart
    FOR EACH ROW EXECUTE FUNCTION keep_proposals_frozen();
CREATE TRIGGER who_approves_edited_nothing BEFORE INSERT OR UPDATE OF approved_by_id ON portal_invoiceproposal
    FOR EACH ROW EXECUTE FUNCTION keep_approvers_apart();
"""
BACK = """
DROP TRIGGER who_approves_edited_nothing ON portal_invoiceproposal;
DROP TRIGGER what_was_released_stays ON portal_proposalpart;
DROP TRIGGER what_was_released_stays ON portal_proposalline;
DROP TRIGGER nothing_is_proposed_twice ON portal_proposalpart;
DROP FUNCTION keep_approvers_apart(); DROP FUNCTION keep_proposals_frozen(); DROP FUNCTION keep_proposals_apart();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0021_how_bills_stand_is_told"),
    ]

    operations = [
        migrations.AddField(
            model_name="connection",
            name="is_biller",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="historicalconnection",
            name="is_biller",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AlterField(
            model_name="document",
            name="kind",
            field=models.CharField(
                choices=[
                    ("time", "Time"),
                    ("expense", "Expense"),
                    ("master", "Published record"),
                    ("invoice", "Invoice draft"),
                ],
                max_length=10,
            ),
        ),
        migrations.AlterField(
            model_name="ledgerentry",
            name="kind",
            field=models.CharField(
                choices=[
                    ("time", "Time"),
                    ("expense", "Expense"),
                    ("master", "Published record"),
                    ("invoice", "Invoice draft"),
                ],
                max_length=10,
            ),
        ),
        migrations.CreateModel(
            name="InvoiceProposal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("share", models.DecimalField(decimal_places=4, default=100, max_digits=7)),
                ("currency", models.CharField(max_length=3)),
                ("through", models.DateField()),
                (
                    "grouping",
                    models.CharField(
                        choices=[
                            ("person", "Per person and rate"),
                            ("role", "Per role and rate"),
                            ("task", "Per task and rate"),
                            ("entry", "Every entry"),
                        ],
                        default="person",
                        max_length=10,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("released", "Released"),
                            ("approved", "Approved"),
                            ("handed_over", "Handed over"),
                            ("billed", "Billed"),
                            ("withdrawn", "Withdrawn"),
                        ],
                        default="open",
                        max_length=12,
                    ),
                ),
                ("net", models.DecimalField(decimal_places=4, default=0, max_digits=18)),
                ("memo", models.TextField(blank=True)),
                ("content_hash", models.CharField(blank=True, max_length=64)),
                ("prepared_at", models.DateTimeField()),
                ("released_at", models.DateTimeField(blank=True, null=True)),
                ("approved_at", models.DateTimeField(blank=True, null=True)),
                ("handed_over_at", models.DateTimeField(blank=True, null=True)),
                ("reason", models.CharField(blank=True, max_length=500)),
                (
                    "approved_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "contract",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="portal.contract",
                    ),
                ),
                (
                    "customer",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="invoice_proposals",
                        to="portal.customer",
                    ),
                ),
                (
                    "entity",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="invoice_proposals",
                        to="portal.legalentity",
                    ),
                ),
                (
                    "prepared_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="invoice_proposals",
                        to="portal.project",
                    ),
                ),
                (
                    "purchase_order",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="portal.purchaseorder",
                    ),
                ),
                (
                    "released_by",
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
                "ordering": ["-prepared_at", "-pk"],
            },
        ),
        migrations.CreateModel(
            name="InvoiceDraft",
            fields=[
                (
                    "document",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="invoice_draft",
                        serialize=False,
                        to="portal.document",
                    ),
                ),
                ("part", models.PositiveSmallIntegerField(default=1)),
                ("parts", models.PositiveSmallIntegerField(default=1)),
                ("net", models.DecimalField(decimal_places=4, max_digits=18)),
                ("dated_on", models.DateField()),
                ("due_on", models.DateField(blank=True, null=True)),
                ("number", models.CharField(blank=True, max_length=200)),
                ("bill_number", models.CharField(blank=True, max_length=120)),
                ("tax", models.DecimalField(blank=True, decimal_places=4, max_digits=18, null=True)),
                ("total", models.DecimalField(blank=True, decimal_places=4, max_digits=18, null=True)),
                ("read_at", models.DateTimeField(blank=True, null=True)),
                ("drift", models.JSONField(blank=True, default=dict)),
                (
                    "connection",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="invoice_drafts",
                        to="portal.connection",
                    ),
                ),
                (
                    "entity",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="invoice_drafts",
                        to="portal.legalentity",
                    ),
                ),
                (
                    "invoice",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="invoice_draft",
                        to="portal.invoice",
                    ),
                ),
                (
                    "proposal",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="drafts", to="portal.invoiceproposal"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ProposalEditor",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "proposal",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="editors",
                        to="portal.invoiceproposal",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ProposalLine",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.PositiveIntegerField()),
                ("key", models.UUIDField(default=uuid.uuid4, unique=True)),
                ("description", models.TextField()),
                ("quantity", models.DecimalField(blank=True, decimal_places=4, max_digits=18, null=True)),
                ("unit_price", models.DecimalField(blank=True, decimal_places=6, max_digits=18, null=True)),
                ("net", models.DecimalField(decimal_places=4, max_digits=18)),
                ("tax_code", models.CharField(blank=True, max_length=40)),
                ("is_late", models.BooleanField(default=False)),
                ("hold_reason", models.CharField(blank=True, max_length=500)),
                ("held_until", models.DateField(blank=True, null=True)),
                (
                    "draft",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="lines",
                        to="portal.invoicedraft",
                    ),
                ),
                (
                    "held_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "proposal",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="lines",
                        to="portal.invoiceproposal",
                    ),
                ),
            ],
            options={
                "ordering": ["proposal", "position"],
            },
        ),
        migrations.CreateModel(
            name="ProposalPart",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("quantity", models.DecimalField(decimal_places=4, max_digits=18)),
                ("amount", models.DecimalField(decimal_places=4, max_digits=18)),
                ("released_at", models.DateTimeField(blank=True, null=True)),
                (
                    "entity",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="portal.legalentity"
                    ),
                ),
                (
                    "entry",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="proposed",
                        to="portal.ledgerentry",
                    ),
                ),
                (
                    "line",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="parts", to="portal.proposalline"
                    ),
                ),
                (
                    "milestone",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="proposed",
                        to="portal.milestone",
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="invoiceproposal",
            index=models.Index(fields=["state", "project"], name="proposal_by_state"),
        ),
        migrations.AddConstraint(
            model_name="invoiceproposal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["released", "approved", "handed_over", "billed"]), _negated=True),
                    ("released_by__isnull", False),
                    _connector="OR",
                ),
                name="what_goes_on_was_released",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoiceproposal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["approved", "handed_over", "billed"]), _negated=True),
                    ("approved_by__isnull", False),
                    _connector="OR",
                ),
                name="what_is_handed_over_was_approved",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoiceproposal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("approved_by", None),
                    models.Q(("approved_by", models.F("released_by")), _negated=True),
                    _connector="OR",
                ),
                name="who_approves_a_proposal_did_not_release_it",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoiceproposal",
            constraint=models.CheckConstraint(
                condition=models.Q(("share__gt", 0), ("share__lte", 100)), name="a_share_is_a_part"
            ),
        ),
        migrations.AddConstraint(
            model_name="invoicedraft",
            constraint=models.UniqueConstraint(
                fields=("proposal", "part"), name="a_part_of_a_proposal_is_drafted_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="proposaleditor",
            constraint=models.UniqueConstraint(fields=("proposal", "user"), name="an_editor_is_named_once"),
        ),
        migrations.AddConstraint(
            model_name="proposalline",
            constraint=models.UniqueConstraint(
                fields=("proposal", "position"), name="lines_of_a_proposal_are_in_order"
            ),
        ),
        migrations.AddConstraint(
            model_name="proposalline",
            constraint=models.CheckConstraint(condition=models.Q(("net__gte", 0)), name="a_proposal_asks_for_money"),
        ),
        migrations.AddConstraint(
            model_name="proposalline",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("held_by", None), ("hold_reason", "")),
                    models.Q(("held_by__isnull", False), models.Q(("hold_reason", ""), _negated=True)),
                    _connector="OR",
                ),
                name="a_line_on_hold_has_a_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="proposalline",
            constraint=models.CheckConstraint(
                condition=models.Q(("draft", None), ("held_by", None), _connector="OR"),
                name="a_line_on_hold_is_not_handed_over",
            ),
        ),
        migrations.AddIndex(
            model_name="proposalpart",
            index=models.Index(
                condition=models.Q(("released_at", None)), fields=["entry"], name="part_that_takes_an_entry"
            ),
        ),
        migrations.AddIndex(
            model_name="proposalpart",
            index=models.Index(
                condition=models.Q(("released_at", None)), fields=["milestone"], name="part_that_takes_a_milestone"
            ),
        ),
        migrations.AddConstraint(
            model_name="proposalpart",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("entry", None), ("milestone__isnull", False)),
                    models.Q(("entry__isnull", False), ("milestone", None)),
                    _connector="OR",
                ),
                name="a_part_is_of_an_entry_or_a_milestone",
            ),
        ),
        migrations.AddConstraint(
            model_name="proposalpart",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gte", 0), ("quantity__gt", 0)), name="a_part_is_something"
            ),
        ),
        migrations.RunSQL(FUNCTIONS + TRIGGERS, BACK),
    ]
