"""`change`: an approved change set of 10,000 lines takes effect, against plainly writing its lines and validating its entries.

The floor reads, checks and writes the same lines once, and validates the same open entries, taken back. The ratio shows what
applying does besides: what it touches found and frozen, the base and the promise of the dry-run held against what stands, what
came of it counted, and the decision kept. The other figure is what a person waits for who approves, while nothing moved.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal

from integrations.bench import admit, dryrun
from integrations.bench import firm as firms
from integrations.bench.measure import Result, Scale, bounded, paired
from portal import sql
from portal.models import EntityGrant, GrantRole, LegalEntity, Rate, User
from reconciliation import changes
from reconciliation.changes import Action, Line, measuring
from reconciliation.changes.writing import write
from reconciliation.models import ChangeSet
from reconciliation.validation import recheck

LINES, ENTRIES, BOOKED = 10_000, 2_000, 20_000
PROJECTS, PEOPLE = 40, 200
SECONDS = 5.0  # for 10,000 lines over 20,000 booked entries, on a machine of two cores


def measure(scale: Scale, say: Callable[[str], None]) -> list[Result]:
    """Every rate becomes one dearer, again and again: a change set a round, written by one person and agreed to by another."""
    firm = firms.build(PROJECTS, PEOPLE, scale.of(LINES, 80))
    count, booked = scale.of(ENTRIES, 40), scale.of(BOOKED, 20)
    admit.file(firm, count + booked, faulty=0)
    admit.take_in(firm)
    ids = [row[0] for row in sql.rows("SELECT entry_id FROM portal_ledgerstate ORDER BY entry_id")]
    for start in range(0, booked, measuring.BATCH):
        dryrun.book(ids[start : min(start + measuring.BATCH, booked)])
    open_now = ids[booked:]
    sql.execute("ANALYZE")
    writer, other = (_controller(name) for name in ("writer", "other"))
    agreed: list[float] = []
    say(f"  {len(open_now)} open and {booked} booked entries, {Rate.objects.count()} rates changed")

    def value(_: int) -> float:
        change_set = _submitted(writer)
        begun = time.perf_counter()
        changes.approve(change_set, other, signed_in_again=True)
        agreed.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        changes.apply(change_set)
        seconds = time.perf_counter() - begun
        _check(change_set, count, booked)
        return seconds

    def floor(_: int) -> float:
        lines = _lines()
        with measuring.rolled_back():
            begun = time.perf_counter()
            write(lines, reason="bench", actor=None)
            for start in range(0, len(open_now), measuring.BATCH):
                recheck(open_now[start : start + measuring.BATCH], actor="bench", reason="measured")
            return time.perf_counter() - begun

    values, floors = paired(scale.rounds, value, floor)
    return [
        Result(
            "change", "s", values, floors, 1.5, at_least=False, note="an approved change set of 10,000 rates applied"
        ),
        bounded(
            "change.agree", "s", agreed[-len(values) :], SECONDS, note="what was seen still holds, and is agreed to"
        ),
    ]


def _controller(name: str) -> User:
    user = User.objects.create_user(username=name)
    EntityGrant.objects.create(user=user, entity=None, role=GrantRole.CONTROLLER, valid_from=firms.START)
    return user


def _lines() -> list[Line]:
    """Every rate one dearer than it stands."""
    return [
        Line("rate", rate.pk, Action.CHANGE, {"amount": str(rate.amount + Decimal(1))})
        for rate in Rate.objects.order_by("pk")
    ]


def _submitted(by: User) -> ChangeSet:
    return changes.submit(changes.draft(by=by, title="Dearer by one", reason="bench", lines=_lines()), by)


def _check(change_set: ChangeSet, count: int, booked: int) -> None:
    """It was applied to all of it, and came out as its dry-run said. Raises RuntimeError."""
    came = (change_set.state, change_set.total, change_set.result.get("booked", {}).get("entries"))
    if came != (ChangeSet.State.APPLIED, count, booked) or not changes.kept_promise(change_set):
        raise RuntimeError(
            f"The change set is {came}, and its dry-run had said {change_set.preview}. {change_set.problem}"
        )
    if LegalEntity.objects.filter(change_sets=change_set).count() == 0:
        raise RuntimeError("The change set touches no entity.")
