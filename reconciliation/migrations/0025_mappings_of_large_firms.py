"""How systems' keys stand to our records, with words looked up by hash: a firm of thousands of projects waits no seconds for it."""

from django.db import migrations

CREATE = r"""
CREATE OR REPLACE FUNCTION reconciliation_mappings() RETURNS TABLE (id bigint, origin text, connection_id bigint, system text, realm text, kind text, external_id text, their_code text,
    their_name text, foreign_id bigint, crosswalk_id bigint, internal_id bigint, code text, name text, entity_id bigint,
    valid_from date, valid_to date, allows_many boolean, state text, is_ambiguous boolean, is_expiring boolean,
    is_conflicting boolean, is_inactive boolean, entries bigint, hours numeric, money jsonb) LANGUAGE sql STABLE AS $$
  WITH records(kind, id, code, name, entity_id, is_live, tax_number) AS (
    SELECT 'customer', c.id, c.code::text, c.name::text, u.entity_id,
           c.merged_into_id IS NULL AND coalesce(c.active_to >= CURRENT_DATE, true), c.tax_number::text
      FROM portal_customer c LEFT JOIN (
        SELECT id AS customer_id, entity_id FROM portal_customer WHERE entity_id IS NOT NULL
        UNION SELECT customer_id, entity_id FROM portal_project UNION SELECT customer_id, entity_id FROM portal_contract
      ) u ON u.customer_id = c.id
    UNION ALL
    SELECT 'project', p.id, p.code, p.name, p.entity_id, EXISTS (SELECT 1 FROM portal_projectstatus s WHERE s.project_id = p.id
           AND s.status <> 'closed' AND coalesce(s.valid_to >= CURRENT_DATE, true)), ''
      FROM portal_project p
    UNION ALL
    SELECT 'task', t.id, p.code || ' / ' || t.code, t.name, p.entity_id, t.is_active AND EXISTS (SELECT 1
           FROM portal_projectstatus s WHERE s.project_id = p.id AND s.status <> 'closed'
           AND coalesce(s.valid_to >= CURRENT_DATE, true)), ''
      FROM portal_task t JOIN portal_project p ON p.id = t.project_id
    UNION ALL
    SELECT 'resource', r.id, r.code, r.name, g.entity_id, bool_or(coalesce(g.valid_to >= CURRENT_DATE, true)), ''
      FROM portal_resource r JOIN portal_engagement g ON g.resource_id = r.id GROUP BY r.id, g.entity_id
    UNION ALL
    SELECT 'cost_centre', id, code, name, entity_id, coalesce(valid_to >= CURRENT_DATE, true), '' FROM portal_costcentre
    UNION ALL
    SELECT 'entity', id, code, name, id, true, '' FROM portal_legalentity
    UNION ALL
    SELECT DISTINCT 'item', r.id, r.code, r.name, g.entity_id, true, ''
      FROM portal_role r JOIN portal_engagement g ON g.role_id = r.id
  ), systems AS (
    SELECT min(id) AS connection_id, connector::text AS system, realm::text AS realm, bool_or(is_target) AS is_target
      FROM portal_connection WHERE is_active GROUP BY connector, realm
  ), serves AS (
    SELECT DISTINCT c.connector::text AS system, c.realm::text AS realm, e.id AS entity_id
      FROM portal_connection c JOIN portal_legalentity e ON e.id = c.entity_id OR (c.entity_id IS NULL AND (
           EXISTS (SELECT 1 FROM reconciliation_route r WHERE r.entity_id = e.id AND c.id IN (r.source_id, r.target_id))
           OR NOT EXISTS (SELECT 1 FROM reconciliation_route r WHERE c.id IN (r.source_id, r.target_id))))
     WHERE c.is_active
  ), kinds AS (
    SELECT system::text, realm::text, kind::text FROM portal_crosswalk
    UNION SELECT system, realm, kind FROM portal_foreignrecord
    UNION SELECT system, realm, k.kind FROM systems CROSS JOIN (VALUES ('project'), ('resource')) k(kind) WHERE is_target
  ), used AS (
    SELECT u.kind, u.id, u.entity_id, sum(u.entries)::bigint AS entries, sum(u.hours) AS hours,
           coalesce(jsonb_object_agg(u.currency, u.amount) FILTER (WHERE u.amount <> 0), '{}') AS money
      FROM (SELECT k.kind, k.id, e.entity_id, e.currency, count(*) AS entries, coalesce(sum(e.hours), 0) AS hours,
                   coalesce(sum(e.amount), 0) AS amount
              FROM portal_ledgerstate s JOIN portal_ledgerentry e ON e.id = s.entry_id
              LEFT JOIN portal_project p ON p.id = e.project_id
             CROSS JOIN LATERAL (VALUES ('customer', coalesce(e.customer_id, p.customer_id)), ('project', e.project_id),
                   ('task', e.task_id), ('resource', e.resource_id), ('cost_centre', e.cost_centre_id), ('item', e.role_id),
                   ('entity', e.entity_id)) k(kind, id)
             WHERE s.state IN ('held', 'ready', 'rejected') AND e.reverses_id IS NULL AND k.id IS NOT NULL AND k.kind IN (SELECT kind FROM kinds)
             GROUP BY 1, 2, 3, 4) u
     GROUP BY 1, 2, 3
  ), untied AS (
    SELECT f.* FROM portal_foreignrecord f WHERE f.is_active AND NOT EXISTS (SELECT 1 FROM portal_crosswalk w
     WHERE w.system = f.system AND w.realm = f.realm AND w.kind = f.kind AND w.external_id = f.external_id
       AND (w.valid_to IS NULL OR w.valid_to >= CURRENT_DATE))
  ), their_words AS (
    SELECT system::text, realm::text, kind::text, lower(code) AS word FROM untied WHERE code <> '' GROUP BY 1, 2, 3, 4 HAVING count(*) > 1
    UNION SELECT system, realm, kind, lower(name) FROM untied WHERE name <> '' GROUP BY 1, 2, 3, 4 HAVING count(*) > 1
  ), our_words AS (
    SELECT kind, lower(code) AS word FROM records WHERE is_live GROUP BY 1, 2 HAVING count(DISTINCT id) > 1
    UNION SELECT kind, lower(name) FROM records WHERE is_live GROUP BY 1, 2 HAVING count(DISTINCT id) > 1
  ), stand_for AS (
    SELECT a.kind::text, lower(a.code) AS word, a.internal_id, c.connector AS system, c.realm
      FROM portal_alias a LEFT JOIN portal_connection c ON c.id = a.connection_id
     WHERE a.valid_to IS NULL OR a.valid_to >= CURRENT_DATE
  ), together(origin, connection_id, system, realm, kind, external_id,
    their_code, their_name, foreign_id, crosswalk_id, internal_id, code, name, entity_id, valid_from, valid_to, allows_many, state,
    is_ambiguous, is_expiring, is_conflicting, is_inactive) AS (

    SELECT 'key', s.connection_id, w.system, w.realm, w.kind, w.external_id, f.code, f.name, f.id, w.id, w.internal_id, r.code,
           r.name, r.entity_id, w.valid_from, w.valid_to, w.allows_many,
           CASE WHEN w.valid_to < CURRENT_DATE THEN 'ended' WHEN w.valid_from > CURRENT_DATE THEN 'scheduled' ELSE 'mapped' END,
           w.allows_many AND s.is_target AND coalesce(w.valid_to >= CURRENT_DATE, true) AND NOT EXISTS (
             SELECT 1 FROM portal_crosswalk o WHERE o.system = w.system AND o.realm = w.realm AND o.kind = w.kind
             AND o.internal_id = w.internal_id AND NOT o.allows_many AND coalesce(o.valid_to >= CURRENT_DATE, true)),
           w.valid_to BETWEEN CURRENT_DATE AND CURRENT_DATE + 30 AND NOT EXISTS (
             SELECT 1 FROM portal_crosswalk o WHERE o.system = w.system AND o.realm = w.realm AND o.kind = w.kind
             AND o.internal_id = w.internal_id AND o.valid_from > w.valid_to),
           coalesce(w.valid_to >= CURRENT_DATE, true) AND (
             EXISTS (SELECT 1 FROM portal_rejectedvalue v JOIN portal_connection c ON c.id = v.connection_id
                      WHERE v.state = 'open' AND v.kind = w.kind AND v.internal_id = w.internal_id AND c.connector = w.system
                      AND c.realm = w.realm)
             OR (w.kind::text, lower(w.external_id)) IN (SELECT kind, word FROM stand_for) AND EXISTS (SELECT 1 FROM stand_for a WHERE a.kind = w.kind AND a.word = lower(w.external_id)
                         AND a.internal_id <> w.internal_id AND (a.system IS NULL OR (a.system = w.system AND a.realm = w.realm)))
             OR (w.kind::text, lower(f.code)) IN (SELECT kind, word FROM stand_for) AND EXISTS (SELECT 1 FROM stand_for a WHERE a.kind = w.kind AND a.word = lower(f.code)
                         AND a.internal_id <> w.internal_id AND (a.system IS NULL OR (a.system = w.system AND a.realm = w.realm)))
             OR (w.kind = 'customer' AND r.tax_number <> '' AND f.attributes->>'tax_number' <> ''
                 AND regexp_replace(upper(r.tax_number), '[^0-9A-Z]', '', 'g')
                     <> regexp_replace(upper(f.attributes->>'tax_number'), '[^0-9A-Z]', '', 'g'))),
           coalesce(w.valid_to >= CURRENT_DATE, true) AND w.valid_from <= CURRENT_DATE
             AND (coalesce(NOT r.is_live, true) OR coalesce(NOT f.is_active, false))
      FROM portal_crosswalk w JOIN systems s ON s.system = w.system AND s.realm = w.realm
      LEFT JOIN records r ON r.kind = w.kind AND r.id = w.internal_id
      LEFT JOIN portal_foreignrecord f ON f.system = w.system AND f.realm = w.realm AND f.kind = w.kind
           AND f.external_id = w.external_id
    UNION ALL
    SELECT 'record', s.connection_id, s.system, s.realm, k.kind, NULL, NULL, NULL, NULL, NULL, r.id, r.code, r.name, r.entity_id,
           NULL, NULL, false, 'unmapped', (s.system, s.realm, k.kind, lower(r.code)) IN (SELECT system, realm, kind, word FROM their_words)
             OR (s.system, s.realm, k.kind, lower(r.name)) IN (SELECT system, realm, kind, word FROM their_words), false, false, false
      FROM serves v JOIN systems s ON s.system = v.system AND s.realm = v.realm
      JOIN kinds k ON k.system = v.system AND k.realm = v.realm
      JOIN records r ON r.kind = k.kind AND r.entity_id = v.entity_id AND r.is_live
     WHERE NOT EXISTS (SELECT 1 FROM portal_crosswalk w WHERE w.system = s.system AND w.realm = s.realm AND w.kind = k.kind
           AND w.internal_id = r.id AND (w.valid_to IS NULL OR w.valid_to >= CURRENT_DATE))
    UNION ALL
    SELECT 'foreign', s.connection_id, f.system, f.realm, f.kind, f.external_id, f.code, f.name, f.id, NULL, NULL, NULL, NULL,
           f.entity_id, NULL, NULL, false, 'theirs',
           (f.kind::text, lower(f.code)) IN (SELECT kind, word FROM our_words)
             OR (f.kind::text, lower(f.name)) IN (SELECT kind, word FROM our_words), false, false, false
      FROM untied f JOIN systems s ON s.system = f.system AND s.realm = f.realm
  )
  SELECT (hashtextextended(concat_ws('|', t.origin, t.system, t.realm, t.kind, t.crosswalk_id, t.internal_id, t.foreign_id,
            t.entity_id), 0) & 9223372036854775807) % 1000000000000000000,
         t.*, coalesce(u.entries, 0), coalesce(u.hours, 0), coalesce(u.money, '{}')
    FROM together t LEFT JOIN used u ON u.kind = t.kind AND u.id = t.internal_id AND u.entity_id = t.entity_id
$$;
"""


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0024_a_proposal_becomes_a_change_set")]

    operations = [migrations.RunSQL(CREATE, migrations.RunSQL.noop)]
