"""What a person sets for themselves: keys, rows, times, what they are told and how, and how their files are written.

The rule here: every section is a form of its own and keeps only what it asks. What decides whether and how a person is told
about money, and how figures leave the portal, is written into the audit trail; taste is not.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db import transaction
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse

from portal import audit, export, notifications
from portal.models import NotificationKind, User
from portal.screens import Screen, saved
from portal.screens.base import DENSITIES, THEME_COOKIE, THEMES, TIMES
from portal.screens.keyboard import KEYS, clashes, keymap, mistake, spoken
from portal.views.shell import YEAR, person_of
from portal.views.tokens import holding


class Section(forms.Form):
    """One part of the page. `read` gives what stands, `keep` the preferences with what was said."""

    slug: str
    title: str
    help = ""
    audited = False

    @classmethod
    def read(cls, preferences: dict[str, Any]) -> dict[str, Any]:
        """What the form shows first."""
        return preferences

    def keep(self, preferences: dict[str, Any]) -> dict[str, Any]:
        """The preferences with this section's answers."""
        return {**preferences, **self.cleaned_data}


class Appearance(Section):
    """Theme, density and times."""

    slug, title = "appearance", "Appearance"
    theme = forms.ChoiceField(choices=[("system", "As the system"), ("light", "Light"), ("dark", "Dark")])
    density = forms.ChoiceField(
        choices=[("comfortable", "Comfortable, 40 px"), ("compact", "Compact, 32 px")], label="Rows"
    )
    time = forms.ChoiceField(
        choices=[("relative", "As distance: 4 min ago"), ("absolute", "As date and time: 27 Nov 2026 03:10")],
        label="Moments",
        help_text="Ages and durations, such as 57 d, stay lengths of time either way. Paper always has date and time.",
    )

    @classmethod
    def read(cls, preferences: dict[str, Any]) -> dict[str, Any]:
        """What is chosen, or the defaults."""
        return {"theme": THEMES[0], "density": DENSITIES[0], "time": TIMES[0], **preferences}


class Notifications(Section):
    """What a person is told, and how."""

    slug, title, audited = "notifications", "Notifications", True
    help = "Everything stands in your inbox on the site. A mail gathers it: there is never one mail for each thing."
    mail = forms.ChoiceField(choices=notifications.MAIL_CHOICES, label="E-mail")
    urgent_at_once = forms.BooleanField(
        required=False, label="Do not wait with what is escalated, or with an operation that is held up"
    )
    kinds = forms.MultipleChoiceField(
        choices=NotificationKind.choices, required=False, label="Tell me when", widget=forms.CheckboxSelectMultiple
    )

    @classmethod
    def read(cls, preferences: dict[str, Any]) -> dict[str, Any]:
        """What is wished, or the defaults."""
        held = notifications.wishes(preferences)
        on = [kind for kind in NotificationKind.values if kind not in held.kinds_off]
        return {"mail": held.mail, "urgent_at_once": held.urgent_at_once, "kinds": on}

    def keep(self, preferences: dict[str, Any]) -> dict[str, Any]:
        """Kept as what is off, so that a kind that comes later is on."""
        said = self.cleaned_data
        off = sorted(set(NotificationKind.values) - set(said["kinds"]))
        held = {"mail": said["mail"], "urgent_at_once": said["urgent_at_once"], "kinds_off": off}
        return {**preferences, "notifications": held}


class Files(Section):
    """How CSV is written."""

    slug, title, audited = "files", "Exports as CSV", True
    help = "As your spreadsheet reads it. Excel files need no such choice."
    delimiter = forms.ChoiceField(
        choices=[("comma", "Comma"), ("semicolon", "Semicolon"), ("tab", "Tab")], label="Between cells"
    )
    decimal = forms.ChoiceField(
        choices=[("point", "Point: 1234.50"), ("comma", "Comma: 1234,50")], label="Decimal sign"
    )

    @classmethod
    def read(cls, preferences: dict[str, Any]) -> dict[str, Any]:
        """What is chosen, or the common way."""
        own = export.dialect(preferences)
        return {
            "delimiter": next(name for name, sign in export.DELIMITERS.items() if sign == own.delimiter),
            "decimal": next(name for name, sign in export.DECIMALS.items() if sign == own.decimal),
        }

    def clean(self) -> dict[str, Any]:
        """A figure may not fall apart into two cells."""
        data = super().clean() or {}
        if data.get("delimiter") == data.get("decimal") == "comma":
            self.add_error("decimal", "The comma cannot be both: put a semicolon or a tab between cells.")
        return data

    def keep(self, preferences: dict[str, Any]) -> dict[str, Any]:
        """Under a name of their own."""
        return {**preferences, "csv": self.cleaned_data}


SECTIONS: tuple[type[Section], ...] = (Appearance, Notifications, Files)


class SettingsScreen(Screen):
    """All of it on one page; each section is saved by itself."""

    title = "Settings"
    template_name = "settings.html"

    def get(self, request: HttpRequest) -> HttpResponseBase:
        """The page."""
        return self.page(self.shown(person_of(request)))

    def post(self, request: HttpRequest) -> HttpResponseBase:
        """Keep one section."""
        chosen = next((one for one in SECTIONS if one.slug == request.POST.get("section")), None)
        if chosen is None:
            raise BadRequest("There is no such section of the settings.")
        user = person_of(request)
        form = chosen(request.POST, prefix=chosen.slug)
        if not form.is_valid():
            return self.page(self.shown(user, form), status=HTTPStatus.UNPROCESSABLE_ENTITY)
        save(user, form)
        messages.success(request, f"{form.title}: saved.")
        answer = HttpResponseRedirect(f"{reverse('settings')}#{form.slug}", status=HTTPStatus.SEE_OTHER)
        if "theme" in form.cleaned_data:
            answer.set_cookie(
                THEME_COOKIE, form.cleaned_data["theme"], max_age=YEAR, secure=request.is_secure(), httponly=True,
                samesite="Lax",
            )  # fmt: skip
        return answer

    def shown(self, user: User, bound: Section | None = None) -> dict[str, Any]:
        """The sections, one of them as it was just filled in."""
        sections = [
            bound
            if bound is not None and type(bound) is one
            else one(initial=one.read(user.preferences), prefix=one.slug)
            for one in SECTIONS
        ]
        own = len(user.preferences.get("keys", {}))
        return self.context(
            sections=sections,
            own_keys=own,
            keys_off=bool(user.preferences.get("keyboard_off")),
            address=user.email,
            openings=saved.openings(user),
            tokens_held=holding(user),
        )


def save(user: User, form: Section) -> None:
    """Write one section into the person's preferences, and into the audit trail where it matters."""
    with transaction.atomic():
        locked = User.objects.select_for_update().get(pk=user.pk)
        before = form.read(locked.preferences)
        locked.preferences = form.keep(locked.preferences)
        locked.save(update_fields=["preferences"])
        after = form.read(locked.preferences)
        if form.audited and before != after:
            audit.record(user, f"settings.{form.slug}", locked, before=before, after=after)
        if isinstance(form, Notifications):
            notifications.reschedule(locked)


class KeyboardForm(forms.Form):
    """One key per action, and the off switch."""

    keyboard_off = forms.BooleanField(required=False, label="Switch single-key shortcuts off")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for key in KEYS:
            self.fields[key.action] = forms.CharField(
                label=key.label + (f", then {key.then}" if key.then else ""),
                required=False,
                max_length=10,
                strip=False,
                help_text=f"Otherwise {' or '.join(map(spoken, key.keys))}",
                widget=forms.TextInput(
                    attrs={"data-key-field": "", "autocomplete": "off", "autocapitalize": "off", "spellcheck": "false"}
                ),
            )

    def clean(self) -> dict[str, Any]:
        """No key may do two things, and none that the browser needs."""
        data = super().clean() or {}
        own = {key.action: data.get(key.action, "") for key in KEYS if data.get(key.action, "")}
        wrong = {action: mistake(key) for action, key in own.items() if mistake(key)}
        for action, sentence in (wrong or clashes(own)).items():
            self.add_error(action, sentence)
        return data


class KeyboardScreen(Screen):
    """Where a person changes keys or switches them off."""

    title = "Keyboard"
    template_name = "keyboard.html"

    def get(self, request: HttpRequest) -> HttpResponseBase:
        """The table of keys."""
        held = person_of(request).preferences
        return self.shown(
            KeyboardForm(initial={**held.get("keys", {}), "keyboard_off": held.get("keyboard_off", False)})
        )

    def post(self, request: HttpRequest) -> HttpResponseBase:
        """Keep the person's own keys, or go back to the common ones."""
        user = person_of(request)
        if request.POST.get("reset"):
            user.preferences = {
                name: value for name, value in user.preferences.items() if name not in ("keys", "keyboard_off")
            }
            said = "Every key is as it was at first."
        else:
            form = KeyboardForm(request.POST)
            if not form.is_valid():
                return self.shown(form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
            own = {key.action: form.cleaned_data[key.action] for key in KEYS if form.cleaned_data[key.action]}
            own = {action: key for action, key in own.items() if [key] != keymap({})[action]}
            user.preferences = {**user.preferences, "keys": own, "keyboard_off": form.cleaned_data["keyboard_off"]}
            said = "The keyboard is set."
        user.save(update_fields=["preferences"])
        messages.success(request, said)
        return HttpResponseRedirect(reverse("keyboard"), status=HTTPStatus.SEE_OTHER)

    def shown(self, form: KeyboardForm, status: int = HTTPStatus.OK) -> HttpResponseBase:
        """The form, its fields in the groups of the sheet."""
        groups: dict[str, list[Any]] = {}
        for key in KEYS:
            groups.setdefault(key.group, []).append(form[key.action])
        return self.page(self.context(form=form, groups=list(groups.items())), status=status)
