"""Whatever takes a second person is one list: a view over the tables of each kind, with who may decide on what waits."""

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models

# A kind is two arms: what waits, and what was decided. `is_open` is a constant of each, so that who asks for what waits reads none
# of what was decided. Arrays say in which entities a role is needed, 0 for all of them; they are looked up only where asked for.
NOWHERE = "'{}'::bigint[]"
COLUMNS = {
    "id": "", "kind": "", "key": "", "page": "", "title": "", "reason": "''", "is_open": "", "outcome": "''",
    "entity_id": "NULL::bigint", "entities": NOWHERE, "is_shared": "false",
    "amounts": "NULL::jsonb", "amount": "", "currency": "", "entries": "NULL::bigint",
    "asked_by_id": "NULL::bigint", "asked_at": "NULL::timestamptz",
    "decided_by_id": "NULL::bigint", "decided_at": "NULL::timestamptz", "facts": "NULL::jsonb",
    "approving": NOWHERE, "configuring": NOWHERE, "administering": NOWHERE, "fixing": NOWHERE, "managing": NOWHERE,
    "only_id": "NULL::bigint", "barred": NOWHERE,
}  # fmt: skip
DECIDED = ("outcome", "decided_by_id", "decided_at")
WHOM = ("approving", "configuring", "administering", "fixing", "managing", "only_id", "barred")


def arms(number, kind, source, waits, over, **said):
    """What waits, and what was decided, of one kind; `source` names its table `x`."""
    amounts = said.get("amounts", COLUMNS["amounts"])
    both = {
        "id": f"x.id * 16 + {number}", "kind": f"'{kind}'::text", "key": "x.id::bigint", "page": "x.id::bigint",
        "amount": f"(SELECT max(m.value::numeric) FROM jsonb_each_text({amounts}) m HAVING count(*) = 1)",
        "currency": f"(SELECT max(m.key) FROM jsonb_each_text({amounts}) m HAVING count(*) = 1)", **said,
    }  # fmt: skip
    for is_open, where in ((True, waits), (False, over)):
        left = DECIDED if is_open else WHOM
        told = {name: both.get(name, default) for name, default in COLUMNS.items()}
        told |= {name: COLUMNS[name] for name in left} | {"is_open": str(is_open).lower()}
        yield f"SELECT {', '.join(f'{words} AS {name}' for name, words in told.items())} FROM {source} WHERE {where}"


NAMES = ", ".join(
    f"'{name}'" for name in ("passes", "fails", "leaves", "repriced", "booked", "new_passes", "new_fails")
)
# What is asked of a row that waits, and of no other, is a function: the view is planned for every page, and stays small by it.
FUNCTIONS = {
    # The entities of a change set, with 0 where it touches what belongs to all of them, or to none.
    "change_set_reaches(of bigint) RETURNS bigint[]": """
        SELECT CASE WHEN c.is_shared OR r.ids = '{}' THEN r.ids || 0::bigint ELSE r.ids END
          FROM reconciliation_changeset c
         CROSS JOIN LATERAL (SELECT ARRAY(SELECT legalentity_id FROM reconciliation_changeset_entities
                                           WHERE changeset_id = c.id) AS ids) r WHERE c.id = of""",
    # Who may not decide on a change set: who wrote in it, whose rights it moves, and whom its writers just gave rights.
    "change_set_bars(of bigint) RETURNS bigint[]": """
        SELECT ARRAY(SELECT user_id FROM reconciliation_changeeditor WHERE change_set_id = of UNION
        SELECT u.id FROM reconciliation_changeline l JOIN portal_user u ON u.username IN (l.before->>'user', l.after->>'user')
         WHERE l.change_set_id = of AND l.model = 'grant' UNION
        SELECT agreed_by_id FROM reconciliation_changeset WHERE id = of AND agreed_by_id IS NOT NULL UNION
        SELECT u.id FROM reconciliation_changeset g
          JOIN reconciliation_changeline l ON l.change_set_id = g.id AND l.model = 'grant'
          JOIN portal_user u ON u.username = l.after->>'user'
         WHERE g.applied_at >= now() - interval '1 hour' AND EXISTS (
               SELECT 1 FROM reconciliation_changeeditor w WHERE w.change_set_id = of AND (
                      w.user_id = coalesce(g.decided_by_id, g.submitted_by_id)
                      OR w.user_id IN (SELECT e.user_id FROM reconciliation_changeeditor e WHERE e.change_set_id = g.id))))""",
    # Whether a change set still says what somebody proposed to remember, and is decided with that.
    "change_set_is_a_proposal(of bigint) RETURNS boolean": """
        SELECT EXISTS (SELECT 1 FROM reconciliation_proposal p JOIN reconciliation_changeline l
            ON l.change_set_id = of AND l.model = 'alias' AND l.action = 'add' AND l.values->>'kind' = p.kind
           AND l.values->>'alias' = p.code AND starts_with(p.record, (l.values->>'code') || ' · ')
         WHERE p.change_set_id = of AND p.state = 'proposed')""",
    # By currency the most that a dry-run moves, whichever way.
    "preview_weighs(preview jsonb) RETURNS jsonb": f"""
        SELECT jsonb_object_agg(w.currency, w.weight) FROM (
        SELECT m.key AS currency, max(greatest(abs((m.value->>'before')::numeric), abs((m.value->>'after')::numeric))) AS weight
          FROM unnest(ARRAY[{NAMES}]) n CROSS JOIN jsonb_each(coalesce(preview->n->'money', '{{}}')) m
         WHERE m.key <> '' GROUP BY 1) w WHERE w.weight <> 0""",
    # Who may not let an entity go live: who began or proposed it, decided on its rehearsal, brought its bookings or said its cut-over.
    "onboarding_bars(of bigint) RETURNS bigint[]": """
        SELECT ARRAY(SELECT o.proposed_by_id UNION SELECT o.started_by_id UNION
        SELECT l.decided_by_id FROM reconciliation_rehearsedline l
         WHERE l.rehearsal_id = o.rehearsal_id AND l.decided_by_id IS NOT NULL UNION
        SELECT r.asked_by_id FROM reconciliation_rehearsal r WHERE r.id = o.rehearsal_id AND r.basis = 'file' UNION
        SELECT h.history_user_id FROM reconciliation_historicalcutover h
         WHERE h.entity_id = o.entity_id AND h.history_user_id IS NOT NULL AND h.history_date >= o.started_at
           AND (o.source_id IS NULL OR h.source_id = o.source_id)) FROM reconciliation_onboarding o WHERE o.id = of""",
}


def summed(select):
    """Amounts by currency, of a statement that gives a currency and an amount a row."""
    return f"""(SELECT jsonb_object_agg(w.currency, w.amount) FROM (
        SELECT s.currency, sum(s.amount) AS amount FROM ({select}) s WHERE s.currency <> '' AND s.amount IS NOT NULL GROUP BY 1) w)"""


REACH = "change_set_reaches(x.id)"
OF_CHANGE = {
    "title": "x.title", "reason": "x.reason", "is_shared": "x.is_shared", "facts": "x.preview", "amounts": "preview_weighs(x.preview)",
    "entities": "ARRAY(SELECT legalentity_id FROM reconciliation_changeset_entities WHERE changeset_id = x.id)",
    "entity_id": "(SELECT max(legalentity_id) FROM reconciliation_changeset_entities WHERE changeset_id = x.id"
    " HAVING count(*) = 1 AND NOT x.is_shared)",
    "entries": "(x.preview->>'entries')::bigint", "configuring": REACH, "barred": "change_set_bars(x.id)",
    "administering": f"CASE WHEN EXISTS (SELECT 1 FROM reconciliation_changeline l WHERE l.change_set_id = x.id"
    f" AND l.model = 'grant') THEN {REACH} ELSE {NOWHERE} END",
}  # fmt: skip
NUMBER = "'P-' || lpad(x.id::text, greatest(6, length(x.id::text)), '0') || ' of ' || p.code"
OF_INVOICE = {
    "reason": "c.name", "entity_id": "x.entity_id", "entities": "ARRAY[x.entity_id]",
    "title": NUMBER, "amounts": "jsonb_build_object(x.currency, x.net)",
    "entries": "(SELECT count(*) FROM portal_proposalpart q JOIN portal_proposalline l ON l.id = q.line_id"
    " WHERE l.proposal_id = x.id AND l.held_by_id IS NULL)",
    "facts": "jsonb_build_object('seen', x.content_hash, 'through', x.through, 'lines', (SELECT count(*) FROM portal_proposalline l"
    " WHERE l.proposal_id = x.id AND l.held_by_id IS NULL), 'held', (SELECT count(*) FROM portal_proposalline l"
    " WHERE l.proposal_id = x.id AND l.held_by_id IS NOT NULL))",
}  # fmt: skip
INVOICES = "portal_invoiceproposal x JOIN portal_project p ON p.id = x.project_id JOIN portal_customer c ON c.id = x.customer_id"
WORKED = "CASE WHEN cardinality(x.entities) > 0 THEN x.entities ELSE ARRAY[0::bigint] END"

KINDS = [
    *arms(
        1, "fix", "reconciliation_operation x", "x.state = 'awaiting'", "x.second_person <> '' AND x.decided_by_id IS NOT NULL",
        title="x.title", reason="x.reason", entity_id="x.entity_id", entities="ARRAY[x.entity_id]", entries="x.total::bigint",
        amounts=summed("SELECT m.key AS currency, (m.value->>'weight')::numeric AS amount"
                       " FROM jsonb_each(coalesce(x.preview->'money', '{}')) m"),
        asked_by_id="coalesce(x.confirmed_by_id, x.created_by_id)", asked_at="coalesce(x.confirmed_at, x.created_at)",
        decided_by_id="x.decided_by_id", decided_at="x.decided_at",
        outcome="CASE x.state WHEN 'refused' THEN 'refused' ELSE 'approved' END",
        facts="jsonb_build_object('passes', x.preview->'passes', 'still_held', x.preview->'still_held', 'why', x.second_person)",
        approving="ARRAY[x.entity_id]", barred="array_remove(ARRAY[x.created_by_id, x.confirmed_by_id], NULL)",
    ),
    *arms(
        2, "change", "reconciliation_changeset x", "x.state = 'submitted' AND NOT change_set_is_a_proposal(x.id)",
        "x.decided_by_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM reconciliation_proposal p WHERE p.change_set_id = x.id"
        " AND p.state IN ('approved', 'rejected'))",
        **OF_CHANGE, asked_by_id="coalesce(x.submitted_by_id, x.created_by_id)", asked_at="coalesce(x.submitted_at, x.created_at)",
        decided_by_id="x.decided_by_id", decided_at="x.decided_at",
        outcome="CASE x.state WHEN 'rejected' THEN 'refused' ELSE 'approved' END",
    ),
    *arms(
        3, "review", "reconciliation_changeset x",
        "x.is_emergency AND x.reviewed_by_id IS NULL AND x.state IN ('applying', 'applied')",
        "x.is_emergency AND x.reviewed_by_id IS NOT NULL",
        **OF_CHANGE, asked_by_id="coalesce(x.submitted_by_id, x.created_by_id)", asked_at="coalesce(x.applied_at, x.created_at)",
        decided_by_id="x.reviewed_by_id", decided_at="x.reviewed_at", outcome="'approved'",
    ),
    *arms(
        4, "bundle", "reconciliation_ratebundle x JOIN reconciliation_changeset c ON c.id = x.change_set_id",
        "x.state = 'planned' AND x.round > 1", "x.round > 1 AND x.approved_by_id IS NOT NULL",
        title="c.title", reason="c.reason", is_shared="c.is_shared", entries="x.total::bigint",
        entities=OF_CHANGE["entities"].replace("x.id", "c.id"), entity_id=OF_CHANGE["entity_id"].replace("x.", "c."),
        amounts=summed("SELECT r.currency, r.amount_after - r.amount_before AS amount FROM reconciliation_bundlerow r"
                       " WHERE r.bundle_id = x.id AND r.way <> 'left'"),
        asked_by_id="x.planned_by_id", asked_at="x.created_at", decided_by_id="x.approved_by_id", decided_at="x.approved_at",
        outcome="'approved'", barred="ARRAY[x.planned_by_id]",
        approving="ARRAY(SELECT DISTINCT r.entity_id FROM reconciliation_bundlerow r WHERE r.bundle_id = x.id)",
    ),
    *arms(
        5, "release", INVOICES, "x.state = 'open' AND x.net > 0", "x.released_by_id IS NOT NULL AND x.state <> 'open'",
        **OF_INVOICE, asked_by_id="x.prepared_by_id", asked_at="x.prepared_at",
        decided_by_id="x.released_by_id", decided_at="x.released_at", outcome="'approved'",
        managing="ARRAY[x.entity_id]", only_id="p.manager_id",
    ),
    *arms(
        6, "invoice", INVOICES, "x.state = 'released'", "x.approved_by_id IS NOT NULL",
        **OF_INVOICE, asked_by_id="x.released_by_id", asked_at="x.released_at",
        decided_by_id="x.approved_by_id", decided_at="x.approved_at", outcome="'approved'", fixing="ARRAY[x.entity_id]",
        barred="ARRAY(SELECT user_id FROM portal_proposaleditor WHERE proposal_id = x.id) || x.released_by_id",
    ),
    *arms(
        7, "bill", "reconciliation_billingdecision x JOIN portal_invoice b ON b.id = x.bill_id"
        " JOIN portal_invoiceversion v ON v.id = x.version_id",
        "x.needs_approval AND x.approved_at IS NULL AND x.outcome = '' AND x.version_id = b.current_id",
        "x.needs_approval AND (x.approved_by_id IS NOT NULL OR x.outcome = 'refused')",
        page="b.id::bigint", title="CASE b.kind WHEN 'credit_note' THEN 'Credit note ' ELSE 'Invoice ' END"
        " || coalesce(nullif(v.number, ''), b.external_id)",
        reason="x.reason", entity_id="b.entity_id", entities="ARRAY[b.entity_id]",
        amounts="jsonb_build_object(v.currency, v.total)", asked_by_id="x.by_id", asked_at="x.at",
        decided_by_id="coalesce(x.approved_by_id, x.ended_by_id)", decided_at="coalesce(x.approved_at, x.ended_at)",
        outcome="CASE x.outcome WHEN 'refused' THEN 'refused' ELSE 'approved' END",
        facts="jsonb_build_object('choice', x.choice, 'status', v.status)",
        approving="ARRAY[b.entity_id]", barred="ARRAY[x.by_id]",
    ),
    *arms(
        8, "certificate", "reconciliation_certificate x JOIN portal_accountingperiod p ON p.id = x.period_id"
        " JOIN portal_legalentity e ON e.id = p.entity_id",
        "x.state = 'prepared'", "x.certified_by_id IS NOT NULL OR (x.state = 'withdrawn' AND x.ended_by_id <> x.prepared_by_id)",
        page="p.id::bigint", title="'Certify ' || e.code || ' ' || p.code", reason="x.note",
        entity_id="p.entity_id", entities="ARRAY[p.entity_id]", asked_by_id="x.prepared_by_id", asked_at="x.prepared_at",
        decided_by_id="coalesce(x.certified_by_id, x.ended_by_id)", decided_at="coalesce(x.certified_at, x.ended_at)",
        outcome="CASE WHEN x.certified_by_id IS NULL THEN 'refused' ELSE 'approved' END",
        facts="jsonb_build_object('differing', x.differing, 'books', x.books)",
        approving="ARRAY[p.entity_id]", barred="ARRAY[x.prepared_by_id]",
    ),
    *arms(
        9, "live", "reconciliation_onboarding x JOIN portal_legalentity e ON e.id = x.entity_id"
        " LEFT JOIN portal_connection s ON s.id = x.source_id LEFT JOIN reconciliation_rehearsal r ON r.id = x.rehearsal_id",
        "x.state = 'proposed'", "x.state = 'live' AND x.decided_by_id IS NOT NULL",
        title="e.code || coalesce(': ' || s.name, '') || ' goes live'", reason="x.proposed_because",
        entity_id="x.entity_id", entities="ARRAY[x.entity_id]", entries="r.documents::bigint",
        amounts=summed("SELECT l.currency, l.amount_left AS amount FROM reconciliation_rehearsedline l"
                       " WHERE l.rehearsal_id = x.rehearsal_id"),
        asked_by_id="x.proposed_by_id", asked_at="x.proposed_at", decided_by_id="x.decided_by_id", decided_at="x.decided_at",
        outcome="'approved'", approving="ARRAY[x.entity_id]",
        barred="onboarding_bars(x.id)",
    ),
    *arms(
        10, "code", "reconciliation_proposal x LEFT JOIN portal_connection k ON k.id = x.connection_id"
        " LEFT JOIN reconciliation_changeset c ON c.id = x.change_set_id",
        "x.state = 'proposed' AND coalesce(c.state, '') NOT IN ('approved', 'scheduled', 'applying')",
        "x.state IN ('approved', 'rejected') AND x.decided_by_id IS NOT NULL",
        title="'“' || x.code || '” stands for ' || x.record", reason="x.reason",
        entity_id="x.entity_id", entities="ARRAY[x.entity_id]", entries="(x.evidence->>'entries')::bigint",
        amounts=summed("SELECT m.key AS currency, m.value::numeric AS amount"
                       " FROM jsonb_each_text(coalesce(x.evidence->'money', '{}')) m"),
        asked_by_id="x.proposed_by_id", asked_at="x.proposed_at", decided_by_id="x.decided_by_id", decided_at="x.decided_at",
        outcome="CASE x.state WHEN 'rejected' THEN 'refused' ELSE 'approved' END",
        facts="jsonb_build_object('from', x.valid_from, 'times', x.evidence->'operations')",
        approving="ARRAY[x.entity_id, coalesce(k.entity_id, 0)]",
        configuring=f"CASE WHEN c.state = 'submitted' THEN change_set_reaches(c.id) ELSE {NOWHERE} END",
        barred=f"CASE WHEN c.state = 'submitted' THEN change_set_bars(c.id) ELSE {NOWHERE} END || x.proposed_by_id",
    ),
    *arms(
        11, "erasure", "portal_erasurerequest x JOIN portal_resource r ON r.id = x.resource_id",
        "x.state = 'waiting'", "x.state IN ('done', 'refused')",
        title="'Forget ' || r.code || ' ' || r.name", reason="x.reason", entities="x.entities",
        entity_id="CASE WHEN cardinality(x.entities) = 1 THEN x.entities[1] END",
        asked_by_id="x.asked_by_id", asked_at="x.asked_at", decided_by_id="x.decided_by_id", decided_at="x.decided_at",
        outcome="CASE x.state WHEN 'refused' THEN 'refused' ELSE 'approved' END", facts="x.shown",
        configuring=WORKED, barred="ARRAY[x.asked_by_id]",
    ),
    *arms(
        12, "rule", "reconciliation_matchingrule x", "x.state = 'draft' AND x.tested_at IS NOT NULL",
        "x.activated_by_id IS NOT NULL OR x.state = 'retired' AND EXISTS (SELECT 1 FROM reconciliation_historicalmatchingrule h"
        " WHERE h.id = x.id AND h.state = 'retired' AND h.history_user_id <> x.made_by_id)",
        title="'Use the rule “' || x.name || '”'", entity_id="x.entity_id", entities="ARRAY[x.entity_id]",
        asked_by_id="x.made_by_id", asked_at="x.tested_at",
        outcome="CASE WHEN x.activated_by_id IS NULL THEN 'refused' ELSE 'approved' END",
        decided_by_id="coalesce(x.activated_by_id, (SELECT max(h.history_user_id) FROM reconciliation_historicalmatchingrule h"
        " WHERE h.id = x.id AND h.state = 'retired'))",
        decided_at="(SELECT min(h.history_date) FROM reconciliation_historicalmatchingrule h WHERE h.id = x.id"
        " AND (h.activated_by_id = x.activated_by_id OR x.activated_by_id IS NULL AND h.state = 'retired'))",
        facts="x.tested", approving="ARRAY[x.entity_id]", barred="ARRAY[x.made_by_id]",
    ),
]  # fmt: skip

# What a higher layer lets two people decide comes up through a view of its own, which that layer fills.
TYPES = {
    "is_open": "boolean", "is_shared": "boolean", "amounts": "jsonb", "facts": "jsonb", "amount": "numeric",
    "asked_at": "timestamptz", "decided_at": "timestamptz",
    **dict.fromkeys(("kind", "title", "reason", "outcome", "currency"), "text"),
    **dict.fromkeys(("entities", "approving", "configuring", "administering", "fixing", "managing", "barred"), "bigint[]"),
}  # fmt: skip
ABOVE = "CREATE VIEW reconciliation_approvalabove AS SELECT {} WHERE false".format(
    ", ".join(f"NULL::{TYPES.get(name, 'bigint')} AS {name}" for name in COLUMNS)
)


def typed(arm):
    """An arm with each column in its type."""
    cells = ", ".join(f"{name}::{TYPES.get(name, 'bigint')} AS {name}" for name in COLUMNS)
    return f"SELECT {cells} FROM ({arm}) arm"


VIEW = "CREATE VIEW reconciliation_approval AS {} UNION ALL SELECT * FROM reconciliation_approvalabove".format(
    " UNION ALL ".join(typed(arm) for arm in KINDS)
)

LABELS = [
    ("fix", "Fix"), ("change", "Change"), ("review", "Emergency, to review"), ("bundle", "What follows in the books"),
    ("release", "Invoice to release"), ("invoice", "Invoice to approve"), ("bill", "Bill to decide"),
    ("certificate", "Certificate to sign"), ("live", "Going live"), ("code", "Code to remember"),
    ("erasure", "Person to forget"), ("rule", "Matching rule"), ("doubt", "Entry in doubt"),
]  # fmt: skip


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0034_evidence_is_not_emptied"),
        ("reconciliation", "0052_months_say_what_stands_beside"),
    ]

    operations = [
        *[
            migrations.RunSQL(
                f"CREATE FUNCTION {head} LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN ({body}); END $$",
                f"DROP FUNCTION {head.partition(' RETURNS')[0]}",
            )
            for head, body in FUNCTIONS.items()
        ],
        migrations.RunSQL(ABOVE, "DROP VIEW reconciliation_approvalabove"),
        migrations.RunSQL(VIEW, "DROP VIEW reconciliation_approval"),
        migrations.CreateModel(
            name="Approval",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("kind", models.CharField(max_length=12, choices=LABELS)),
                ("key", models.BigIntegerField()),
                ("page", models.BigIntegerField()),
                ("title", models.TextField()),
                ("reason", models.TextField()),
                ("is_open", models.BooleanField()),
                (
                    "outcome",
                    models.CharField(
                        max_length=10, choices=[("", "Waits"), ("approved", "Approved"), ("refused", "Refused")]
                    ),
                ),
                ("is_shared", models.BooleanField()),
                ("amounts", models.JSONField(null=True)),
                ("amount", models.DecimalField(max_digits=18, decimal_places=4, null=True)),
                ("currency", models.CharField(max_length=3, null=True)),
                ("entries", models.BigIntegerField(null=True)),
                ("asked_at", models.DateTimeField(null=True)),
                ("decided_at", models.DateTimeField(null=True)),
                ("facts", models.JSONField(null=True)),
                *[(name, ArrayField(models.BigIntegerField())) for name, kind in TYPES.items() if kind == "bigint[]"],
            ],
            options={"db_table": "reconciliation_approval", "ordering": ["asked_at", "id"], "managed": False},
        ),
    ]
