"""The audit trail on screen: every decision with its person, its reason and what it changed, and the proof of the chain.

The rule here: a person reads the events of their entities and those that belong to all; nobody changes one.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

from django import forms
from django.db.models import F, Q, QuerySet, Value
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal import audit, figures
from portal.audit import in_words, noun_of
from portal.filters import AuditFilter
from portal.models import AuditEvent, GrantRole, LegalEntity, User
from portal.screens import DetailScreen, Empty, ListScreen, MainColumn, Screen, Tab, Table, TextColumn, WhenColumn
from portal.screens.base import roles_of
from portal.views import previews
from portal.views.governed import address_of

SHOWN, LONGEST = 2, 160  # changes of a row, and letters of each
LINES = "lines"  # under which an event about a change set tells its records
_DIGEST, _DIGITS = re.compile(r"\b[0-9a-f]{40,}\b"), 12  # what nobody reads in a row, and how much of it tells it
_NAME = 36  # letters of a record's name in a row, so that what changed of it stands beside
_LINE = ("model", "before", "after")  # what a line has
_NAMING = (
    "code", "card", "card_version", "contract", "number", "project", "provider", "receiver", "user", "source", "connection",
    "role", "resource", "task", "entity", "kind", "external_id", "alias",
)  # fmt: skip  # by what a record is named that an older event tells without its name, the first three of these
_PROOFS = frozenset({"hash", "fingerprint", "plan", "digest"})  # what proves a decision, told after what it says
_CALLED = {"preview": "Dry-run", "hash": "Digest of what was submitted", "fingerprint": "Digest of the dry-run"}
LINKED = 20  # other decisions about the same object
VERIFIERS = frozenset({GrantRole.AUDITOR, GrantRole.CONTROLLER, GrantRole.ADMIN})


class AuditTable(Table):
    """One decision a row."""

    action = MainColumn(
        verbose_name="Decision", url=lambda row: reverse("audit_event", args=[row.pk]), second=lambda row: row.reason
    )
    object_name = TextColumn(verbose_name="About", wraps=True)
    change = TextColumn(verbose_name="What changed", accessor="pk", orderable=False, wraps=True)
    actor_name = TextColumn(verbose_name="Who")
    roles = TextColumn(verbose_name="As", orderable=False, wraps=True)
    entity = TextColumn(empty_values=())
    at = WhenColumn(verbose_name="When")
    id = TextColumn(verbose_name="Event", orderable=False)
    object_id = TextColumn(verbose_name="Object id", optional=True)
    request_id = TextColumn(verbose_name="Request", optional=True, mono=True)
    address = TextColumn(
        verbose_name="From address", accessor="seen_address", optional=True, orderable=False, mono=True
    )
    digest = TextColumn(verbose_name="Digest", optional=True, orderable=False, mono=True)

    def render_action(self, value: str, record: Any, bound_column: Any) -> SafeString:
        """The action in words, linked."""
        shown: SafeString = bound_column.column.render(in_words(value), record)
        return shown

    def render_object_name(self, value: str, record: Any) -> SafeString:
        """The object's name with its kind."""
        return format_html("{}<small>{}</small>", value[:160], noun_of(record.object_type))

    def value_object_name(self, value: str, record: Any) -> str:
        """The object's kind and name."""
        return f"{noun_of(record.object_type)} {value}"

    def render_entity(self, record: Any) -> str:
        """The entity, or the codes of several; nothing for what all of them share."""
        return self.value_entity(record) or figures.UNKNOWN

    def value_entity(self, record: Any) -> str:
        """The same for a file."""
        if record.entity is not None or not record.entities:
            return str(record.entity or "")
        return ", ".join(self._codes.get(pk, str(pk)) for pk in record.entities)

    @cached_property
    def _codes(self) -> dict[int, str]:
        return codes_of_entities()

    def render_at(self, value: Any, record: Any) -> SafeString:
        """The moment by UTC, and by the clocks of the entity."""
        return figures.stamp(value, record.entity.zone if record.entity else "UTC")

    def render_roles(self, value: str) -> str:
        """The roles in words."""
        return roles_in_words(value)

    def value_roles(self, value: str) -> str:
        """The same."""
        return roles_in_words(value)

    def render_change(self, record: Any) -> str:
        """The first fields that differ."""
        return summary_of(record)

    def value_change(self, record: Any) -> str:
        """Every field that differs."""
        return summary_of(record, most=1000)


def codes_of_entities() -> dict[int, str]:
    """The code of every entity."""
    return dict(LegalEntity.objects.values_list("pk", "code"))


def roles_in_words(stored: str) -> str:
    """Stored roles as people say them."""
    labels = dict(GrantRole.choices)
    return ", ".join(str(labels.get(role, role)) for role in stored.split(", ") if role)


class AuditScreen(ListScreen):
    """Every decision."""

    title = "Audit"
    queryset = AuditEvent.objects.select_related("entity").order_by("-pk")
    filterset = AuditFilter
    table = AuditTable
    template_name = "audit/list.html"
    primary = ("actor", "kind", "since", "until", "text")
    tabs = (
        Tab("all", "All"),
        Tab("mine", "Mine", lambda user: Q(actor=user)),
        Tab("people", "By people", lambda _user: Q(actor__isnull=False)),
        Tab("system", "By the system", lambda _user: Q(actor=None)),
    )
    caption = "Decisions, latest first"
    empty = Empty("No decision has been recorded yet", "Every decision of a person leaves one event here, for good.")

    def rows(self) -> QuerySet[Any]:
        """The events; where a request came from is shown to those who may prove the chain."""
        seen = F("address") if self.may_verify() else Value("")
        events: QuerySet[Any] = super().rows().annotate(seen_address=seen)
        return events

    def buttons(self) -> list[tuple[str, str]]:
        """The way to the auditor's pack, for those who may have one."""
        return [("Auditor's pack", reverse("audit_pack"))] if self.may_verify() else []

    def headline(self) -> str:
        """What an event is."""
        return "One event per decision, appended and chained: a changed or removed event breaks the chain at its place."

    def may_verify(self) -> bool:
        """Whether this person may have the chain walked."""
        return bool(VERIFIERS & roles_of(self.request))

    def last_proof(self) -> AuditEvent | None:
        """When the chain was last walked."""
        return audit.last_proof()


@dataclass(frozen=True, slots=True)
class Change:
    """One field before and after, as text."""

    name: str
    before: str
    after: str

    @property
    def differs(self) -> bool:
        """Whether the decision changed it."""
        return self.before != self.after


def changes_of(before: Any, after: Any) -> list[Change]:
    """What a decision changed, field by field; of several records, each field with the record that it is of.

    Values that are no fields are one change without a name.
    """
    if (
        (before or after)
        and _are_records(before)
        and _are_records(after)
        and len(before or after) == len(after or before)
    ):
        sides = zip(before or [None] * len(after), after or [None] * len(before), strict=True)
        return [
            Change(f"{_name_of(was or now, number)}: {change.name.lower()}", change.before, change.after)
            for number, (was, now) in enumerate(sides, 1)
            for change in changes_of(was, now)
            if change.differs
        ]
    if not isinstance(before, dict | None) or not isinstance(after, dict | None):
        return [Change("", as_text(before), as_text(after))]
    lines = governed_lines(after)
    names = list(dict.fromkeys([*(before or {}), *(after or {})]))
    told = [
        Change(_words(name), _as_said(name, (before or {}).get(name)), _as_said(name, (after or {}).get(name)))
        for name in sorted(names, key=_PROOFS.__contains__)
        if name != LINES or not lines
    ]
    return told + [
        Change(f"{_line_name(line)}: {change.name.lower()}", change.before, change.after)
        for line in lines
        for change in changes_of(line["before"], line["after"])
        if change.differs
    ]


def _as_said(name: Any, value: Any) -> str:
    """A stored value in words; a dry-run as what it says."""
    return previews.sentence(value) if name == "preview" and previews.is_preview(value) else as_text(value)


def governed_lines(after: Any) -> list[dict[str, Any]]:
    """The lines of a change set that an event tells, each a record before and after; none of an event about something else."""
    lines = after.get(LINES) if isinstance(after, dict) else None
    told = isinstance(lines, list) and all(isinstance(line, dict) and {*_LINE} <= {*line} for line in lines)
    return lines if told and lines else []


def _line_name(line: dict[str, Any]) -> str:
    """What a line is about: its kind, and what the record is called."""
    record = line["after"] or line["before"] or {}
    named = line.get("record") or " · ".join([str(record[name]) for name in _NAMING if record.get(name)][:3])
    return f"{str(line['model']).replace('_', ' ')} {named}".strip()


def _line_said(line: dict[str, Any]) -> str:
    """A line in a few words: from what to what, or that the record came or went."""
    if not line["before"] or not line["after"]:
        return f"{_line_name(line)} {'added' if line['after'] else 'taken out'}"
    differing = [one for one in changes_of(line["before"], line["after"]) if one.differs]
    told = [f"{one.name.lower()} {one.before or 'nothing'} → {one.after or 'nothing'}" for one in differing[:SHOWN]]
    name = _line_name(line)
    if len(name) > _NAME:
        name = f"{name[: _NAME - 1].rstrip(' ·')}…"
    return f"{name}: {', '.join(told)}{' …' if len(differing) > SHOWN else ''}"


def _are_records(value: Any) -> bool:
    """Whether a stored value is a list of records, of which some may have been missing then."""
    return value is None or (isinstance(value, list) and all(isinstance(one, dict | None) for one in value))


def _name_of(record: dict[str, Any] | None, number: int) -> str:
    """What a record is called in one word: its code, else its name, else its place among the others."""
    said = next((record[name] for name in ("code", "name") if (record or {}).get(name)), None) if record else None
    if said is None and record:
        said = " ".join(str(record[name]) for name in _NAMING if record.get(name)) or None
    return str(said) if said else f"Line {number}"


def _words(name: Any) -> str:
    return _CALLED.get(str(name), str(name).replace("_", " ").capitalize())


def summary_of(event: AuditEvent, most: int = SHOWN) -> str:
    """What a decision changed, in one line: the first fields that differ, and how many more there are."""
    if lines := governed_lines(event.after):
        told, more = [_line_said(line) for line in lines[:most]], max(len(lines) - most, 0)
    else:
        differing = [change for change in changes_of(event.before, event.after) if change.differs]
        if most == SHOWN and isinstance(event.after, dict):
            proofs = {_words(name) for name in _PROOFS}
            differing = [change for change in differing if change.name not in proofs] or differing
        told = [
            f"{change.name or 'Value'}: {f'{change.before} → ' if change.before else ''}{change.after or 'nothing'}"
            for change in differing[:most]
        ]
        more = len(differing) - len(told)
    if most == SHOWN:
        told = [_DIGEST.sub(lambda found: f"{found.group()[:_DIGITS]}…", one) for one in told]
    text = "; ".join(
        one if len(one) <= LONGEST or most > SHOWN else f"{one[:LONGEST].rsplit(' ', 1)[0]} …" for one in told
    )
    return f"{text}; and {more} more" if more else text


def as_text(value: Any) -> str:
    """A stored value as a person reads it; nothing stays empty."""
    if value is None or value in ("", {}, []):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int):
        return str(value)
    if isinstance(value, list):
        if not any(isinstance(one, dict | list) for one in value):
            return ", ".join(as_text(one) or "nothing" for one in value)
        return " · ".join(f"{number}. {as_text(one) or 'nothing'}" for number, one in enumerate(value, 1))
    if isinstance(value, dict):
        told = ((str(name).replace("_", " "), one) for name, one in value.items() if one not in ("", {}, []))
        return "; ".join(
            f"{name} ({as_text(one)})" if isinstance(one, dict | list) else f"{name} {as_text(one) or 'nothing'}"
            for name, one in told
        )
    return json.dumps(value, ensure_ascii=False, default=str)


class EventScreen(DetailScreen):
    """One decision: who, when, why, and what it changed."""

    queryset = AuditEvent.objects.select_related("entity", "actor")
    template_name = "audit/event.html"
    object: AuditEvent

    def heading(self) -> str:
        """The action in words."""
        return in_words(self.object.action)

    def context(self, **more: Any) -> dict[str, Any]:
        """The change, other decisions about the same object, and the links of the chain on both sides."""
        event = self.object
        seen = AuditEvent.objects.visible_to(self.request.user)
        codes = codes_of_entities() if event.entities else {}
        linked = seen.filter(object_type=event.object_type, object_id=event.object_id).exclude(pk=event.pk)
        return super().context(
            **more,
            several=", ".join(codes.get(pk, str(pk)) for pk in event.entities),
            changes=changes_of(event.before, event.after) if (event.before or event.after) else [],
            history=address_of(self.request.user, event.object_type, event.object_id),
            linked=[(one, in_words(one.action)) for one in linked.order_by("-pk")[:LINKED]],
            is_untouched=audit.is_untouched(event),
            noun=noun_of(event.object_type),
            roles=roles_in_words(event.roles),
            address=event.address if VERIFIERS & roles_of(self.request) else "",
            raw=json.dumps({"before": event.before, "after": event.after}, indent=2, ensure_ascii=False),
            previous=seen.filter(pk__lt=event.pk).order_by("-pk").first(),
            following=seen.filter(pk__gt=event.pk).order_by("pk").first(),
        )


class ProofForm(forms.Form):
    """Which part of the chain is walked, and a head that somebody noted."""

    since = forms.DateField(required=False, label="From", widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(required=False, label="To", widget=forms.DateInput(attrs={"type": "date"}))
    noted = forms.RegexField(
        r"^\s*[0-9a-fA-F]{64}\s*$", required=False, label="Head noted before",
        help_text="64 digits that somebody kept outside of this system. They must still be in the chain.",
    )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        """The range begins before it ends."""
        cleaned = super().clean() or {}
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and until and until < since:
            self.add_error("until", f"The range ends before it begins on {since}.")
        return cleaned


class VerifyScreen(Screen):
    """Walk the chain or a part of it, and say whether it holds."""

    title = "The chain of decisions"
    template_name = "audit/verified.html"
    roles = VERIFIERS

    def get(self, request: HttpRequest) -> HttpResponseBase:
        """What verifying means, the range, and the button."""
        return self.page(self.context(walk=None, form=ProofForm(), last=audit.last_proof()))

    def post(self, request: HttpRequest) -> HttpResponseBase:
        """Walk it, and write down that it was walked."""
        form = ProofForm(request.POST)
        if not form.is_valid():
            context = self.context(walk=None, form=form, last=audit.last_proof())
            return self.page(context, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        said = form.cleaned_data
        walk = audit.prove(cast("User", request.user), said["since"], said["until"], noted=said["noted"])
        return self.page(
            self.context(walk=walk, form=form, last=audit.last_proof(), shown=walk.problems[:200], at=timezone.now())
        )
