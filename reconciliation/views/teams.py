"""Teams and ownership rules on screen: who works which causes, decided by those who configure the entities."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, cast

from django import forms
from django.db.models import Count, Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse

from portal import access
from portal.models import Connection, LegalEntity, User
from portal.screens import (
    Action,
    Empty,
    ListScreen,
    MainColumn,
    NumberColumn,
    Outcome,
    Screen,
    Table,
    TextColumn,
)
from portal.screens.actions import Refused
from reconciliation import teams, triage
from reconciliation.filters import OwnershipFilter, TeamFilter
from reconciliation.models import OwnershipRule, Team
from reconciliation.rules import BY_CODE, EVERY, THEMES

READERS = access.CONFIGURERS | {"auditor"}  # who finds it in the navigation; everybody in the entities may look


def configured_by(user: Any) -> QuerySet[LegalEntity]:
    """The entities that the person configures."""
    found: QuerySet[LegalEntity] = LegalEntity.objects.visible_to(user, roles=access.CONFIGURERS)
    return found.order_by("code")


def may_configure(user: Any, team: Team) -> bool:
    """Whether the person configures every entity of a team."""
    return not team.entities.exclude(pk__in=configured_by(user)).exists()


class TeamTable(Table):
    """Teams with their people and what is theirs."""

    name = MainColumn(
        url=lambda team: reverse("team", args=[team.pk]),
        second=lambda team: team.code,
        drawer=False,
        verbose_name="Team",
    )
    entities = TextColumn(accessor="pk", orderable=False, verbose_name="Entities")
    people = TextColumn(accessor="pk", orderable=False, wraps=True, verbose_name="People")
    causes = NumberColumn(accessor="causes", verbose_name="Open causes")

    def render_entities(self, record: Team) -> str:
        """Their codes."""
        return ", ".join(one.code for one in record.entities.all())

    def render_people(self, record: Team) -> str:
        """The leads first, named as such."""
        return ", ".join(
            f"{one.user.get_username()}{' (lead)' if one.is_lead else ''}" for one in record.memberships.all()
        )


class TeamList(ListScreen):
    """Who works exceptions together."""

    title = "Teams"
    caption = "Teams, the people in them and what is theirs"
    queryset = (
        Team.objects.prefetch_related("memberships__user")
        .annotate(causes=Count("cases", filter=Q(cases__state="open")))
        .order_by("name")
    )
    filterset = TeamFilter
    table = TeamTable
    exportable = False
    empty = Empty("There are no teams yet", "A team takes causes on together; ownership rules give it new ones.")

    def rows(self) -> QuerySet[Any]:
        """The teams of the entities where the person looks, with those of their entities that the person sees."""
        seen = LegalEntity.objects.visible_to(self.request.user).order_by("code")
        return super().rows().prefetch_related(Prefetch("entities", queryset=seen))

    def buttons(self) -> list[tuple[str, str]]:
        """New ones, and who gets what."""
        found = [("Ownership rules", reverse("ownership"))]
        if configured_by(self.request.user).exists():
            found.insert(0, ("New team", reverse("team_new")))
        return found


class TeamForm(forms.Form):
    """A team as it should be, and why."""

    name = forms.CharField(max_length=120)
    code = forms.SlugField(max_length=40, help_text="Short, for the configuration file.")
    entities = forms.ModelMultipleChoiceField(LegalEntity.objects.none(), widget=forms.CheckboxSelectMultiple())
    members = forms.ModelMultipleChoiceField(User.objects.none(), widget=forms.CheckboxSelectMultiple(), required=False)
    leads = forms.ModelMultipleChoiceField(
        User.objects.none(), widget=forms.CheckboxSelectMultiple(), required=False,
        help_text="Told of causes that nobody touches before their period ends.",
    )  # fmt: skip
    is_active = forms.BooleanField(label="Causes may be given to it", required=False, initial=True)
    reason = forms.CharField(max_length=300)

    def __init__(self, *args: Any, user: Any, team: Team | None, **more: Any) -> None:
        super().__init__(*args, **more)
        self.team = team
        entities = configured_by(user)
        people = User.objects.filter(
            pk__in=[one.pk for entity in entities for one in triage.assignable([entity.pk])]
        ).order_by("username")
        for name, queryset in (("entities", entities), ("members", people), ("leads", people)):
            cast("forms.ModelMultipleChoiceField[Any]", self.fields[name]).queryset = queryset
        if team is not None:
            self.fields["code"].disabled = True

    def clean_code(self) -> str:
        """A code of its own."""
        code = str(self.cleaned_data["code"])
        if self.team is None and Team.objects.filter(code=code).exists():
            raise forms.ValidationError("A team has this code already; choose another one.")
        return code


class TeamScreen(Screen):
    """One team to be written; those who do not configure all its entities read it."""

    template_name = "reconciliation/team.html"

    def get(self, request: HttpRequest, pk: int | None = None) -> HttpResponse:
        """The form; a new team is begun only by those who may write it."""
        team = self.team(pk)
        if team is None and not configured_by(request.user).exists():
            access.require(request.user, access.CONFIGURERS, None)
        return self.show(team, self.form(team))

    def post(self, request: HttpRequest, pk: int | None = None) -> HttpResponse:
        """Write it, or say what is wrong."""
        team = self.team(pk)
        if not (may_configure(request.user, team) if team else configured_by(request.user).exists()):
            access.require(request.user, access.CONFIGURERS, None)
        form = self.form(team, request.POST)
        if not form.is_valid():
            return self.show(team, form, HTTPStatus.UNPROCESSABLE_ENTITY)
        said = form.cleaned_data
        team = team or Team(code=said["code"])
        team.name, team.is_active = said["name"], said["is_active"]
        try:
            teams.save_team(
                team, entities=said["entities"], members=said["members"], leads=said["leads"],
                by=cast("User", request.user), reason=said["reason"],
            )  # fmt: skip
        except ValueError as problem:
            form.add_error("entities", str(problem))
            return self.show(team, form, HTTPStatus.UNPROCESSABLE_ENTITY)
        return HttpResponseRedirect(reverse("teams"), status=HTTPStatus.SEE_OTHER)

    def team(self, pk: int | None) -> Team | None:
        """The team of the address, if the person may see it."""
        return None if pk is None else get_object_or_404(Team.objects.visible_to(self.request.user), pk=pk)

    def form(self, team: Team | None, data: Any = None) -> TeamForm:
        """The form with what stands."""
        initial: dict[str, Any] = {}
        if team is not None:
            people = list(team.memberships.all())
            initial = {
                "name": team.name, "code": team.code, "is_active": team.is_active,
                "entities": list(team.entities.values_list("pk", flat=True)),
                "members": [one.user_id for one in people], "leads": [one.user_id for one in people if one.is_lead],
            }  # fmt: skip
        return TeamForm(data, initial=initial, user=self.request.user, team=team)

    def show(self, team: Team | None, form: TeamForm, status: int = HTTPStatus.OK) -> HttpResponse:
        """The page."""
        may = may_configure(self.request.user, team) if team else configured_by(self.request.user).exists()
        for field in form.fields.values() if not may else ():
            field.disabled = True
        context = self.context(title=team.name if team else "New team", team=team, form=form, may=may)
        return self.page(context, status=status)


class OwnershipTable(Table):
    """Ownership rules in the order in which they are asked."""

    position = NumberColumn(verbose_name="Order")
    entity = TextColumn(accessor="entity__code", verbose_name="Entity")
    fits = TextColumn(accessor="pk", orderable=False, wraps=True, verbose_name="Causes")
    team = TextColumn(accessor="team__name", verbose_name="Go to")

    def render_fits(self, record: OwnershipRule) -> str:
        """What the rule fits, in words."""
        words = THEMES.get(record.theme, "") or ", ".join(BY_CODE[one].title for one in record.rules if one in BY_CODE)
        where = f" from or to {record.connection.name}" if record.connection else ""
        return f"{words or 'Every cause'}{where}"


class _Ordering(Action):
    """Changes the order of the rules of one entity, with a reason."""

    roles = access.CONFIGURERS
    reason = forms.CharField(max_length=300, widget=forms.TextInput(attrs={"autofocus": True}))

    def apply(self, queryset: QuerySet[Any], user: Any) -> Outcome:
        """Write each entity's list anew."""
        chosen = list(queryset.select_related("entity"))
        for entity in {one.entity for one in chosen}:
            rules = list(enumerate(teams.standing(entity), 1))
            picked = {one.position for one in chosen if one.entity == entity}
            wanted = self.arranged(
                [one for at, one in rules if at in picked], [one for at, one in rules if at not in picked]
            )
            try:
                teams.set_ownership(entity, wanted, by=user, reason=self.cleaned_data["reason"])
            except ValueError as problem:
                raise Refused(str(problem)) from problem
        return Outcome("The ownership rules are as you said. Causes that are open stay where they are.")

    def arranged(self, chosen: list[teams.Fits], others: list[teams.Fits]) -> list[teams.Fits]:
        """The new order."""
        raise NotImplementedError


class AskFirst(_Ordering):
    """The chosen rules are asked before the others."""

    name, label, sentence = "ask_first", "Ask first", "Ask these {count} rules before the others"
    of_one = "Ask this rule before the others"

    def arranged(self, chosen: list[teams.Fits], others: list[teams.Fits]) -> list[teams.Fits]:
        """Chosen, then the rest."""
        return [*chosen, *others]


class Remove(_Ordering):
    """The chosen rules are no more."""

    name, label, sentence, tone = "remove", "Remove", "Remove {count} ownership rules", "danger"
    of_one = "Remove 1 ownership rule"

    def arranged(self, chosen: list[teams.Fits], others: list[teams.Fits]) -> list[teams.Fits]:
        """The rest."""
        return others


class OwnershipList(ListScreen):
    """Which team a new cause goes to: the first rule that fits decides."""

    title = "Ownership rules"
    caption = "Which team a new cause goes to; the first rule of the entity that fits decides"
    queryset = OwnershipRule.objects.select_related("entity", "team", "connection").order_by("entity__code", "position")
    filterset = OwnershipFilter
    table = OwnershipTable
    actions = (AskFirst, Remove)
    exportable = False
    empty = Empty("No cause is given to a team by itself", "Add a rule, or list them in the configuration file.")

    def buttons(self) -> list[tuple[str, str]]:
        """A new one."""
        found = [("Teams", reverse("teams"))]
        if configured_by(self.request.user).exists():
            found.insert(0, ("New rule", reverse("ownership_new")))
        return found


class RuleForm(forms.Form):
    """What a new ownership rule fits, and who gets it; it is asked last."""

    entity = forms.ModelChoiceField(LegalEntity.objects.none())
    theme = forms.ChoiceField(choices=[("", "Every cause"), *THEMES.items()], required=False)
    rules = forms.MultipleChoiceField(
        choices=[(one.code, one.title) for one in EVERY], required=False, help_text="In place of a theme.",
    )  # fmt: skip
    connection = forms.ModelChoiceField(Connection.objects.none(), required=False, empty_label="Any")
    team = forms.ModelChoiceField(Team.objects.none())
    reason = forms.CharField(max_length=300)

    def __init__(self, *args: Any, user: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        entities = configured_by(user)
        for name, queryset in (
            ("entity", entities),
            ("connection", Connection.objects.visible_to(user).order_by("name")),
            ("team", Team.objects.visible_to(user).filter(is_active=True)),
        ):
            cast("forms.ModelChoiceField[Any]", self.fields[name]).queryset = queryset

    def clean(self) -> dict[str, Any]:
        """A theme or rules, and a team of the entity."""
        said = super().clean() or {}
        if said.get("theme") and said.get("rules"):
            self.add_error("rules", "Choose a theme or rules, not both.")
        entity, team = said.get("entity"), said.get("team")
        if entity and team and not team.entities.filter(pk=entity.pk).exists():
            self.add_error("team", f"{team.name} does not work for {entity.code}.")
        return said


class RuleScreen(Screen):
    """A new ownership rule."""

    title = "New ownership rule"
    roles = access.CONFIGURERS
    template_name = "reconciliation/team.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        """The form."""
        return self.page(self.context(form=RuleForm(user=request.user), may=True, back_to="ownership"))

    def post(self, request: HttpRequest) -> HttpResponse:
        """Put it behind the others of its entity."""
        form = RuleForm(request.POST, user=request.user)
        if not form.is_valid():
            context = self.context(form=form, may=True, back_to="ownership")
            return self.page(context, status=HTTPStatus.UNPROCESSABLE_ENTITY)
        said = form.cleaned_data
        new = teams.Fits(said["team"], said["theme"], tuple(said["rules"]), said["connection"])
        teams.set_ownership(
            said["entity"], [*teams.standing(said["entity"]), new], by=cast("User", request.user), reason=said["reason"]
        )
        return HttpResponseRedirect(reverse("ownership"), status=HTTPStatus.SEE_OTHER)
