"""The form of a connection, made from what its connector declares, and the change set lines that it says.

The rule here: the form knows no vendor. A secret is typed and never shown: an empty field keeps what is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django import forms
from django.core import signing
from django.forms import BoundField

from integrations import abilities, vault
from integrations.models import Stream
from integrations.protocol import ConnectorType, Setting, holds_hints
from integrations.views.form_parts import Section, Unseen, place_of
from integrations.views.setting_fields import Needed, as_json, setting_field, table_of, told
from portal import field_owners
from portal.access import CONFIGURERS
from portal.importing.problems import Unreadable
from portal.models import Connection, LegalEntity, User
from portal.models.access import entities_held
from portal.records import PublishedKind
from reconciliation import publishing

ROLE_LABELS = {
    "source": "Source: hours, expenses or master data come from it",
    "target": "Target: hours and expenses are booked there",
    "recipient": "Recipient: it is told master data",
    "biller": "Biller: invoice drafts are handed to it",
}
CONCURRENCY = "concurrency"  # of the account, which some connectors declare as a setting as well
TOLD = {"provisions": publishing.PROVISIONED, "subscribes": publishing.SUBSCRIBED}
TOLD_LABELS = {"provisions": "Master data that is made there", "subscribes": "Master data that it is told"}
EVERY = (
    ("0", "only by hand or by webhook"), ("300", "every 5 minutes"), ("900", "every 15 minutes"), ("3600", "every hour"),
    ("21600", "every 6 hours"), ("86400", "every day"),
)  # fmt: skip
USUAL = "900"
OFTEN = ("60", "every minute")  # of what says that something moved


class ConnectionForm(forms.Form):
    """A connection in its connector's own terms."""

    use_required_attribute = False  # what is missing is said by whoever checks the connection, with everything else

    def __init__(
        self, *args: Any, kind: ConnectorType, person: User, connection: Connection | None = None, **more: Any
    ) -> None:
        self.kind, self.person, self.connection = kind, person, connection
        self.sealed: dict[
            str, int
        ] = {}  # secrets that were typed, here or before a test, by the number they are kept under
        self.is_test = False
        self.offers = abilities.offered(kind.name)
        self.standing_streams = (
            {stream.name: stream for stream in Stream.objects.filter(connection=connection)} if connection else {}
        )
        super().__init__(*args, **more)
        self.fields |= {
            **self._account(), **self._roles(), **self._settings(), **self._secrets(), **self._streams(), **self._further(),
            "reason": forms.CharField(
                label="Why", widget=forms.Textarea(attrs={"rows": 2}), max_length=2000,
                help_text="Who approves it reads this.",
            ),
        }  # fmt: skip

    # The fields

    def _account(self) -> dict[str, forms.Field]:
        stands = self.connection
        held = entities_held(self.person, CONFIGURERS)
        entities, choices = LegalEntity.objects.order_by("code"), []
        if None in held:
            choices = [("", "every entity: it is shared")]
        else:
            entities = entities.filter(pk__in=[one for one in held if one is not None])
        choices += [(one.code, f"{one.code} · {one.name}") for one in entities]
        code = forms.CharField(
            label="Code", max_length=60, initial=stands.code if stands else "", disabled=stands is not None,
            help_text="Short and for good: letters, digits and hyphens, as harvest-us.",
        )  # fmt: skip
        return {
            "code": code,
            "name": forms.CharField(label="Name", max_length=120, initial=stands.name if stands else ""),
            "entity": forms.ChoiceField(
                label="Entity", choices=choices, required=False,
                initial=(stands.entity.code if stands.entity else "") if stands else "",
                help_text="Whose documents it brings. A target may be shared.",
            ),
            "base_url": forms.CharField(
                label="Address", max_length=500, required=False, initial=stands.base_url if stands else _address(self.kind),
                help_text=str(getattr(self.kind, "address_help", "Where the vendor answers, or the folder.")),
            ),
            "realm": forms.CharField(
                label="Account at the vendor", max_length=120, required=False, initial=stands.realm if stands else "",
                help_text=f"{getattr(self.kind, 'realm_help', 'The account, company or workspace.')} Mappings belong to it.",
            ),
            "zone": forms.CharField(label="Time zone", max_length=60, initial=stands.zone if stands else "UTC"),
            "cut_over_on": forms.CharField(
                label="Cut-over", required=False, widget=forms.DateInput(attrs={"type": "date"}),
                initial=stands.cut_over_on.isoformat() if stands and stands.cut_over_on else "",
                help_text="Work before this day is history and never posted.",
            ),
            "concurrency": forms.CharField(
                label="Calls at once", initial=str(stands.concurrency if stands else self._usual_calls()),
                widget=forms.NumberInput, help_text="Leave some of the account's calls to others.",
            ),
            "active": forms.ChoiceField(
                label="Used", choices=(("true", "yes"), ("false", "no: nothing goes through it")),
                initial="true" if stands is None or stands.is_active or self._never_signed_in() else "false",
            ),
        }  # fmt: skip

    def _never_signed_in(self) -> bool:
        """Whether it came without what it signs in with, and waits for it."""
        return not self.places and any(one.secret and one.required for one in self.kind.settings)

    def _usual_calls(self) -> int:
        return next((int(one.default) for one in self.kind.settings if one.name == CONCURRENCY), 1)

    def _roles(self) -> dict[str, forms.Field]:
        stands = self.connection
        found: dict[str, forms.Field] = {}
        for role in self.offers.halves:
            initial = getattr(stands, f"is_{role}") if stands else len(self.offers.halves) == 1
            found[role] = forms.BooleanField(label=ROLE_LABELS[role], required=False, initial=initial)
        for name, kinds in TOLD.items():
            taken = [str(one) for one in kinds if str(one) in self.offers.takes]
            if taken:
                found[name] = forms.MultipleChoiceField(
                    label=TOLD_LABELS[name], required=False, choices=[(one, _words(PublishedKind(one))) for one in taken],
                    widget=forms.CheckboxSelectMultiple, initial=list(self.stored.get(name, ())),
                )  # fmt: skip
        return found

    @property
    def stored(self) -> Mapping[str, Any]:
        """The settings as they stand."""
        return self.connection.settings if self.connection else {}

    def _settings(self) -> dict[str, forms.Field]:
        return {f"setting-{one.name}": setting_field(one, self.stored.get(one.name)) for one in self._asked()}

    def _asked(self) -> Iterator[Setting]:
        """The settings that have a field of their own; how many calls go at once is asked with the account."""
        return (one for one in self.kind.settings if not one.secret and one.name != CONCURRENCY)

    @property
    def read(self) -> tuple[str, ...]:
        """The streams that the connector can read."""
        return tuple(getattr(self.kind, "streams", ()))

    def _secrets(self) -> dict[str, forms.Field]:
        found: dict[str, forms.Field] = {}
        for one in self.kind.settings:
            if not one.secret:
                continue
            place = self.places.get(one.name)
            where = vault.said(place, self.connection.code, one.name) if place and self.connection else ""
            stands = f"It is {where}; leave this empty to keep it." if where else one.help
            typed = Unseen(attrs={"rows": 3, **_UNSEEN}) if one.long else forms.PasswordInput(attrs=_UNSEEN)
            if vault.is_open():
                field = Needed if one.required and not where else forms.CharField
                found[f"secret-{one.name}"] = field(
                    label=one.label, required=field is Needed, widget=typed, help_text=stands, strip=False
                )
            found[f"place-{one.name}"] = forms.CharField(
                label=f"{one.label} lies in" if not vault.is_open() else "or it lies in", required=False,
                help_text="" if vault.is_open() else stands,
                widget=forms.TextInput(attrs={"placeholder": "env:VARIABLE or file:/run/secrets/name", **_UNSEEN}),
            )  # fmt: skip
        return found

    @property
    def places(self) -> Mapping[str, Any]:
        """Where the credentials lie now."""
        return self.connection.credentials if self.connection else {}

    def _streams(self) -> dict[str, forms.Field]:
        found: dict[str, forms.Field] = {}
        for name in self.read:
            stands = self.standing_streams.get(name)
            is_hints = holds_hints(self.kind, name)
            now = str(stands.every_seconds) if stands else ("" if self.connection or is_hints else USUAL)
            choices = [
                *(() if stands else (("", "not read"),)),
                *EVERY[:1],
                *((OFTEN,) if is_hints else ()),
                *EVERY[1:],
            ]
            if now not in dict(choices):
                choices.append((now, f"every {now} seconds"))
            found[f"stream-{name}"] = forms.ChoiceField(
                label=_words(name), choices=choices, required=False, initial=now, help_text=_HINTS if is_hints else ""
            )  # fmt: skip
        return found

    def _further(self) -> dict[str, forms.Field]:
        apart = {one.name for one in self.kind.settings} | TOLD.keys() | {"owns"}
        rest = {name: value for name, value in self.stored.items() if name not in apart}
        return self._owns() | {
            "further": forms.CharField(
                label="Further settings", required=False, initial=as_json(rest) if rest else "",
                widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
                help_text="A table in JSON: seconds to wait (read_timeout), what a target demands.",
            )
        }  # fmt: skip

    def _owns(self) -> dict[str, forms.Field]:
        """Whose word counts, kind by kind and field by field, for what a source tells of master data."""
        if "source" not in self.offers.halves:
            return {}
        choices = [
            (
                _words(kind),
                [
                    (str(kind), "all of it: it makes and ends them"),
                    *((f"{kind}.{one}", _words(one)) for one in sorted(fields)),
                ],
            )
            for kind, fields in field_owners.FIELDS.items()
        ]
        return {
            "owns": forms.MultipleChoiceField(
                label="It has the say in", required=False, choices=choices, initial=list(self.stored.get("owns", ())),
                widget=forms.CheckboxSelectMultiple,
                help_text="What no system owns is kept here; what it says of other fields is heard and not taken.",
            )
        }  # fmt: skip

    # How they are laid out

    def sections(self) -> Iterator[Section]:
        """The fields in the order in which a person thinks of them."""
        yield Section("Account", self._bound(*self._account()))
        yield Section("What it is used for", self._bound(*self._roles()))
        if secrets := [name for name in self.fields if name.startswith(("secret-", "place-"))]:
            yield Section("Credentials", self._bound(*secrets), "What you type is sealed and never shown again.")
        needed = [f"setting-{one.name}" for one in self.kind.settings if one.required and not one.secret]
        if needed:
            yield Section("Settings that it needs", self._bound(*needed))
        if streams := [name for name in self.fields if name.startswith("stream-")]:
            yield Section("What is read, and how often", self._bound(*streams))
        if "owns" in self.fields:
            yield Section("Which fields of master data it owns", self._bound("owns"), is_optional=True)
        assumed = [f"setting-{one.name}" for one in self._asked() if one.replaces]
        apart = {*needed, *assumed}
        usual = [name for name in self.fields if name.startswith("setting-") and name not in apart]
        yield Section("Settings that may stay as usual", self._bound(*usual, "further"), is_optional=True)
        if assumed:
            yield Section(f"What is assumed of {self.offers.title}", self._bound(*assumed), is_optional=True)
        yield Section("", self._bound("reason"))

    def _bound(self, *names: str) -> list[BoundField]:
        return [self[name] for name in names]

    # What they say

    def clean(self) -> dict[str, Any]:
        """Read tables and places; what the connection itself may hold is checked where a change set is."""
        given = super().clean() or {}
        for one in self.kind.settings:
            if one.secret:
                self._check_place(one, given)
        for one in self._asked():
            self._check_setting(one, given)
        try:
            given["further"] = table_of(given.get("further", ""))
        except Unreadable as wrong:
            self.add_error("further", str(wrong))
        return given

    def _check_setting(self, one: Setting, given: dict[str, Any]) -> None:
        """What a setting is told; for a test against what the connector declares, as a proposal is where it is written."""
        name, typed = f"setting-{one.name}", given.get(f"setting-{one.name}", "")
        try:
            value = given[name] = told(one, typed, self.stored.get(one.name))
        except Unreadable as wrong:
            self.add_error(name, str(wrong))
            return
        if self.is_test and value is not None and (objection := one.objection(value)):
            self.add_error(name, f"“{str(typed).strip()[:60]}” {objection}")

    def know(self, fields: Mapping[str, Sequence[str]]) -> None:
        """The fields that the account has, as it told a test: each word chooses from them, and what is none of them is named."""
        for one in self._asked():
            known, name = fields.get(one.name, ()), f"setting-{one.name}"
            if not one.words or not known:
                continue
            there, said = {each.casefold() for each in known}, self.cleaned_data.get(name) or {}
            wrong = {word: field for word, field in said.items() if field and field.casefold() not in there}
            self.fields[name].widget.known, self.fields[name].widget.wrong = tuple(known), tuple(wrong)
            for word, field in wrong.items():
                self.add_error(name, f"{word.replace('_', ' ').capitalize()}: the account has no field “{field}”.")

    def _check_place(self, one: Setting, given: Mapping[str, Any]) -> None:
        place = given.get(f"place-{one.name}", "")
        if place and place_of(place) is None:
            self.add_error(
                f"place-{one.name}", f"“{place}” names no place; expected env:VARIABLE or file:/run/secrets/name."
            )
        if place and given.get(f"secret-{one.name}"):
            self.add_error(f"place-{one.name}", "Type the secret, or say where it lies; not both.")

    def settings_given(self) -> dict[str, Any]:
        """The settings as the connection keeps them; what is empty falls to its default."""
        given = self.cleaned_data
        found = dict(given["further"])
        for one in self._asked():
            value = given[f"setting-{one.name}"]
            if value not in (None, ""):
                found[one.name] = value
        if any(one.name == CONCURRENCY for one in self.kind.settings) and given["concurrency"].isdecimal():
            found[CONCURRENCY] = int(given["concurrency"])
        return found | {name: list(given[name]) for name in (*TOLD, "owns") if given.get(name)}

    def typed(self) -> dict[str, str]:
        """The secrets that were typed, by name."""
        given = self.cleaned_data
        names = [one.name for one in self.kind.settings if one.secret]
        return {name: given[f"secret-{name}"].strip() for name in names if given.get(f"secret-{name}", "").strip()}

    def seal_typed(self) -> None:
        """Keep what was typed; sealed, it does nothing until a connection names it. What was sealed before is still good.

        So nothing is typed twice, neither after a test nor after a form that was not complete. Without a code there is nothing
        to keep it under.
        """
        code = self.cleaned_data.get("code", "")
        if not code:
            return
        self.sealed = self._carried(code)
        for name, value in self.typed().items():
            self.sealed[name] = vault.keep(code, name, value, self.person).pk

    def _carried(self, code: str) -> dict[str, int]:
        """What this person sealed by a test within the hour; sealed anew where the code is another one since."""
        try:
            who, what, kept = signing.loads(self.data.get("carried", ""), salt=CARRIED, max_age=CARRIED_SECONDS)
        except (signing.BadSignature, ValueError):
            return {}
        if who != self.person.pk:
            return {}
        if what == code:
            return dict(kept)
        return {
            name: vault.keep(code, name, vault.read(number, what, name), self.person).pk
            for name, number in kept.items()
        }

    def carried_on(self) -> str:
        """What was sealed, signed for the next request; empty where nothing was."""
        code = self.cleaned_data.get("code", "") if self.is_bound else ""
        return signing.dumps([self.person.pk, code, self.sealed], salt=CARRIED) if self.sealed else ""

    def places_given(self) -> dict[str, Any]:
        """Where the credentials that were not typed lie: as said, or as they stand."""
        found = dict(self.places)
        for one in self.kind.settings:
            if one.secret and (place := place_of(self.cleaned_data.get(f"place-{one.name}", ""))):
                found[one.name] = place
        return found

    def account_given(self) -> dict[str, Any]:
        """The other fields, as the lines of a change set have them."""
        given = self.cleaned_data
        plain = ("code", "name", "entity", "base_url", "realm", "zone", "cut_over_on", "concurrency", "active")
        roles = {role: "true" if given.get(role) else "false" for role in ROLE_LABELS}
        return {**{name: given[name] for name in plain}, "connector": self.kind.name, **roles}

    def schedules(self) -> dict[str, str]:
        """Streams whose schedule is new or differs from what stands: seconds as text."""
        found = {}
        for name in self.read:
            every, stands = self.cleaned_data[f"stream-{name}"], self.standing_streams.get(name)
            if (
                every != ""
                and self.cleaned_data.get("source")
                and (stands is None or str(stands.every_seconds) != every)
            ):
                found[name] = every
        return found


CARRIED, CARRIED_SECONDS = "connection-form", 3600
_HINTS = "It says what moved in the others, which is read at once; without it, they are read by their schedules."
_UNSEEN = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}


def _address(kind: ConnectorType) -> str:
    hosts: tuple[str, ...] = tuple(getattr(kind, "hosts", None) or ())
    return next((f"https://{host}" for host in hosts if host.startswith("api.")), "")


def _words(name: str) -> str:
    return str(name).replace("_", " ").replace("-", " ").capitalize()
