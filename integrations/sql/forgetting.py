"""Taking a person's names out of what was kept: evidence, messages, histories, causes. Figures, keys and digests stay.

The rule here: a fixed number of statements whatever the person left behind, and nothing but names is touched.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from portal.sql import execute, rows


@dataclass(frozen=True, slots=True)
class Names:
    """What a person was called, what they are called from now on, and the entities that knew them."""

    resource_id: int
    code: str
    name: str
    email: str
    pseudonym: str
    entity_ids: Sequence[int]

    @property
    def said(self) -> list[str]:
        """The words that name the person beyond doubt."""
        return [word for word in (self.name, self.email, f"({self.code})") if word.strip("()")]

    @property
    def put(self) -> list[str]:
        """What stands in the place of each of those words."""
        return [f"({self.pseudonym})" if word.startswith("(") else self.pseudonym for word in self.said]


_HERE = "t.entity_id = ANY(%(entities)s::bigint[])"
_THEIRS = "t.kind = 'resource' AND t.internal_id = %(resource)s"
_TEXTS = (
    ("reconciliation_exceptioncase", "sentence", _HERE),
    ("reconciliation_historicalexceptioncase", "sentence", _HERE),
    (
        "reconciliation_hold", "sentence",
        "t.case_id IN (SELECT id FROM reconciliation_exceptioncase WHERE entity_id = ANY(%(entities)s::bigint[]))",
    ),
    ("reconciliation_rehearsedline", "sentence", "true"),
    ("reconciliation_rehearsedline", "person", "true"),
    ("reconciliation_booking", "person", "true"),
    ("reconciliation_proposal", "record", _THEIRS),
    ("reconciliation_proposal", "code", _THEIRS),
    ("portal_notification", "subject", _HERE),
    ("portal_notification", "note", _HERE),
    ("portal_submittedtime", "resource_name", _HERE),
    ("portal_submittedtime", "approver_name", _HERE),
    ("portal_rejectedvalue", "record", _THEIRS),
    ("portal_rejectedvalue", "said", _THEIRS),
    ("portal_rejectedvalue", "stands", _THEIRS),
)  # where people are named in sentences: table, column, which of its rows may mean this person  # fmt: skip


def owed_still(resource_id: int) -> int:
    """How many entries of a person are not at their end: what is to be booked is booked under the name."""
    found = rows(
        "SELECT count(*) FROM portal_ledgerentry e JOIN portal_ledgerstate s ON s.entry_id = e.id"
        " WHERE e.resource_id = %s AND s.state IN ('held', 'ready', 'sending', 'accepted', 'in_doubt', 'rejected')",
        [resource_id],
    )
    return int(found[0][0])


def documents_of(names: Names) -> list[int]:
    """Every document that some version of says to be the person's work."""
    found = rows(
        """
        WITH theirs AS (
            SELECT c.id AS connection_id, w.external_id FROM portal_crosswalk w
              JOIN portal_connection c ON c.connector = w.system AND c.realm = w.realm
             WHERE w.kind = 'resource' AND w.internal_id = %(resource)s),
        versions AS (
            SELECT document_id, resource_key, resource_code FROM portal_timeentry
            UNION ALL SELECT document_id, resource_key, resource_code FROM portal_expense)
        SELECT document_id FROM portal_ledgerentry WHERE resource_id = %(resource)s
        UNION SELECT v.document_id FROM versions v JOIN portal_document d ON d.id = v.document_id
         WHERE v.resource_code = %(code)s OR (d.connection_id, v.resource_key) IN (SELECT connection_id, external_id FROM theirs)
         ORDER BY 1""",
        {"resource": names.resource_id, "code": names.code},
    )
    return [row[0] for row in found]


def allow() -> None:
    """Let names of evidence be taken out until the transaction ends; the trigger refuses everything else as ever."""
    rows("SELECT set_config('tieout.forgetting', 'on', true)")


def empty_messages(names: Names, document_ids: Collection[int]) -> int:
    """Leave of each vendor message that names the person its digest alone; how many."""
    return execute(
        """
        UPDATE integrations_inboxmessage m
           SET payload = jsonb_build_object('forgotten', true, 'sha256',
                                            encode(sha256(convert_to(m.payload::text, 'UTF8')), 'hex')),
               headers = '{}'
         WHERE NOT m.payload ? 'forgotten' AND (m.id IN (
                   SELECT message_id FROM portal_timeentry WHERE document_id = ANY(%(documents)s::bigint[])
                   UNION SELECT message_id FROM portal_expense WHERE document_id = ANY(%(documents)s::bigint[]))
            OR (m.connection_id IN (SELECT id FROM portal_connection
                                     WHERE entity_id IS NULL OR entity_id = ANY(%(entities)s::bigint[]))
                AND EXISTS (SELECT 1 FROM unnest(%(said)s::text[]) s(word) WHERE left(s.word, 1) <> '('
                            AND position(lower(s.word) IN lower(m.payload::text)) > 0)))""",
        {"documents": list(document_ids), "entities": list(names.entity_ids), "said": names.said},
    )


def rename_versions(names: Names, document_ids: Collection[int]) -> int:
    """Name the person by the pseudonym on every version, as who worked and as who approved; how many versions."""
    changed = 0
    for table in ("portal_timeentry", "portal_expense"):
        changed += execute(
            f"""
            UPDATE {table} v SET resource_code = CASE WHEN v.resource_code = '' THEN '' ELSE %(pseudonym)s END,
                   resource_name = CASE WHEN v.resource_name = '' THEN '' ELSE %(pseudonym)s END
             WHERE v.document_id = ANY(%(documents)s::bigint[])""",  # noqa: S608
            {"documents": list(document_ids), "pseudonym": names.pseudonym},
        )
        execute(
            f"""
            UPDATE {table} v SET approver_code = CASE WHEN v.approver_code = '' THEN '' ELSE %(pseudonym)s END,
                   approver_name = CASE WHEN v.approver_name = '' THEN '' ELSE %(pseudonym)s END
             WHERE v.approver_code = %(code)s OR (v.approver_name = %(name)s AND v.document_id IN (
                   SELECT id FROM portal_document WHERE entity_id = ANY(%(entities)s::bigint[])))""",  # noqa: S608
            {"code": names.code, "name": names.name, "pseudonym": names.pseudonym, "entities": list(names.entity_ids)},
        )
    return changed


def rename_history(names: Names) -> int:
    """Take the names out of the earlier versions of the person's record and of the codes that stood for them; how many."""
    told = {"resource": names.resource_id, "pseudonym": names.pseudonym}
    changed = execute(
        "UPDATE portal_historicalresource SET code = %(pseudonym)s, name = %(pseudonym)s, email = ''"
        " WHERE id = %(resource)s",
        told,
    )
    return changed + execute(
        "UPDATE portal_historicalalias SET code = %(pseudonym)s || '-' || id"
        " WHERE kind = 'resource' AND internal_id = %(resource)s",
        told,
    )


def rename_foreign(names: Names) -> int:
    """Take the names out of what systems say of the person; their keys stay, for what is booked is found by them."""
    return execute(
        """
        UPDATE portal_foreignrecord f SET code = '', name = %(pseudonym)s, attributes = '{}'
         WHERE f.kind = 'resource' AND EXISTS (
               SELECT 1 FROM portal_crosswalk w WHERE w.kind = 'resource' AND w.internal_id = %(resource)s AND w.system = f.system
                  AND w.realm = f.realm AND w.external_id = f.external_id)""",
        {"resource": names.resource_id, "pseudonym": names.pseudonym},
    )


def rename_sentences(names: Names) -> int:
    """Put the pseudonym where sentences name the person; how many texts."""
    told = {
        "resource": names.resource_id, "entities": list(names.entity_ids), "said": names.said, "put": names.put,
        "pseudonym": names.pseudonym,
    }  # fmt: skip
    changed = _rename_dismissed(told, len(names.said))
    for table, column, where in _TEXTS:
        changed += execute(
            f"""
            UPDATE {table} t SET {column} = {_replaced(f"t.{column}::text", len(names.said))}
             WHERE {where} AND EXISTS (
                   SELECT 1 FROM unnest(%(said)s::text[]) s(word) WHERE position(s.word IN t.{column}) > 0)""",  # noqa: S608
            told,
        )
    return changed


def _rename_dismissed(told: dict[str, Any], count: int) -> int:
    """Name the person by the pseudonym where a match of theirs was dismissed; of what it rested on the digest stays."""
    other = _replaced("coalesce(replace(t.words, nullif(t.evidence->'theirs'->>1, ''), %(pseudonym)s), t.words)", count)
    return execute(
        f"""
        UPDATE reconciliation_dismissedmatch t
           SET words = left(CASE WHEN t.internal_id = %(resource)s
                            THEN %(pseudonym)s || ' and ' || t.system || ' ' || t.external_id ELSE {other} END, 700),
               reason = {_replaced("t.reason", count)}, offered_because = {_replaced("t.offered_because", count)},
               evidence = jsonb_build_object('forgotten', true, 'sha256',
                                             encode(sha256(convert_to(t.evidence::text, 'UTF8')), 'hex'))
         WHERE t.kind = 'resource' AND NOT t.evidence ? 'forgotten' AND (t.internal_id = %(resource)s
            OR (t.system, t.realm, t.external_id) IN (
                   SELECT system, realm, external_id FROM portal_crosswalk
                    WHERE kind = 'resource' AND internal_id = %(resource)s)
            OR EXISTS (SELECT 1 FROM unnest(%(said)s::text[]) s(word)
                        WHERE left(s.word, 1) <> '(' AND position(s.word IN t.words) > 0))""",  # noqa: S608
        told,
    )


def _replaced(text: str, count: int) -> str:
    """An expression that replaces each of the given words in a text."""
    for number in range(1, count + 1):
        text = f"replace({text}, (%(said)s::text[])[{number}], (%(put)s::text[])[{number}])"
    return text
