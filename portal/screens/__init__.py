"""The screen kit: a list screen is four attributes (queryset, filterset, table, actions), and everything else follows.

The rule here: rows reach a screen only through `visible_to`, an action only the rows where its roles are held, and every
address works as a full page without scripts; htmx gets a part of the same template.
"""

from portal.screens.actions import Action, Outcome, Refused
from portal.screens.base import Screen
from portal.screens.detail import DetailScreen
from portal.screens.entities import chosen_entities, within
from portal.screens.exporting import Content
from portal.screens.freshness import Notice
from portal.screens.lists import ListScreen
from portal.screens.navigation import Badge, NavItem
from portal.screens.parts import Empty, Tab, Tile
from portal.screens.tables import (
    CurrencyColumn,
    DayColumn,
    HoursColumn,
    MainColumn,
    MoneyColumn,
    NumberColumn,
    SparkColumn,
    StateColumn,
    Table,
    TextColumn,
    WhenColumn,
)

__all__ = [
    "Action",
    "Badge",
    "Content",
    "CurrencyColumn",
    "DayColumn",
    "DetailScreen",
    "Empty",
    "HoursColumn",
    "ListScreen",
    "MainColumn",
    "MoneyColumn",
    "NavItem",
    "Notice",
    "NumberColumn",
    "Outcome",
    "Refused",
    "Screen",
    "SparkColumn",
    "StateColumn",
    "Tab",
    "Table",
    "TextColumn",
    "Tile",
    "WhenColumn",
    "chosen_entities",
    "within",
]
