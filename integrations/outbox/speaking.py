"""How the outbox speaks: hours and money to a target, published records to a recipient, invoice drafts to who bills.

One queue and one state machine for all of them. The rule here: what is sent decides how it is said, not where. A record's
receipt number is its kind, the system's own number and the beginning of our key, because one record is told many versions and
each has a proof of its own; a draft's is `invoice:` and the system's own key of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

from integrations import drafts, postings, publications
from integrations.errors import ConnectorError, InDoubt, Unauthorised, Unavailable
from integrations.protocol import (
    BatchRecipient,
    Beside,
    Biller,
    Found,
    KeylessTarget,
    Receiver,
    Recipient,
    Said,
    Shown,
    Target,
    held_of,
)
from integrations.sql import outbound as sql
from portal.models.documents import INVOICE, MASTER, OURS
from portal.records import BillDraft, Held, HeldDraft, Posting, Publication, Receipt, StatementLine

_DRAFT = f"{INVOICE}:"


def build(entry_ids: Sequence[int], *, asking: bool = False) -> dict[int, Said]:
    """What entries say to their targets, by entry id; one query, and more only where master data or drafts are among them."""
    booked = sql.booked_by(entry_ids)
    said: dict[int, Said] = dict(postings.build(row for row in booked if row.kind not in OURS))
    if masters := [row.entry_id for row in booked if row.kind == MASTER]:
        said |= publications.build(sql.owed_by(masters), asking=asking)
    if invoices := [row.entry_id for row in booked if row.kind == INVOICE]:
        said |= drafts.build(sql.drafted_by(invoices), sql.draft_lines(invoices))
    return said


def body(receiver: Receiver, said: Said) -> Any:
    """What would be sent; pure."""
    if isinstance(said, Publication):
        return cast("Recipient", receiver).publication_body(said)
    if isinstance(said, BillDraft):
        return cast("Biller", receiver).draft_body(said)
    return cast("Target", receiver).body(said)


def push(
    receiver: Receiver, said: Sequence[Said], beside: Mapping[str, Beside] | None = None
) -> Sequence[Receipt | ConnectorError]:
    """Send what one call carries, all of it of one kind: one outcome for each. `beside` is for a target that keeps no key.

    Postings go together, and so do publications where the system takes several at once; everything else goes one after the
    other, and after a refusal that holds for all of them the rest is not sent.
    """
    if all(isinstance(item, Posting) for item in said):
        if beside and isinstance(receiver, KeylessTarget):
            return receiver.push_beside(cast("Sequence[Posting]", said), beside)
        return cast("Target", receiver).push(cast("Sequence[Posting]", said))
    if isinstance(receiver, BatchRecipient) and all(isinstance(item, Publication) for item in said):
        return _together(receiver, cast("Sequence[Publication]", said))
    outcomes: list[Receipt | ConnectorError] = []
    closed: ConnectorError | None = None
    for item in said:
        if closed is not None:
            outcomes.append(closed)
            continue
        try:
            outcomes.append(_tell(receiver, item))
        except ConnectorError as error:
            outcomes.append(error)
            closed = error if isinstance(error, Unauthorised | Unavailable) else None
    return outcomes


def _together(recipient: BatchRecipient, told: Sequence[Publication]) -> list[Receipt | ConnectorError]:
    said = recipient.publish_together(told)
    if len(said) != len(told):
        return [InDoubt(f"The system gave {len(said)} outcomes for {len(told)} records.")] * len(told)
    return [
        outcome if isinstance(outcome, ConnectorError) else _receipt(cast("Recipient", recipient), one, outcome)
        for one, outcome in zip(told, said, strict=True)
    ]


def _tell(receiver: Receiver, item: Said) -> Receipt | InDoubt:
    """Send one record or one draft. What comes back without a number is in doubt."""
    if isinstance(item, BillDraft):
        number = cast("Biller", receiver).make_draft(item)
        if not number:
            return InDoubt("The system answered without a number for the invoice.")
        return Receipt(key=item.key, number=f"{_DRAFT}{number}", raw={"number": number})
    told, recipient = cast("Publication", item), cast("Recipient", receiver)
    return _receipt(recipient, told, recipient.publish(told))


def _receipt(recipient: Recipient, told: Publication, number: str) -> Receipt | InDoubt:
    if not number:
        return InDoubt("The system answered without a number for the record.")
    return Receipt(key=told.key, number=_receipt_number(recipient, told, number), raw={"number": number})


def _receipt_number(recipient: Recipient, publication: Publication, number: str) -> str:
    """`project:4001#6f1d9a0e`; with an exclamation mark's meaning in a dot where the number is no key of its own."""
    takes = recipient.publishes.get(publication.kind)
    how = publication.kind if takes is not None and takes.keyed else f"{publication.kind}."
    return f"{how}:{number}#{publication.key[:8]}"


def draft_number_in(receipt_number: str) -> str:
    """The system's own key of a draft in its receipt's number."""
    return receipt_number.removeprefix(_DRAFT)


def number_in(receipt_number: str) -> tuple[str, bool]:
    """The system's own number in a receipt's, and whether it is the key by which the system names the record."""
    kind, _, rest = receipt_number.partition(":")
    return rest.rpartition("#")[0], not kind.endswith(".")


def find(
    receiver: Receiver,
    said: Sequence[Said],
    *,
    in_doubt: bool,
    numbers: Mapping[str, str] | None = None,
    taken: Collection[str] = (),
) -> Mapping[str, Shown]:
    """What the receiver holds under our keys.

    For one that keeps no key, `numbers` are those of its receipts, by key, and `taken` those that prove other entries.

    In doubt a record counts as found only when it holds what this version says: an older state of it proves nothing. A draft
    has one version, and is found whatever it says; its figures are compared when it is read back.
    """
    told = [item for item in said if isinstance(item, Publication)]
    handed = [item for item in said if isinstance(item, BillDraft)]
    booked = [item for item in said if isinstance(item, Posting)]
    found: dict[str, Shown] = {}
    if booked:
        found.update(held_of(cast("Target", receiver), booked, numbers or {}, taken))
    if handed:
        for key, draft in cast("Biller", receiver).drafted(handed).items():
            found[key] = replace(draft, number=f"{_DRAFT}{draft.number}")
    if told:
        recipient = cast("Recipient", receiver)
        held = recipient.held(told)
        for publication in told:
            record = held.get(publication.key)
            if record is None or (in_doubt and publications.differences(publication, record)):
                continue
            found[publication.key] = replace(record, number=_receipt_number(recipient, publication, record.number))
    return found


def differences(sent: Said, found: Found, hours_tolerance: Decimal) -> dict[str, list[str]]:
    """Where what is held is not what was sent: {field: [sent, held]}."""
    if isinstance(sent, Publication):
        return publications.differences(sent, cast("Held", found))
    if isinstance(sent, BillDraft):
        return drafts.differences(sent, cast("HeldDraft", found))
    return postings.differences(sent, cast("StatementLine", found), hours_tolerance)


def shown(found: Found) -> dict[str, str]:
    """What is held, as it is kept with a read-back."""
    if isinstance(found, HeldDraft):
        return drafts.shown(found)
    return publications.shown(found) if isinstance(found, Held) else postings.shown(found)
