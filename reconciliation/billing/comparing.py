"""A bill as it was agreed beside the bill as its system states it now: line by line, and what each decision would do in money.

The rule here: both figures are shown before anybody decides. What a choice opens is read from the lines, as they were agreed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from portal import figures
from portal.models import Invoice, InvoiceLine, InvoiceVersion
from reconciliation.models import BillingDecision

if TYPE_CHECKING:
    from reconciliation.billing.as_approved import Strayed

ZERO = Decimal(0)
Choice = BillingDecision.Choice


@dataclass(frozen=True, slots=True)
class Compared:
    """One line in the version that was agreed and in the one that its system states now; either may be missing."""

    key: str
    was: InvoiceLine | None
    now: InvoiceLine | None

    @property
    def line(self) -> InvoiceLine:
        """The line by which people know it."""
        return self.was or self.now  # type: ignore[return-value]  # one of them is there

    @property
    def what(self) -> str:
        """What became of it."""
        if self.was is None or self.now is None:
            return "new" if self.was is None else "gone"
        same = (self.was.quantity, self.was.net, self.was.posting_number, self.was.posting_key, self.was.milestone_key)
        is_same = same == (
            self.now.quantity, self.now.net, self.now.posting_number, self.now.posting_key, self.now.milestone_key,
        )  # fmt: skip
        return "as agreed" if is_same else "changed"

    @property
    def more(self) -> Decimal:
        """How much more its net is now."""
        return (self.now.net if self.now else ZERO) - (self.was.net if self.was else ZERO)

    @property
    def fewer_hours(self) -> Decimal:
        """How many hours of it are not on the bill any more."""
        was, now = (line.quantity or ZERO if line else ZERO for line in (self.was, self.now))
        return max(was - now, ZERO)


SHOWN_VERSIONS = 12


def between(versions: Sequence[InvoiceVersion], most: int = 200) -> list[tuple[InvoiceVersion, list[str]]]:
    """What each version of a bill, the latest first, says otherwise than the one before it, in words; one statement.

    Only versions that do: a status alone stands in their table.
    """
    shown = list(versions[: SHOWN_VERSIONS + 1])
    lines: dict[int, dict[str, InvoiceLine]] = {one.pk: {} for one in shown}
    for line in InvoiceLine.objects.filter(version__in=shown).order_by("position"):
        lines[line.version_id][line.key] = line
    found = [(now, list(_differs(was, now, lines))[:most]) for was, now in zip(shown[1:], shown, strict=False)]
    return [(version, words) for version, words in found if words]


def _differs(was: InvoiceVersion, now: InvoiceVersion, lines: Mapping[int, Mapping[str, InvoiceLine]]) -> Iterator[str]:
    if now.status == "deleted" or not lines[was.pk]:
        return
    if was.number != now.number:
        yield f"number: is {now.number or 'none'}, was {was.number or 'none'}"
    if was.customer_key != now.customer_key:
        yield f"customer: is {now.customer_name or now.customer_key}, was {was.customer_name or was.customer_key}"
    before, after = lines[was.pk], lines[now.pk]
    for key in sorted(before.keys() | after.keys(), key=lambda key: (before.get(key) or after[key]).position):
        one = Compared(key, before.get(key), after.get(key))
        if one.what != "as agreed":
            is_now, has_been = _net(one.now, now.currency), _net(one.was, was.currency)
            yield f"line {one.line.position}: is {is_now}, was {has_been}"
    if (was.total, was.currency) != (now.total, now.currency):
        new, old = (f"{figures.amount(one.total, one.currency)} {one.currency}" for one in (now, was))
        yield f"total with tax: is {new}, was {old}"


@dataclass(frozen=True, slots=True)
class Effect:
    """What one choice would do, in words with its money."""

    choice: str
    words: str


def compared(bill: Invoice, most: int = 500) -> list[Compared]:
    """Every line of the agreed and of the current version, in the order of the bill; what differs first."""
    found: dict[str, dict[int, InvoiceLine]] = {}
    rows = InvoiceLine.objects.filter(version__in=[bill.agreed_id, bill.current_id]).order_by("position")[: 2 * most]
    for line in rows:
        found.setdefault(line.key, {})[line.version_id] = line
    lines = [Compared(key, of.get(bill.agreed_id or 0), of.get(bill.current_id)) for key, of in found.items()]
    return sorted(lines, key=lambda one: (one.what == "as agreed", one.line.position))


def effects_of(bill: Invoice, lines: list[Compared], strayed: Strayed | None = None) -> dict[str, str]:
    """What each choice would do, by choice. Of a bill that is not what was approved, `strayed` says how."""
    if strayed is not None and strayed.words:
        taken_out = len(strayed.left_out)
        which = "the line that was" if taken_out == 1 else f"the {taken_out} lines that were"
        opens = f" The work of {which} taken out is open to be billed again." if taken_out else ""
        return {
            Choice.ADOPT: f"It stands as it is, though {'; '.join(strayed.words)}.{opens}",
            Choice.RESTORE: f"Its system is to show what was approved: {'; '.join(strayed.words)}.",
        }
    was, now = (
        sum((line.net for line in side if line), ZERO) for side in ([x.was for x in lines], [x.now for x in lines])
    )
    currency = bill.agreed.currency if bill.agreed else bill.current.currency

    def money(value: Decimal) -> str:
        return f"{figures.amount(value, currency)} {currency}"

    kept = f"{money(was)} stay billed as agreed"
    if bill.current.status == "deleted" and bill.kind == "credit_note":
        return {
            Choice.ADOPT: f"Nothing stays credited: what the note gave back for {money(was)} stands billed again.",
            Choice.RECREATE: f"What the note gave back for {money(was)} stands billed again, until a new note has come.",
        }
    if bill.current.status == "deleted":
        hours = sum((line.fewer_hours for line in lines), ZERO)
        opened = (
            f"{figures.hours(hours)} h worth {money(was)} are open to be billed again"
            if hours
            else f"{money(was)} are open again"
        )
        return {
            Choice.ADOPT: f"Nothing stays billed: {opened}.",
            Choice.RECREATE: f"{opened}, for a new bill over the same.",
        }
    fewer = [line for line in lines if line.fewer_hours]
    hours = sum((line.fewer_hours for line in fewer), ZERO)
    opens = f" {figures.hours(hours)} h are open to be billed again." if hours and bill.kind == "invoice" else ""
    stand = "billed" if bill.kind == "invoice" else "credited"
    change = f"{figures.amount(now - was, currency)} {currency}"
    return {
        Choice.ADOPT: f"{money(now)} instead of {money(was)} stand {stand} ({change}).{opens}",
        Choice.RESTORE: f"{kept}; its system is to show {money(was)} net again in the place of {money(now)}.",
        Choice.CORRECT: f"{kept} until a credit note over {money(abs(now - was))} has come.",
    }


def told(lines: list[Compared], currency: str, most: int = 4) -> str:
    """What is to be restored, for a notice: each line with the figure that it has and the one that it is to have again."""
    changed = [line for line in lines if line.what != "as agreed"]
    said = [
        f"line {one.line.position}: is {_net(one.now, currency)}, was {_net(one.was, currency)}"
        for one in changed[:most]
    ]
    return "; ".join(said) + (f"; and {len(changed) - most} more" if len(changed) > most else "")


def _net(line: InvoiceLine | None, currency: str) -> str:
    if line is None:
        return "not there"
    hours = f"{figures.hours(line.quantity)} h, " if line.quantity is not None else ""
    return f"{hours}{figures.amount(line.net, currency)} {currency}"
