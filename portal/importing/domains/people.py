"""Roles, the people who hold them, and for whom they work from when to when."""

from __future__ import annotations

from portal.importing import cells
from portal.importing.domains.columns import code, first_day, last_day, name, pointer
from portal.importing.tables import Column, Ranges, Table
from portal.models import Engagement, MasterChange, Resource, Role

Kind = MasterChange.Kind

ROLES = Table(
    name="roles",
    noun="a role",
    model=Role,
    help="What people are sold as; rates hang on it.",
    columns=(code("code of the role"), name()),
    concerns=(Kind.ROLE, "pk"),
)

RESOURCES = Table(
    name="resources",
    noun="a person",
    model=Resource,
    help="The consultants.",
    columns=(
        code("code of the person"),
        name(),
        Column(name="email", sets="email", parse=cells.email, empty="", help="e-mail address"),
    ),
    concerns=(Kind.RESOURCE, "pk"),
)

ENGAGEMENTS = Table(
    name="engagements",
    noun="an engagement",
    model=Engagement,
    help="For whom, as what and on which cost centre a person works, from one day to another.",
    columns=(
        pointer("resource", "resources", "code of the person", required=True),
        pointer("entity", "entities", "code of the entity that employs", required=True),
        pointer("role", "roles", "code of the role", required=True),
        pointer("cost_centre", "cost_centres", "code of a cost centre of that entity", key=("entity", "cost_centre")),
        Column(
            name="external_id",
            sets="external_id",
            parse=cells.code,
            empty="",
            help="the person's key in the target during this engagement",
        ),
        first_day(),
        last_day(),
    ),
    key=("resource", "valid_from"),
    lookup=("resource__code", "valid_from"),
    ranges=(Ranges(("resource_id",), "a person has one engagement a day"),),
    concerns=(Kind.RESOURCE, "resource_id"),
)
