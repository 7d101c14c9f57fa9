"""Saved views of a list: kept, shared, chosen by `?view=slug`, and opened by V and a digit.

The rule here: a view is a name for an address and for nothing else. Whoever opens it sees their own rows; who shares one holds
a role that configures the entity it is shared in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.db import transaction
from django.http import QueryDict
from django.urls import NoReverseMatch, resolve, reverse
from django.utils.text import slugify

from portal import access, audit
from portal.models import LegalEntity, SavedView
from portal.screens.arranging import kept_for

NO_VIEW = "none"  # the slug of the list as it is without a view
DIGITS = 9
KEPT = 40  # own views of one list
LONGEST_QUERY = 2000  # characters; a filter that was cut would show other rows
EVERYBODY, ONLY_ME = "everybody", ""


@dataclass(frozen=True, slots=True)
class ViewLink:
    """A view as the menu shows it. `token` is its slug, with its number where another view has the same."""

    view: SavedView
    token: str
    digit: int | None
    is_mine: bool
    is_default: bool


def links(user: Any, screen: str, default: str) -> list[ViewLink]:
    """The views of a list that a person may open: their own first, then the shared ones."""
    found = list(SavedView.objects.visible_to(user).filter(screen=screen).select_related("entity", "owner"))
    found.sort(key=lambda view: (view.owner_id != user.pk, view.is_shared, view.name.casefold(), view.pk))
    seen: set[str] = set()
    made = []
    for position, view in enumerate(found, start=1):
        token = view.slug if view.slug not in seen else f"{view.slug}.{view.pk}"
        seen.add(view.slug)
        digit = position if position <= DIGITS else None
        made.append(ViewLink(view, token, digit, view.owner_id == user.pk, bool(default) and token == default))
    return made


def found(links_of: Sequence[ViewLink], token: str) -> ViewLink | None:
    """The view that an address names; None for one that is not there for this person."""
    return next((link for link in links_of if link.token == token), None)


def expand(view: SavedView, asked: QueryDict) -> QueryDict:
    """The address behind a view, with what the address itself says over it."""
    data = QueryDict(view.query, mutable=True)
    for name in asked:
        data.setlist(name, asked.getlist(name))
    data.pop("view", None)
    return data


@dataclass(frozen=True, slots=True)
class Opening:
    """How one list opens for a person: its title and address, and the view's name or nothing."""

    title: str
    url: str
    view: str


def openings(user: Any) -> list[Opening]:
    """The lists that a person may open with a view, by title, each with the view that it opens with."""
    made = []
    for screen in SavedView.objects.visible_to(user).order_by("screen").values_list("screen", flat=True).distinct():
        name, *values = screen.split(":")
        try:
            url = reverse(name, args=values)
        except NoReverseMatch:
            continue  # the list is no longer there, its views are
        default = kept_for(user.preferences, screen).get("view")
        chosen = found(links(user, screen, ""), default) if isinstance(default, str) else None
        title = resolve(url).func.view_class.title  # type: ignore[attr-defined]
        made.append(Opening(": ".join([title, *values]), url, chosen.view.name if chosen else ""))
    return sorted(made, key=lambda one: one.title)


class SaveForm(forms.Form):
    """A name, whom it is for, and whether the list opens with it."""

    name = forms.CharField(max_length=60, label="Name", widget=forms.TextInput(attrs={"autofocus": True}))
    share = forms.ChoiceField(required=False, label="For")
    default = forms.BooleanField(required=False, label="Open this list with it")

    def __init__(self, *args: Any, user: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.user = user
        self.entities = {
            entity.code: entity for entity in LegalEntity.objects.visible_to(user, roles=access.CONFIGURERS)
        }
        offered = [(ONLY_ME, "Only me")]
        offered += [(code, f"Everybody in {code}") for code in self.entities]
        if access.may(user, access.CONFIGURERS, None):
            offered.append((EVERYBODY, "Everybody"))
        field = self.fields["share"]
        if isinstance(field, forms.ChoiceField):
            field.choices = offered
        if len(offered) == 1:
            del self.fields["share"]

    def clean_name(self) -> str:
        """A name that can stand in an address."""
        name: str = self.cleaned_data["name"].strip()
        if not slugify(name, allow_unicode=True):
            raise forms.ValidationError("Use at least one letter or digit.")
        return name


@transaction.atomic
def keep(form: SaveForm, *, screen: str, query: str) -> SavedView:
    """Keep the view; one of the same name and owner is replaced. Raises ValidationError when there are too many."""
    user, name, share = form.user, form.cleaned_data["name"], form.cleaned_data.get("share", ONLY_ME)
    slug = slugify(name, allow_unicode=True)[:60]
    slug = f"{slug}-view" if slug == NO_VIEW else slug
    own = SavedView.objects.filter(owner=user, screen=screen)
    if own.count() >= KEPT and not own.filter(slug=slug).exists():
        raise forms.ValidationError(f"You keep {KEPT} views of this list already; delete one first.")
    if len(query) > LONGEST_QUERY:
        raise forms.ValidationError("The filter is too long to be kept: choose fewer values.")
    was = own.filter(slug=slug).first()
    view, _ = SavedView.objects.update_or_create(
        owner=user, screen=screen, slug=slug,
        defaults={
            "name": name, "query": query, "is_shared": share != ONLY_ME, "entity": form.entities.get(share),
        },
    )  # fmt: skip
    if view.is_shared or (was is not None and was.is_shared):
        _tell(user, "share-view" if view.is_shared else "unshare-view", view)
    return view


def may_delete(user: Any, view: SavedView) -> bool:
    """Its owner, or whoever may share in its entity."""
    return view.owner_id == user.pk or (view.is_shared and access.may(user, access.CONFIGURERS, view.entity_id))


@transaction.atomic
def delete(user: Any, view: SavedView) -> None:
    """Forget a view; one that was shared leaves word."""
    if view.is_shared:
        _tell(user, "delete-view", view)
    view.delete()


def _tell(user: Any, action: str, view: SavedView) -> None:
    audit.record(
        user, action, view, entity=view.entity_id, reason="", after={"screen": view.screen, "query": view.query}
    )
