"""What an item of the checklist is, and what all of them are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.urls import reverse

from portal.models import Connection, LegalEntity
from reconciliation.models import Onboarding, Route

MET, FAILS, NOT_ASKED = "met", "fails", "not asked"
NAMED = 5  # records that a sentence names


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing that must stand: what was found, what to do about it, where it is read (`url`) and mended (`mend`)."""

    code: str
    title: str
    state: str
    sentence: str
    remedy: str = ""
    url: str = ""
    mend: str = ""

    @property
    def fails(self) -> bool:
        """Whether it stands in the way."""
        return self.state == FAILS


@dataclass(frozen=True, slots=True)
class Asked:
    """What every item is computed from, read once."""

    onboarding: Onboarding
    sources: Sequence[Connection]
    routes: Sequence[Route]

    @property
    def entity(self) -> LegalEntity:
        """The company that is brought in, or whose source is."""
        return self.onboarding.entity

    @property
    def targets(self) -> list[Connection]:
        """Where the entity's documents would be booked."""
        return list({route.target_id: route.target for route in self.routes}.values())


def item(
    code: str, title: str, problems: Sequence[str], met: str, *, remedy: str = "", url: str = "", mend: str = ""
) -> Item:
    """An item that is met, or fails with its first problems."""
    if not problems:
        return Item(code=code, title=title, state=MET, sentence=met, url=url)
    shown = "; ".join(problems[:NAMED])
    more = f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
    return Item(
        code=code, title=title, state=FAILS, sentence=f"{shown}{more}.", remedy=remedy, url=url, mend=mend or url
    )


def not_asked(code: str, title: str, sentence: str, url: str) -> Item:
    """An item of which nothing is asked here, and why."""
    return Item(code=code, title=title, state=NOT_ASKED, sentence=sentence, url=url)


def change_of(kind: str, title: str, *, key: int | None = None) -> str:
    """The form that proposes a change: of one record, or of a new one."""
    about = {"model": kind, "title": title} | ({"key": str(key)} if key else {"action": "add"})
    return f"{reverse('change_new')}?{urlencode(about)}"


def change_of_entity(asked: Asked, what: str) -> str:
    """The form that proposes a change of the entity itself."""
    return change_of("entity", f"{what} of {asked.entity.code}", key=asked.entity.pk)
