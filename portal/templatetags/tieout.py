"""What templates need to write figures, moments and links the way this site writes them."""

from __future__ import annotations

from typing import Any

from django import template
from django.conf import settings
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal import figures
from portal.models import EntityGrant
from portal.screens.keyboard import KEYS, spoken

register = template.Library()

register.filter("figure", figures.number)
register.filter("amount", figures.amount)
register.filter("exact", figures.exact)
register.filter("money", figures.money)
register.filter("hours", figures.hours)
register.filter("exact", figures.exact)
register.filter("moment", figures.moment)
register.filter("age", figures.age)
register.filter("day", figures.day)

_FIRST_KEY = {key.action: spoken(key.keys[0]) for key in KEYS}


@register.filter
def exactly(value: Any) -> SafeString:
    """A moment with its date and time, the zone in the title."""
    return figures.moment(value, relative=False)


@register.filter
def stamp(value: Any, entity: Any = None) -> SafeString:
    """A moment for the record, by UTC and by the clocks of an entity."""
    return figures.stamp(value, getattr(entity, "zone", "") or "UTC")


@register.filter
def initials(name: str) -> str:
    """Two letters for the round mark of a person: Finance Analyst is FA."""
    words = [word for word in name.replace(".", " ").replace("_", " ").replace("-", " ").split() if word]
    return "".join(word[0] for word in words[:2]).upper() or "?"


@register.filter
def key_of(action: str) -> str:
    """The key that stands for an action unless a person changed it; empty when there is none."""
    return _FIRST_KEY.get(action, "")


@register.simple_tag
def to_results(url: str) -> SafeString:
    """The attributes of a link that replaces only the list when scripts run."""
    return format_html(
        'href="{0}" hx-get="{0}" hx-target="#results" hx-swap="outerHTML" hx-push-url="true"', url or "?"
    )


@register.simple_tag(takes_context=True)
def list_query(context: Any, **changes: Any) -> str:
    """The address of the list that is shown, with changes, as a query string."""
    address: str = context["screen"].query(**changes)
    return address


@register.simple_tag
def to_drawer(url: str, target: str = "drawer") -> SafeString:
    """The attributes of a link that opens beside the page when scripts run."""
    return format_html(
        'href="{0}" hx-get="{0}" hx-target="#{1}-body" hx-push-url="{2}"', url, target, str(target == "drawer").lower()
    )


@register.simple_tag
def demo_people() -> list[dict[str, str]]:
    """The people of a trial's demo firm with what they do, for its sign-in page; nobody anywhere else."""
    if not settings.DEMO:
        return []
    people: dict[str, list[str]] = {}
    for grant in EntityGrant.objects.filter(user__is_active=True).select_related("user", "entity").order_by("pk"):
        place = grant.entity.code if grant.entity else "all entities"
        people.setdefault(grant.user.get_username(), []).append(f"{grant.get_role_display()}, {place}")
    return [{"username": name, "what": "; ".join(what[:2])} for name, what in people.items()]


@register.simple_tag
def demo_password() -> str:
    """The password that the people of the demo firm share; empty outside a trial."""
    password: str = settings.DEMO_PASSWORD
    return password
