"""What the outbox tells finance: refusals, doubts, read-backs, poison and connections, each as a cause in one sentence.

The rule here: one cause is one case, whatever the number of entries (a closed period that refused 400 postings is one card),
and every sentence names the value, the expectation and the way out. The codes are described in `reconciliation.rules`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from integrations.errors import REJECTION_CODES, Rejected
from integrations.outbox import speaking
from integrations.protocol import Found
from integrations.sql import outbound as sql
from integrations.sql.outbound import About, Standing
from portal import ledger
from portal.ledger import Claim
from portal.models import Connection
from portal.records import HeldDraft, Receipt
from reconciliation import cases, corrections, invoicing, publishing
from reconciliation.cases import NewHold, Refusal
from reconciliation.sql import documents

ACTOR = "outbox"
UNAUTHORISED = "connection-unauthorised"
KEY_REUSED = "key-reused"
POISON = "poison"
IN_DOUBT = "in-doubt-too-long"
OTHER_BOOKS = "books-of-another-entity"
DIFFERS = "divergent-read-back"
NOT_PERSISTED = "not-persisted"
NOT_BOOKED = "not-booked"
GONE = "gone-in-target"


def said(error: Rejected) -> str:
    """A refusal in one sentence: our word for it, and the target's own."""
    ours = REJECTION_CODES.get(error.code, REJECTION_CODES["rejected"])
    return f"{ours} It said: {error.detail}" if error.detail else ours


def rejected(connection: Connection, refusals: Sequence[tuple[int, Rejected]]) -> None:
    """Open the cases of refused postings, by the record that explains the refusal."""
    if not refusals:
        return
    cases.raise_rejections(
        [
            Refusal(
                entry_id=entry_id,
                code=error.code if error.code in REJECTION_CODES else "rejected",
                sentence=REJECTION_CODES.get(error.code, REJECTION_CODES["rejected"]),
                vendor_code=error.vendor_code,
                detail=error.detail[:500],
            )
            for entry_id, error in refusals
        ],
        connection_id=connection.pk,
        connection_name=str(connection),
    )


def key_reused(connection: Connection, claims: Sequence[Claim]) -> None:
    """Stop entries whose key was sent before with another body: the target may hold either."""
    sentence = (
        "This key was sent before with other content, so neither may be sent again under it; check in the target what it "
        "holds. What it holds is adopted and compared; if it holds nothing, book it again under a new key."
    )
    _stop(
        connection, claims, KEY_REUSED, sentence, f"Postings to {connection} changed under a key that was used already."
    )


def not_taken(connection: Connection, refusals: Sequence[tuple[int, Rejected]]) -> None:
    """Open the cases of refused publications; one of the same name there is a case of its own kind."""
    publishing.refused(
        connection,
        [
            publishing.Refusal(
                entry_id, error.detail[:500] or said(error), error.vendor_code if error.code == "twin" else ""
            )
            for entry_id, error in refusals
        ],
    )


def taken(connection: Connection, accepted: Sequence[tuple[int, Receipt | Found]]) -> None:
    """Let master data learn the system's own numbers of records that it took."""
    publishing.taken(connection, [(entry_id, *speaking.number_in(proof.number)) for entry_id, proof in accepted])


def draft_taken(accepted: Sequence[tuple[int, Receipt | Found]]) -> None:
    """Let drafts learn the system's own keys of the invoices that it made."""
    invoicing.taken([(entry_id, speaking.draft_number_in(proof.number)) for entry_id, proof in accepted])


def draft_refused(connection: Connection, refusals: Sequence[tuple[int, Rejected]]) -> None:
    """Open the cases of refused drafts, each about its proposal."""
    invoicing.refused(connection, [(entry_id, error.code, said(error)) for entry_id, error in refusals])


def drafted(
    connection: Connection,
    different: Sequence[tuple[Standing, Mapping[str, Sequence[str]]]],
    drafts: Mapping[int, HeldDraft],
) -> None:
    """What the system that bills held of drafts when they were read back, by entry."""
    differing = {entry.entry_id: fields for entry, fields in different if entry.entry_id in drafts}
    invoicing.compared(connection, [(entry_id, held, differing.get(entry_id, {})) for entry_id, held in drafts.items()])


def published(
    connection: Connection,
    equal: Sequence[Standing],
    different: Sequence[tuple[Standing, Mapping[str, Sequence[str]]]],
    publications: Collection[int],
) -> None:
    """What a system held of master data when it was read back."""
    publishing.compared(
        connection,
        [entry.entry_id for entry in equal if entry.entry_id in publications],
        [(entry.entry_id, differing) for entry, differing in different if entry.entry_id in publications],
    )


def poison(connection: Connection, claims: Sequence[Claim], deaths: Mapping[int, int]) -> None:
    """Stop entries that come to no result again and again, so that the others flow."""
    alike: dict[tuple[int, int], list[Claim]] = {}
    for claim in claims:
        alike.setdefault((claim.attempts, deaths.get(claim.entry_id, 0)), []).append(claim)
    for (attempts, died), stopped in alike.items():
        how = f"the worker ended {died} times while it was sent" if died else "no attempt came to a result"
        _stop(
            connection,
            stopped,
            POISON,
            f"Stopped after {attempts} attempts: {how}. Look at the attempts, mend the cause and re-post.",
            f"Postings to {connection} that come to no result.",
        )


def other_books(connection: Connection, claims: Sequence[Claim]) -> None:
    """Stop entries that would go into the books of another entity than theirs, or of nobody knows whom."""
    if not claims:
        return
    sentence = (
        f"{connection} keeps the books of {connection.entity.code}, and this is of another entity. Nothing was sent; give the "
        "connection back to the entity whose books it keeps, then re-post."
        if connection.entity is not None
        else f"{connection} is shared, keeps the books of one company, and does not say whose work it is. Nothing was sent; add "
        "the key of each entity's company to the crosswalk, or give each entity a connection of its own, then re-post."
    )
    _stop(
        connection,
        claims,
        OTHER_BOOKS,
        sentence,
        f"Postings to {connection} would go into the books of another entity.",
    )


def in_doubt_too_long(connection: Connection, entries: Sequence[Standing]) -> None:
    """Entries that the target could not settle in time; they go on being asked for."""
    sentence = (
        f"Sent to {connection}, and nobody knows whether it was booked; it goes on being looked up. "
        "Look in the target, and name the record if it is there."
    )
    _note(connection, entries, IN_DOUBT, sentence, f"{connection} does not say what became of postings sent to it.")


def cannot_look_up(connection: Connection, entries: Sequence[Standing]) -> None:
    """Entries in doubt at a target that knows no look-up by key: at most once, and a person's eye."""
    sentence = (
        f"Sent to {connection}, which cannot be asked by key whether it was booked. "
        "Look in the target, and name the record if it is there; it is never sent again by itself."
    )
    _note(connection, entries, IN_DOUBT, sentence, f"{connection} cannot be asked about postings that got no answer.")


def numbers_taken(connection: Connection, found: Sequence[tuple[Standing, str, int]]) -> None:
    """Entries whose look-up shows a number that proves another entry: (entry, number, the other one)."""
    if not found:
        return
    about = sql.about([entry.entry_id for entry, _, _ in found])
    cause = f"{connection} gave one record number to two postings."
    cases.open_holds(
        [
            _hold(
                connection, about[entry.entry_id], IN_DOUBT, "connection", str(connection.pk),
                f"{connection} shows record {number} under this entry's key, and that number already proves entry {other}.",
                cause, {},
            )
            for entry, number, other in found
        ]
    )  # fmt: skip


def differs(connection: Connection, entries: Sequence[tuple[Standing, Mapping[str, Sequence[str]]]]) -> None:
    """Entries for which the target holds other figures than were sent; the fields are named."""
    if not entries:
        return
    about = sql.about([entry.entry_id for entry, _ in entries])
    holds = []
    for entry, differing in entries:
        fields = sorted(differing)
        told = "; ".join(
            f"{name.replace('_', ' ')} {differing[name][0]} was sent, {differing[name][1]} is held" for name in fields
        )
        holds.append(
            _hold(
                connection, about[entry.entry_id], DIFFERS, "connection", f"{connection.pk}:{','.join(fields)}",
                f"{connection} holds record {entry.receipt} with other figures: {told}. Correct it there, or reverse and rebook.",
                f"{connection} changes {_listed(fields)} of what is posted to it.",
                {"fields": fields, "differences": dict(differing), "target_id": connection.pk},
            )
        )  # fmt: skip
    cases.open_holds(holds)


def not_persisted(connection: Connection, entries: Sequence[Standing]) -> None:
    """Entries that the target took and does not hold: never kept, or gone after they were proved."""
    never = [entry for entry in entries if entry.state == "accepted"]
    sentence = (
        f"{connection} accepted this entry and gave it a number, and does not show the record. "
        "It is not posted; if it is missed there once more, book it again under a new key."
    )
    _note(connection, never, NOT_PERSISTED, sentence, f"{connection} accepted postings that it does not hold.")
    gone = [entry for entry in entries if entry.state != "accepted"]
    sentence = (
        f"The record of this entry is no longer in {connection}, where it was proved before. "
        "Find out who deleted it; it is never booked again by itself: book it again under a new key, or leave it out."
    )
    _note(connection, gone, GONE, sentence, f"Posted records have disappeared from {connection}.")


def not_booked(connection: Connection, late: Sequence[tuple[Standing, str]]) -> None:
    """Entries that a target took, which books later, and that are not booked in time; each with the target's word for why."""
    about = sql.about([entry.entry_id for entry, _ in late])
    holds = []
    for entry, waits in late:
        said = f"It says: {waits}" if waits else "It says nothing about why."
        holds.append(
            _hold(
                connection, about[entry.entry_id], NOT_BOOKED, "connection", f"{connection.pk}:{waits[:200]}".rstrip(":"),
                f"{connection} took this entry as {entry.receipt} and has not booked it. {said} See to it there; it is not "
                "sent again, and counts as posted once it is booked with the figures that were sent.",
                f"{connection} does not book what it took{': ' + waits[:200] if waits else ''}.", {},
            )
        )  # fmt: skip
    cases.open_holds(holds)


def booked_at_last(entry_ids: Sequence[int]) -> None:
    """The target booked these entries, whatever else is to be said of them."""
    if entry_ids:
        cases.close_holds(list(entry_ids), [NOT_BOOKED])


def not_held(connection: Connection, entries: Sequence[Standing]) -> None:
    """Publications of which the system does not hold the record any more."""
    if connection.is_recipient and entries:
        publishing.gone(sql.publications_among([entry.entry_id for entry in entries]))


def settled(entry_ids: Sequence[int]) -> None:
    """These entries are not in doubt any more."""
    if entry_ids:
        cases.close_holds(list(entry_ids), [IN_DOUBT])


def adopted(entry_ids: Sequence[int]) -> None:
    """The target holds something under these entries' keys: neither a doubt nor a used key stops them, the figures decide."""
    if entry_ids:
        cases.close_holds(list(entry_ids), [IN_DOUBT, KEY_REUSED])


def stop_for_their_key(entry_ids: Sequence[int]) -> None:
    """Nothing stands under a key that was used with other content: it is not sent again under it, so the entry is held."""
    if entry_ids:
        refs = sql.stopped_for_their_key(entry_ids, KEY_REUSED)
        ledger.hold(
            refs, actor=ACTOR, reason="the target holds nothing under its key, which was used with other content"
        )


def equal_again(entry_ids: Sequence[int]) -> None:
    """The target holds these entries as they were sent."""
    if entry_ids:
        cases.close_holds(list(entry_ids), [DIFFERS, NOT_PERSISTED, NOT_BOOKED, GONE])


def lock_documents(reversals: Sequence[int]) -> None:
    """Lock the documents of reversals before their entries move: documents first, everywhere."""
    if reversals:
        documents.lock(set(sql.documents_of(reversals)))


def settle_reversals(reversals: Sequence[int]) -> None:
    """Reversals that were receipted let their originals become reversed, and what waited on them go."""
    if reversals:
        corrections.settle(reversals)


def unauthorised(connection: Connection, detail: str) -> None:
    """One case for the connection in each entity whose documents go over it, however many entries wait on it there."""
    for entity_id in concerned(connection):
        cases.raise_case(
            UNAUTHORISED,
            entity_id,
            "connection",
            connection.code,
            connection_id=connection.pk,
            sentence=f"{connection} refuses our credentials: {detail} Renew them; everything that waits goes by itself then.",
        )


def authorised(connection: Connection) -> None:
    """The connection answers us again: its case is over, in every entity."""
    cases.resolve(UNAUTHORISED, "connection", connection.code, reason="the credentials hold again")


def concerned(connection: Connection) -> list[int]:
    """The entities that a connection's trouble touches: its own, or where it is shared all whose documents go over it."""
    return [connection.entity_id] if connection.entity_id is not None else sql.entities_over(connection.pk)


def _stop(connection: Connection, claims: Sequence[Claim], rule: str, sentence: str, cause: str) -> None:
    moved = ledger.hold([(claim.entry_id, claim.fence) for claim in claims], actor=ACTOR, reason=sentence)
    about = sql.about(moved)
    cases.open_holds(
        [_hold(connection, about[i], rule, "connection", str(connection.pk), sentence, cause, {}) for i in moved]
    )


def _note(connection: Connection, entries: Sequence[Standing], rule: str, sentence: str, cause: str) -> None:
    about = sql.about([entry.entry_id for entry in entries])
    cases.open_holds(
        [
            _hold(connection, about[entry.entry_id], rule, "connection", str(connection.pk), sentence, cause, {})
            for entry in entries
        ]
    )


def _hold(  # noqa: PLR0917 -- a hold's columns, in their order
    connection: Connection,
    entry: About,
    rule: str,
    subject_type: str,
    subject_key: str,
    sentence: str,
    cause: str,
    detail: Mapping[str, Any],
) -> NewHold:
    return NewHold(
        entry_id=entry.entry_id,
        rule=rule,
        entity_id=entry.entity_id,
        subject_type=subject_type,
        subject_key=subject_key[:300],
        sentence=sentence,
        cause=cause,
        detail={"target_id": connection.pk, **detail},
        connection_id=connection.pk,
    )


def _listed(words: Sequence[str]) -> str:
    plain = [word.replace("_", " ") for word in words]
    return plain[0] if len(plain) == 1 else f"{', '.join(plain[:-1])} and {plain[-1]}"
