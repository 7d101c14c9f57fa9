"""One box for any id, code or name that a person may have in hand.

The rule here: it finds only what the person may see, and where one thing alone answers, it goes there at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import F, Q, QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.http import urlencode

from portal import figures, keys
from portal.models import (
    Connection,
    Contract,
    Customer,
    Document,
    Expense,
    LedgerEntry,
    Project,
    Receipt,
    Resource,
    TimeEntry,
)
from portal.models.documents import INVOICE, MASTER
from portal.screens import Screen
from portal.tables import STATE_TONES, name_of
from reconciliation import naming
from reconciliation.models import ExceptionCase, Operation
from reconciliation.tables import short_title_of, tone_of
from reconciliation.validation import owing

SHOWN = 8  # of each kind
LONGEST = 200


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing found: what it is, where it leads, and whether the words name it exactly."""

    kind: str
    title: str
    note: str
    url: str
    state: str = ""
    tone: str = ""
    is_exact: bool = False


class SearchScreen(Screen):
    """Looks the words up among entries, causes, operations and master data."""

    title = "Search"
    template_name = "reconciliation/search.html"

    def get(self, request: HttpRequest) -> HttpResponseBase:
        """The one page that answers, or the list of what may be meant."""
        words = request.GET.get("q", "").replace("\x00", "").strip()[:LONGEST]
        hits = list(self.hits(words)) if words else []
        exact = [hit for hit in hits if hit.is_exact]
        if len({hit.url for hit in exact}) == 1:
            return HttpResponseRedirect(exact[0].url)
        groups: dict[str, list[Hit]] = {}
        for hit in hits:
            groups.setdefault(hit.kind, []).append(hit)
        return self.page(self.context(words=words, groups=list(groups.items()), count=len(hits)))

    def hits(self, words: str) -> Iterator[Hit]:
        """Everything found, exact ids first; a fixed number of queries."""
        yield from self._entries(words)
        yield from self._documents(words)
        yield from self._bills(words)
        yield from self._proposals(words)
        yield from self._causes(words)
        yield from self._operations(words)
        yield from self._records(words)

    def _seen(self, queryset: Any) -> QuerySet[Any]:
        found: QuerySet[Any] = queryset.visible_to(self.request.user)
        return found

    def _entries(self, words: str) -> Iterator[Hit]:
        named = Q(pk__in=_entries_named(words))
        number = keys.key(words)
        if number is not None:
            named |= Q(pk=number)
        key = naming.key_of(words)
        if key is not None:
            named |= Q(idempotency_key=key)
        found = self._seen(LedgerEntry.objects).filter(named).select_related(
            "resource", "project", "state_row", "source", "target", "document"
        )  # fmt: skip
        for entry in found.exclude(kind=INVOICE).order_by("-pk")[:SHOWN]:  # a draft is found as its proposal
            state, tone = entry.state_row.get_state_display(), STATE_TONES.get(entry.state_row.state, "")
            if entry.kind == MASTER:
                url, told = (
                    reverse("published_record", args=[entry.document_id]),
                    f"entry {entry.pk} · told {entry.target}",
                )
                yield Hit("Published records", entry.document.external_id, told, url, state, tone, is_exact=True)
                continue
            note = (
                f"entry {entry.pk} · {entry.source} {entry.document.external_id} v{entry.version} · {entry.work_date}"
            )
            yield Hit(
                "Ledger entries", name_of(entry), note, reverse("entry", args=[entry.pk]),
                state, tone, is_exact=True,
            )  # fmt: skip

    def _documents(self, words: str) -> Iterator[Hit]:
        """Records of a source that have no entry on the ledger, each with the reason; its message shows it as it came."""
        found = (
            self._seen(Document.objects).filter(external_id=words, entries=None).select_related("connection", "entity")
        )
        documents = list(found.order_by("-pk")[:SHOWN])
        messages: dict[int, int] = {}
        models: tuple[Any, ...] = (TimeEntry, Expense)
        for model in models:
            current = model.objects.filter(document__in=documents, version=F("document__current_version"))
            messages |= {row.document_id: row.message_id for row in current if row.message_id is not None}
        for document, why in zip(documents, owing.why_not_of(documents), strict=True):
            title = f"{document.get_kind_display()} {document.external_id} of {document.connection}"
            said = why.sentence if why is not None else "It is on its way to the ledger."
            message = messages.get(document.pk)
            url = reverse("inbox_message", args=[message]) if message is not None else reverse("inbox")
            yield Hit("Not on the ledger", title, said, url, "Not owed" if why is not None else "", "")

    def _bills(self, words: str) -> Iterator[Hit]:
        """Invoices, credit notes and payments by number, by their system's id, and payments by their reference."""
        for bill in self._seen(naming.bills(words)).select_related("current", "entity")[:SHOWN]:
            now = bill.current
            note = (
                f"{bill.entity.code} · {figures.amount(now.total, now.currency)} {now.currency} · {now.customer_name}"
            )
            url = reverse("bill", args=[bill.pk])
            yield Hit("Bills", str(bill), note, url, now.get_status_display(), is_exact=True)
        for payment in self._seen(naming.payments(words)).select_related("current", "entity")[:SHOWN]:
            last = payment.current
            note = f"{payment.entity.code} · {figures.amount(last.amount, last.currency)} {last.currency} · {last.customer_name}"
            url = reverse("payment", args=[payment.pk])
            yield Hit("Payments", str(payment), note, url, last.get_status_display(), is_exact=True)

    def _proposals(self, words: str) -> Iterator[Hit]:
        """Proposals by their number or that of their draft, and milestones by their code."""
        found = self._seen(naming.proposals(words)).select_related("entity", "project", "customer")
        for proposal in found[:SHOWN]:
            amount = f"{figures.amount(proposal.net, proposal.currency)} {proposal.currency}"
            note = f"{proposal.entity.code} · {amount} · {proposal.customer.name}"
            url = reverse("invoice_proposal", args=[proposal.pk])
            title = f"{proposal} · {proposal.project.name}"
            yield Hit("Invoice proposals", title, note, url, proposal.get_state_display(), is_exact=True)
        signed = self._seen(naming.milestones(words)).select_related("project__entity").order_by("due_on", "pk")
        for milestone in signed[:SHOWN]:
            amount = f"{figures.amount(milestone.amount, milestone.currency)} {milestone.currency}"
            note = f"{milestone.project.entity.code} · {milestone.project.code} · {amount}"
            url = reverse("milestone_thread", args=[milestone.pk])
            state = "Signed" if milestone.signed_on else "Not signed"
            yield Hit("Milestones", f"{milestone.code} · {milestone.name}", note, url, state, is_exact=True)

    def _causes(self, words: str) -> Iterator[Hit]:
        number = keys.key(words.upper().removeprefix("EX-"))
        named = Q(sentence__icontains=words) | Q(subject_key__iexact=words)
        if number is not None:
            named |= Q(pk=number)
        found = self._seen(ExceptionCase.objects).filter(named).select_related("entity")
        for case in found.order_by("state", "-open_holds", "pk")[:SHOWN]:
            note = f"EX-{case.pk} · {case.entity.code} · {case.entries:,} entries · {case.get_state_display().lower()}"
            exact = case.pk == number and words.upper().startswith("EX-")
            url = reverse("cause", args=[case.pk])
            yield Hit("Causes", case.sentence, note, url, short_title_of(case.rule), tone_of(case), is_exact=exact)

    def _operations(self, words: str) -> Iterator[Hit]:
        found = self._seen(Operation.objects).exclude(confirmed_at=None)
        for operation in found.filter(title__icontains=words).select_related("created_by").order_by("-pk")[:SHOWN]:
            note = f"{operation.created_by} · {operation.created_at:%d %b %Y %H:%M}"
            yield Hit(
                "Operations",
                operation.title,
                note,
                reverse("operation", args=[operation.pk]),
                operation.get_state_display(),
            )

    def _records(self, words: str) -> Iterator[Hit]:
        """Master data by code or name; each leads to its entries on the ledger."""
        for kind, model, parameter in (
            ("Projects", Project, "project"),
            ("People", Resource, "resource"),
            ("Contracts", Contract, "contract"),
        ):
            for record in self._named(model, words):
                query = urlencode({parameter: record.code})
                yield Hit(
                    kind, f"{record.code} · {record.name}", "its entries on the ledger", f"{reverse('ledger')}?{query}"
                )
        for record in self._named(Customer, words):
            query = urlencode({"customer": record.code})
            yield Hit(
                "Customers",
                f"{record.code} · {record.name}",
                "its entries on the ledger",
                f"{reverse('ledger')}?{query}",
            )
        for record in self._named(Connection, words):
            query = urlencode({"target" if record.is_target else "source": record.code})
            yield Hit(
                "Connections",
                f"{record.code} · {record.name}",
                "its entries on the ledger",
                f"{reverse('ledger')}?{query}",
            )

    def _named(self, model: Any, words: str) -> QuerySet[Any]:
        near = Q(code__icontains=words) | Q(name__icontains=words)
        return self._seen(model.objects).filter(near).order_by("code").distinct()[:SHOWN]


def _entries_named(words: str) -> QuerySet[LedgerEntry, dict[str, int]]:
    """By the record of their source, or by the number that their target gave them."""
    theirs: QuerySet[LedgerEntry, Any] = LedgerEntry.objects.filter(document__external_id=words).values("pk")
    return theirs.union(Receipt.objects.filter(number__in=naming.spelled(words)).values("entry"))
