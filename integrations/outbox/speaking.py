"""How the outbox speaks: hours and money to a target, published records to a recipient, in one queue and by one state machine.

The rule here: what is sent decides how it is said, not where. A record's receipt number is its kind, the system's own number
and the beginning of our key, because one record is told many versions and each has a proof of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

from integrations import postings, publications
from integrations.errors import ConnectorError, InDoubt, Unauthorised, Unavailable
from integrations.protocol import BatchRecipient, Recipient, Target
from integrations.sql import outbound as sql
from portal.models.documents import MASTER
from portal.records import Held, Posting, Publication, Receipt, StatementLine

Said = Posting | Publication


def build(entry_ids: Sequence[int], *, asking: bool = False) -> dict[int, Said]:
    """What entries say to their targets, by entry id; one query, and one more only where master data is among them."""
    booked = sql.booked_by(entry_ids)
    masters = [row.entry_id for row in booked if row.kind == MASTER]
    if not masters:
        return dict(postings.build(booked))
    told = publications.build(sql.owed_by(masters), asking=asking)
    return {**postings.build(row for row in booked if row.kind != MASTER), **told}


def body(receiver: Target | Recipient, said: Said) -> Any:
    """What would be sent; pure."""
    if isinstance(said, Publication):
        return cast("Recipient", receiver).publication_body(said)
    return cast("Target", receiver).body(said)


def push(receiver: Target | Recipient, said: Sequence[Said]) -> Sequence[Receipt | ConnectorError]:
    """Send what one call carries: one outcome for each. A call carries either postings or publications."""
    told = [item for item in said if isinstance(item, Publication)]
    if not told:
        return cast("Target", receiver).push(cast("Sequence[Posting]", said))
    return _publish(cast("Recipient", receiver), told)


def _publish(recipient: Recipient, told: Sequence[Publication]) -> list[Receipt | ConnectorError]:
    """Together where the system takes several at once, else one after the other."""
    if isinstance(recipient, BatchRecipient):
        said = recipient.publish_together(told)
        if len(said) != len(told):
            return [InDoubt(f"The system gave {len(said)} outcomes for {len(told)} records.")] * len(told)
        return [
            outcome if isinstance(outcome, ConnectorError) else _receipt(recipient, one, outcome)
            for one, outcome in zip(told, said, strict=True)
        ]
    return _publish_each(recipient, told)


def _publish_each(recipient: Recipient, told: Sequence[Publication]) -> list[Receipt | ConnectorError]:
    """After a refusal that holds for all of them, the rest is not sent."""
    outcomes: list[Receipt | ConnectorError] = []
    closed: ConnectorError | None = None
    for publication in told:
        if closed is not None:
            outcomes.append(closed)
            continue
        try:
            number = recipient.publish(publication)
        except ConnectorError as error:
            outcomes.append(error)
            closed = error if isinstance(error, Unauthorised | Unavailable) else None
            continue
        outcomes.append(_receipt(recipient, publication, number))
    return outcomes


def _receipt(recipient: Recipient, told: Publication, number: str) -> Receipt | InDoubt:
    if not number:
        return InDoubt("The system answered without a number for the record.")
    return Receipt(key=told.key, number=_receipt_number(recipient, told, number), raw={"number": number})


def _receipt_number(recipient: Recipient, publication: Publication, number: str) -> str:
    """`project:4001#6f1d9a0e`; with an exclamation mark's meaning in a dot where the number is no key of its own."""
    takes = recipient.publishes.get(publication.kind)
    how = publication.kind if takes is not None and takes.keyed else f"{publication.kind}."
    return f"{how}:{number}#{publication.key[:8]}"


def number_in(receipt_number: str) -> tuple[str, bool]:
    """The system's own number in a receipt's, and whether it is the key by which the system names the record."""
    kind, _, rest = receipt_number.partition(":")
    return rest.rpartition("#")[0], not kind.endswith(".")


def find(receiver: Target | Recipient, said: Sequence[Said], *, in_doubt: bool) -> Mapping[str, StatementLine | Held]:
    """What the receiver holds under our keys.

    In doubt a record counts as found only when it holds what this version says: an older state of it proves nothing.
    """
    told = [item for item in said if isinstance(item, Publication)]
    booked = [item.key for item in said if not isinstance(item, Publication)]
    found: dict[str, StatementLine | Held] = {}
    if booked:
        found.update(cast("Target", receiver).find(booked))
    if told:
        recipient = cast("Recipient", receiver)
        held = recipient.held(told)
        for publication in told:
            record = held.get(publication.key)
            if record is None or (in_doubt and publications.differences(publication, record)):
                continue
            found[publication.key] = replace(record, number=_receipt_number(recipient, publication, record.number))
    return found


def differences(sent: Said, found: StatementLine | Held, hours_tolerance: Decimal) -> dict[str, list[str]]:
    """Where what is held is not what was sent: {field: [sent, held]}."""
    if isinstance(sent, Publication):
        return publications.differences(sent, cast("Held", found))
    return postings.differences(sent, cast("StatementLine", found), hours_tolerance)


def shown(found: StatementLine | Held) -> dict[str, str]:
    """What is held, as it is kept with a read-back."""
    return publications.shown(found) if isinstance(found, Held) else postings.shown(found)
