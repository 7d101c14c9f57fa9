"""The stages of the pipeline as a worker runs them: one worker for each stage and connection, then a hint for the next stage.

The rule here: a second worker with the same task leaves at once, and what arrived while the first one was finishing is not
forgotten, because the first one looks again after it gave its lock back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import IntEnum

from django.db.models import Q

from integrations import absences, hints, inbox, outbox, rehearsals, statements, streams, subscriptions, wake
from integrations.models import Run
from integrations.sql import streams as stream_sql
from integrations.sql import waiting
from portal import digests
from portal.health import heard_from, is_silent
from portal.models import Connection, User
from portal.screens import exporting
from reconciliation import (
    billing,
    changes,
    invoicing,
    operations,
    proposals,
    publishing,
    suggestions,
    triage,
    validation,
)
from reconciliation.rates import booking, unsettled
from reconciliation.waiting import count as count_what_waits

SECONDS = 60.0  # after which a stage lets others have their turn
SECONDS_A_TURN = 15.0  # of a bulk fix; a worker that is told to end is gone within it
BARREN = 2
ESCALATES_EVERY = 300  # seconds
PUBLISHES_EVERY = 3600  # seconds
PROPOSES_EVERY = 3600
COMPARES_EVERY = 600


class Stage(IntEnum):
    """What a lock is about."""

    SWEEP = 0
    TAKE_IN = 1
    ANSWER = 2
    DELIVER = 3
    READ_BACK = 4
    REVALIDATE = 5


def pull(stream_id: int, trigger: str = Run.Trigger.SCHEDULE, user_id: int | None = None) -> Run | None:
    """Read a stream, then take in what came."""
    user = User.objects.get(pk=user_id) if user_id else None
    run = streams.pull(stream_id, trigger, user)
    if run is not None and run.filed:
        take_in(run.connection_id)
    return run


def take_in(connection_id: int) -> None:
    """Take in what is new of a connection, and wake its targets."""

    def some() -> bool:
        taken = inbox.take_in(connection_id)
        if taken.documents:
            wake.targets_of(connection_id)
        return bool(taken.messages)

    _alone(Stage.TAKE_IN, connection_id, some, lambda: waiting.has_messages(connection_id, "record"))


def answer_hints(connection_id: int) -> None:
    """Read again what webhooks named, then take in what came."""

    def some() -> bool:
        answered = hints.answer(connection_id)
        if answered.records or answered.gone:
            take_in(connection_id)
        return bool(answered.hints)

    _alone(Stage.ANSWER, connection_id, some, lambda: waiting.has_messages(connection_id, "hint"))


def sweep_ids(stream_id: int) -> None:
    """Compare the ids of open periods, then ask about every difference."""
    run = absences.sweep(stream_id)
    if run is not None and run.filed:
        answer_hints(run.connection_id)


def keep_subscriptions(connection_id: int) -> None:
    """See to the webhooks of one source."""
    subscriptions.keep(connection_id)


def deliver(connection_id: int) -> None:
    """Post what is due at a target, look up what is in doubt, read back what was accepted."""
    receives = Connection.objects.filter(
        Q(is_target=True) | Q(is_recipient=True) | Q(is_biller=True), pk=connection_id
    ).exists()
    if not receives or not waiting.try_lock(Stage.DELIVER, connection_id):
        return
    try:
        told = outbox.deliver(connection_id, seconds=SECONDS)
    finally:
        waiting.unlock(Stage.DELIVER, connection_id)
    operations.follow()
    if (told.accepted or told.proved) and waiting.has_ready(connection_id):
        wake.up("deliver", connection_id)


def read_back(connection_id: int) -> None:
    """Read once more what was posted in open periods."""
    if waiting.try_lock(Stage.READ_BACK, connection_id):
        try:
            outbox.read_back(connection_id, again=True)
        finally:
            waiting.unlock(Stage.READ_BACK, connection_id)


def revalidate() -> None:
    """Validate again what changed master data touches, and wake the targets of what may go now."""
    if not waiting.try_lock(Stage.REVALIDATE, 0):
        return
    followed = 0
    until = time.monotonic() + SECONDS
    try:
        while time.monotonic() < until and (some := validation.follow_changes()):
            followed += some
        validation.overdue_parents()
    finally:
        waiting.unlock(Stage.REVALIDATE, 0)
    if followed:
        _wake_targets()


def look_after_causes() -> None:
    """Bring back the causes whose snooze or ignore is over, score what is stale; now and then, escalate what nobody touches."""
    waited = triage.awaited_syncs()
    triage.end_what_is_over(stream_sql.read_well(list(waited)) if waited else {})
    count_what_waits()
    suggestions.score_stale()
    if is_silent("escalation", ESCALATES_EVERY):
        heard_from("escalation", causes=triage.escalate(), bills=triage.remind())


def publish_what_its_day_brought() -> None:
    """Now and then: rates, statuses and assignments that begin or end by their day are owed to the systems told of them."""
    if is_silent("publishing", PUBLISHES_EVERY):
        heard_from("publishing", entries=len(publishing.owe_everything()))
        _wake_targets()


def propose_invoices() -> None:
    """Now and then: the invoices of customers whose run is due are proposed, each project in a transaction of its own."""
    if is_silent("invoicing", PROPOSES_EVERY):
        heard_from("invoicing", proposals=len(invoicing.run_due()))


def compare_balances() -> None:
    """Now and then: what systems say is open of bills is held against what settles these, once both had time to arrive."""
    if is_silent("balances", COMPARES_EVERY):
        opened, closed = billing.review_lately()
        heard_from("balances", opened=opened, closed=closed)


def operation(operation_id: int) -> None:
    """Work off a bulk fix for a turn, and wake the targets after every chunk; what is left waits behind other fixes."""
    until = time.monotonic() + SECONDS_A_TURN

    def goes_on() -> bool:
        _wake_targets()
        return time.monotonic() < until

    if operations.run(operation_id, goes_on=goes_on):
        wake.up("operation", operation_id)
    operations.follow([operation_id])
    _wake_targets()


def change_set(change_set_id: int) -> None:
    """Apply a change set or go on with it for a turn, and wake the targets after every chunk."""
    until = time.monotonic() + SECONDS_A_TURN

    def goes_on() -> bool:
        _wake_targets()
        return time.monotonic() < until

    if changes.run(change_set_id, goes_on=goes_on):
        wake.up("change_set", change_set_id)
    proposals.follow_all()
    _wake_targets()


def rehearse(rehearsal_id: int) -> None:
    """Replay a closed month in shadow and compare it; its lease keeps a second worker away."""
    rehearsals.answer(rehearsal_id)


def rate_bundle(bundle_id: int) -> None:
    """Plan a bundle or go on with it for a turn, and wake the targets after every chunk."""
    until = time.monotonic() + SECONDS_A_TURN

    def goes_on() -> bool:
        _wake_targets()
        return time.monotonic() < until

    if booking.run(bundle_id, goes_on=goes_on):
        wake.up("rate_bundle", bundle_id)
    _wake_targets()


def rate_look(change_set_id: int) -> None:
    """Hold the books against the rates that a change set agreed; what stays booked at others becomes a cause."""
    unsettled.look(change_set_id)


def reconcile(run_id: int) -> None:
    """Read the statements and compare, for a run that waits for a worker; its lease keeps a second one away."""
    statements.answer(run_id)


def export(export_id: int) -> None:
    """Write a long export that a person asked for."""
    exporting.make(export_id)


def digest(person_id: int) -> None:
    """Mail one person what was gathered for them."""
    digests.send(person_id)


def _wake_targets() -> None:
    for target_id in waiting.active_targets():
        wake.up("deliver", target_id)


def _alone(stage: Stage, number: int, some: Callable[[], bool], is_due: Callable[[], bool]) -> None:
    """Work in steps until nothing is left or time is up, as the only worker of this stage and connection."""
    until = time.monotonic() + SECONDS
    barren = 0  # rounds that found nothing: what is due may be in another worker's hands
    while barren < BARREN and waiting.try_lock(stage, number):
        barren += 1
        try:
            while time.monotonic() < until and some():
                barren = 0
        finally:
            waiting.unlock(stage, number)
        if not is_due():
            return
        if time.monotonic() >= until:
            wake.up(_TASKS[stage], number)
            return


_TASKS = {Stage.TAKE_IN: "take_in", Stage.ANSWER: "answer_hints"}
