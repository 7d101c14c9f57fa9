"""What must hold of the ledger at any moment, asked of the rows themselves. A breach is a sentence that names the row.

The rule here: a check reads and repairs nothing. The numbers are those of docs/reliability; what a database constraint holds
by itself is asked for all the same where a restored or hand-edited database could break it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import models
from django.db.models import Q
from django.utils import timezone

from portal import audit, sql
from portal.ledger import TRANSITIONS
from portal.models import User
from portal.models.access import Scope, ScopedQuerySet

_MOST = 20  # sentences per invariant; the last one counts the rest


@dataclass(frozen=True, slots=True)
class Invariant:
    """One promise: its number, what it says, and the question that returns a sentence for each breach."""

    code: str
    promise: str
    check: Callable[[], Sequence[str]]


def breaches(statement: str, sentence: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[str]:
    """One sentence per row of a query, filled with the row's columns in their order."""
    found = sql.rows(statement, parameters)
    return _cut([sentence.format(*row) for row in found])


def _cut(said: list[str]) -> list[str]:
    return said if len(said) <= _MOST else [*said[:_MOST], f"… and {len(said) - _MOST} more."]


def _keys_are_unique() -> list[str]:
    return breaches(
        "SELECT idempotency_key, array_agg(id) FROM portal_ledgerentry GROUP BY 1 HAVING count(*) > 1",
        "Key {0} belongs to entries {1}.",
    )


def _a_key_has_one_body() -> list[str]:
    return breaches(
        """
        SELECT l.entry_id, count(DISTINCT l.body_hash) FROM portal_attemptline l
         WHERE l.body_hash <> '' GROUP BY l.entry_id HAVING count(DISTINCT l.body_hash) > 1
        UNION ALL
        SELECT l.entry_id, 2 FROM portal_attemptline l JOIN portal_ledgerstate s ON s.entry_id = l.entry_id
         WHERE l.body_hash <> '' AND l.body_hash <> s.body_hash""",
        "Entry {0} was sent with {1} different bodies under one key.",
    )


def _posted_is_proved() -> list[str]:
    return breaches(
        """
        SELECT s.entry_id, s.state, s.receipt_number FROM portal_ledgerstate s
          LEFT JOIN portal_receipt r ON r.entry_id = s.entry_id
         WHERE s.state IN ('accepted', 'posted', 'reconciled', 'reversed')
           AND (r.id IS NULL OR r.number <> s.receipt_number)""",
        "Entry {0} is {1} as {2!r}, and its receipt does not say so.",
    ) + breaches(
        """
        SELECT s.entry_id, s.state FROM portal_ledgerstate s
         WHERE s.state IN ('posted', 'reconciled')
           AND NOT EXISTS (SELECT 1 FROM portal_readback b WHERE b.entry_id = s.entry_id AND b.is_equal)""",
        "Entry {0} is {1} and was never read back equal.",
    )


def _leases_end() -> list[str]:
    return breaches(
        "SELECT entry_id, lease_until FROM portal_ledgerstate WHERE state = 'sending'"
        " AND lease_until < now() - interval '60 seconds'",
        "Entry {0} is being sent under a lease that ended at {1}, and nobody put it in doubt.",
    )


def _posted_stays() -> list[str]:
    return (
        breaches(
            "SELECT entry_id, from_state, to_state FROM portal_ledgertransition"
            " WHERE from_state IN ('posted', 'reconciled') AND to_state NOT IN ('reconciled', 'reversed', 'cancelled')",
            "Entry {0} went from {1} to {2}.",
        )
        + breaches(
            """
        SELECT s.entry_id FROM portal_ledgerstate s
         WHERE s.state = 'reversed' AND NOT EXISTS (
               SELECT 1 FROM portal_ledgerentry e JOIN portal_receipt r ON r.entry_id = e.id WHERE e.reverses_id = s.entry_id)
           AND NOT EXISTS (
               SELECT 1 FROM portal_ledgerentry o JOIN portal_ledgerentry e ON e.document_id = o.document_id AND e.id > o.id
                 JOIN portal_receipt r ON r.entry_id = e.id WHERE o.id = s.entry_id AND o.kind = 'master')""",
            "Entry {0} is reversed, and neither a receipted reversal nor a later version of master data took its place.",
        )
        + breaches(
            """
        SELECT t.entry_id, t.from_state FROM portal_ledgertransition t
         WHERE t.from_state IN ('accepted', 'posted', 'reconciled') AND t.to_state = 'cancelled'
           AND NOT coalesce((SELECT NOT b.is_equal AND b.found = '{}' FROM portal_readback b
                              WHERE b.entry_id = t.entry_id ORDER BY b.id DESC LIMIT 1), false)""",
            "Entry {0} was {1} and is cancelled, while its last read-back does not say that the target holds nothing.",
        )
    )


def _moves_are_legal() -> list[str]:
    legal = [f"{source}>{target}" for source, targets in TRANSITIONS.items() for target in targets]
    return breaches(
        """
        WITH moves AS (
            SELECT entry_id, fence, from_state, to_state, lag(to_state) OVER w AS before, lag(fence) OVER w AS fence_before
              FROM portal_ledgertransition WINDOW w AS (PARTITION BY entry_id ORDER BY fence))
        SELECT entry_id, fence, from_state, to_state FROM moves
         WHERE (fence = 1) <> (before IS NULL)
            OR (before IS NULL AND (from_state <> '' OR to_state NOT IN ('held', 'ready')))
            OR (before IS NOT NULL AND (from_state <> before OR fence <> fence_before + 1
                                        OR NOT from_state || '>' || to_state = ANY(%s)))""",
        "Move {1} of entry {0}, from {2!r} to {3!r}, is not a legal next move.",
        [legal],
    ) + breaches(
        """
        SELECT s.entry_id, s.state, s.fence FROM portal_ledgerstate s
         WHERE NOT EXISTS (SELECT 1 FROM portal_ledgertransition t
                            WHERE t.entry_id = s.entry_id AND t.fence = s.fence AND t.to_state = s.state)""",
        "Entry {0} is {1} at fence {2}, and its last move does not say so.",
    )


def _versions_follow() -> list[str]:
    return breaches(
        """
        SELECT d.id, d.kind, d.current_version FROM portal_document d
          LEFT JOIN LATERAL (
            SELECT count(*) AS versions, max(version) AS last FROM (
              SELECT version FROM portal_timeentry WHERE document_id = d.id AND d.kind = 'time'
              UNION ALL SELECT version FROM portal_expense WHERE document_id = d.id AND d.kind = 'expense'
              UNION ALL SELECT version FROM portal_publishedversion WHERE document_id = d.id AND d.kind = 'master'
              UNION ALL SELECT 1 FROM portal_invoicedraft WHERE document_id = d.id AND d.kind = 'invoice') v) v ON true
         WHERE v.versions <> d.current_version OR v.last <> d.current_version""",
        "Document {0} ({1}) is at version {2}, and its versions do not count up to it.",
    )


def _accepted_once() -> list[str]:
    return breaches(
        "SELECT entry_id, count(*) FROM portal_ledgertransition WHERE to_state = 'accepted' GROUP BY 1 HAVING count(*) > 1",
        "Entry {0} was accepted {1} times.",
    )


def _rates_hold_on_their_day() -> list[str]:
    """A rate that changes in the past leaves what was booked before as it was, until that is booked anew."""
    return breaches(
        """
        SELECT e.id, e.work_date, e.rate_version FROM portal_ledgerentry e
          JOIN portal_ledgerstate s ON s.entry_id = e.id JOIN portal_rate r ON r.id = e.rate_used_id
         WHERE s.receipt_number <> '' AND e.reverses_id IS NULL
           AND NOT (r.valid_from <= e.work_date AND (r.valid_to IS NULL OR r.valid_to >= e.work_date))
           AND NOT EXISTS (
               SELECT 1 FROM portal_historicalrate h JOIN portal_receipt p ON p.entry_id = e.id
                WHERE h.id = r.id AND h.history_date <= p.received_at AND h.valid_from <= e.work_date
                  AND (h.valid_to IS NULL OR h.valid_to >= e.work_date))""",
        "Entry {0} of {1} used {2}, a rate that does not hold on that day and did not when it was booked.",
    )


def _nobody_approves_themselves() -> list[str]:
    """What was booked was approved, by somebody else than the worker. Nothing here is approved by two people yet but time."""
    return breaches(
        """
        SELECT e.id, v.status, v.approver_key FROM portal_ledgerentry e
          JOIN portal_ledgerstate s ON s.entry_id = e.id AND s.receipt_number <> ''
          JOIN (SELECT document_id, version, status, approver_key, approver_code, resource_key, resource_code
                  FROM portal_timeentry UNION ALL
                SELECT document_id, version, status, approver_key, approver_code, resource_key, resource_code
                  FROM portal_expense) v
            ON v.document_id = e.document_id AND v.version = e.version
         WHERE e.reverses_id IS NULL
           AND (v.status <> 'approved' OR (v.approver_key <> '' AND v.approver_key = v.resource_key)
                OR (v.approver_code <> '' AND v.approver_code = v.resource_code))""",
        "Entry {0} is booked, and its version is {1} with approver {2!r}: nobody else approved it.",
    )


def _nothing_is_billed_twice() -> list[str]:
    """Balances are the sums of their allocations and below nothing; a bill's current version is its latest."""
    return (
        breaches(
            """
        WITH summed AS (
            SELECT entry_id, milestone_id, sum(greatest(quantity, 0)) AS invoiced, sum(greatest(-quantity, 0)) AS credited
              FROM portal_allocation GROUP BY 1, 2)
        SELECT coalesce(b.entry_id, s.entry_id), coalesce(b.milestone_id, s.milestone_id), b.delivered, b.invoiced, b.credited,
               s.invoiced, s.credited
          FROM portal_billingbalance b
          FULL JOIN summed s ON coalesce(s.entry_id, -s.milestone_id) = coalesce(b.entry_id, -b.milestone_id)
         WHERE b.id IS NULL OR s.invoiced IS NULL OR b.invoiced <> s.invoiced OR b.credited <> s.credited
            OR b.delivered - b.invoiced + b.credited < 0 OR b.credited > b.invoiced""",
            "Entry {0} (or milestone {1}): delivered {2}, invoiced {3}, credited {4}; its allocations say {5} and {6}.",
        )
        + breaches(
            """
        SELECT b.entry_id, b.milestone_id, b.amount, sum(a.amount) FROM portal_billingbalance b
          JOIN portal_allocation a ON a.entry_id = b.entry_id OR a.milestone_id = b.milestone_id
          LEFT JOIN portal_ledgerentry e ON e.id = b.entry_id LEFT JOIN portal_milestone m ON m.id = b.milestone_id
         GROUP BY b.id HAVING bool_and(a.currency = coalesce(e.currency, m.currency)) AND b.amount <> sum(a.amount)""",
            "Entry {0} (or milestone {1}): {2} stand billed, and its allocations say {3}.",
        )
        + breaches(
            """
        SELECT i.id, c.version, max(v.version) FROM portal_invoice i JOIN portal_invoiceversion c ON c.id = i.current_id
          JOIN portal_invoiceversion v ON v.invoice_id = i.id GROUP BY i.id, c.version HAVING c.version <> max(v.version)""",
            "Bill {0} goes by version {1}, and version {2} is its latest.",
        )
    )


def _handed_over_as_approved() -> list[str]:
    """Lines are the sums of their parts, drafts add up to what was approved, and nothing is held by two proposals."""
    return (
        breaches(
            """
        SELECT l.proposal_id, l.position, l.net, sum(p.amount) FROM portal_proposalline l
          JOIN portal_proposalpart p ON p.line_id = l.id GROUP BY l.id HAVING l.net <> sum(p.amount)""",
            "Line {1} of proposal {0} comes to {2}, and what is on it to {3}.",
        )
        + breaches(
            """
        SELECT i.id, i.net, coalesce(d.net, 0) FROM portal_invoiceproposal i
          LEFT JOIN (SELECT proposal_id, sum(net) AS net FROM portal_proposalline WHERE draft_id IS NOT NULL GROUP BY 1) d
            ON d.proposal_id = i.id
         WHERE i.state IN ('handed_over', 'billed', 'voided', 'deleted') AND i.net <> coalesce(d.net, 0)""",
            "Proposal {0} was approved over {1}, and what was handed over of it comes to {2}.",
        )
        + breaches(
            """
        SELECT d.document_id, d.net, coalesce(sum(l.net), 0) FROM portal_invoicedraft d
          LEFT JOIN portal_proposalline l ON l.draft_id = d.document_id GROUP BY 1, 2 HAVING d.net <> coalesce(sum(l.net), 0)""",
            "Draft {0} comes to {1}, and its lines to {2}.",
        )
        + breaches(
            """
        SELECT p.entry_id, p.milestone_id, sum(p.quantity) FROM portal_proposalpart p
          LEFT JOIN portal_ledgerentry e ON e.id = p.entry_id LEFT JOIN portal_milestone m ON m.id = p.milestone_id
         WHERE p.released_at IS NULL GROUP BY 1, 2
        HAVING sum(p.quantity) > max(CASE WHEN m.id IS NOT NULL THEN m.amount WHEN e.kind = 'time' THEN e.hours
                                          ELSE e.amount END)""",
            "Proposals hold {2} of entry {0} (or milestone {1}), which is more than there is.",
        )
    )


def _rows_are_seen_by_whom_they_concern() -> list[str]:
    """Of everybody whose grants are not for all entities, one per set of entities: what they see lies in those entities."""
    day = timezone.localdate()
    holds = Q(grants__valid_from__lte=day) & (Q(grants__valid_to=None) | Q(grants__valid_to__gte=day))
    by_entities: dict[frozenset[int | None], User] = {}
    for user in User.objects.filter(is_active=True).order_by("pk"):
        of_today = User.objects.filter(holds, pk=user.pk).values_list("grants__entity", flat=True)
        by_entities.setdefault(frozenset(of_today), user)
    said: list[str] = []
    for entities, user in by_entities.items():
        if None not in entities:
            for model in _scoped_models():
                said += _seen_too_much(model, user, entities)
    return _cut(said)


def _scoped_models() -> list[type[models.Model]]:
    """What is seen by the entity it is of. A model without one says itself who sees it: an uploaded file, its uploader."""
    scoped = [model for model in apps.get_models() if isinstance(model._default_manager.all(), ScopedQuerySet)]
    return [model for model in scoped if hasattr(model, "scope") or hasattr(model, "entity")]


def _seen_too_much(model: type[models.Model], user: User, entities: frozenset[int | None]) -> list[str]:
    scope: Scope = getattr(model, "scope", Scope())
    seen = model._default_manager.all().visible_to(user)  # type: ignore[attr-defined]
    inside = model._base_manager.filter(**{f"{scope.path}__in": list(entities)})
    if scope.shared:
        inside |= model._base_manager.filter(**{f"{scope.path}__isnull": True})
    row = seen.exclude(pk__in=inside.values("pk")).order_by("pk").first()
    return [] if row is None else [f"{user} sees {model._meta.verbose_name} {row.pk}, which is of another entity."]


INVARIANTS: tuple[Invariant, ...] = (
    Invariant("I2", "One key per document, version, target and part", _keys_are_unique),
    Invariant("I3", "The same key never goes with another body", _a_key_has_one_body),
    Invariant("I5", "Posted means receipted and read back equal", _posted_is_proved),
    Invariant("I6", "No entry stays under a lease that is over", _leases_end),
    Invariant(
        "I7",
        "Posted goes nowhere but reconciled, reversed by a receipt, or cancelled where the target holds nothing",
        _posted_stays,
    ),
    Invariant("I9", "Moves are legal and in order", _moves_are_legal),
    Invariant("I9", "Versions count up without a gap", _versions_follow),
    Invariant("I10", "An entry is accepted once", _accepted_once),
    Invariant("I16", "What is booked was approved, by somebody else than the worker", _nobody_approves_themselves),
    Invariant(
        "I17",
        "A posted entry names a rate that holds on its work date, or did when it was booked",
        _rates_hold_on_their_day,
    ),
    Invariant("I22", "The audit trail is unbroken", audit.verify),
    Invariant(
        "I26", "No hour is billed twice: open is delivered, less invoiced, plus credited", _nothing_is_billed_twice
    ),
    Invariant(
        "I27", "What is handed over is what was approved, and nothing sits in two proposals", _handed_over_as_approved
    ),
    Invariant("I24", "Nobody sees a row of an entity without a grant", _rows_are_seen_by_whom_they_concern),
)
