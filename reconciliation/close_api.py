"""The API of the close, version 1: comparisons, certificates, the matches that explain what differs, and rules.

The rule here: what is matched or signed is so by the services of the screens (`portal.api.acting`).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import django_filters as filters
from drf_spectacular.utils import extend_schema_view
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api import Acting, Endpoint, described
from portal.models import AccountingPeriod, LegalEntity
from reconciliation import certifying, pairing
from reconciliation.billing import tying
from reconciliation.models import Certificate, Match, MatchingRule, ReconciliationResult, ReconciliationRun


class CertificateFilter(filters.FilterSet):  # type: ignore[misc]
    """What certificates are found by."""

    entity = filters.CharFilter("period__entity__code", label="Entity")
    period = filters.CharFilter("period__code", label="Period")
    state = filters.MultipleChoiceFilter(choices=Certificate.State.choices, label="State")

    class Meta:
        model = Certificate
        fields: list[str] = []


class MatchFilter(filters.FilterSet):  # type: ignore[misc]
    """What matches are found by."""

    entity = filters.CharFilter("period__entity__code", label="Entity")
    period = filters.CharFilter("period__code", label="Period")
    leg = filters.CharFilter("leg", label="Leg")
    state = filters.MultipleChoiceFilter(choices=Match.State.choices, label="State")

    class Meta:
        model = Match
        fields: list[str] = []


class CertificateRow(serializers.Serializer[Any]):
    """The word of two people that a period ties out, and what changed under it where it dropped."""

    id = serializers.IntegerField()
    entity = serializers.CharField(source="period.entity.code")
    period = serializers.CharField(source="period.code")
    run = serializers.IntegerField(source="run_id")
    state = serializers.CharField()
    differing = serializers.IntegerField()
    note = serializers.CharField()
    uncompared = serializers.DictField(child=serializers.CharField())
    prepared_by = serializers.CharField(source="prepared_by.username")
    prepared_at = serializers.DateTimeField()
    certified_by = serializers.CharField(source="certified_by.username", default=None)
    certified_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    why = serializers.CharField()
    delta = serializers.JSONField()


class CertificateSaid(serializers.Serializer[Any]):
    """One act with a certificate."""

    act = serializers.ChoiceField(["certify", "withdraw"])
    reason = serializers.CharField(max_length=500, default="", allow_blank=True)


class CertificateBegun(serializers.Serializer[Any]):
    """A period that is signed by its preparer; `note` says why open items are accepted, where there are any.

    `uncompared` says, leg by leg, why money is accepted that was compared with nothing.
    """

    entity = serializers.CharField()
    period = serializers.CharField()
    note = serializers.CharField(max_length=2000, default="", allow_blank=True)
    uncompared = serializers.DictField(
        child=serializers.CharField(max_length=500, allow_blank=True), default=dict, help_text="Reasons by leg."
    )


@extend_schema_view(
    act=described(CertificateSaid, CertificateRow, "Certify as the second person, or take a signature back."),
    prepare=described(
        CertificateBegun, CertificateRow, "Sign as the preparer what the latest comparison of a period found."
    ),
)
class Certificates(Acting):
    """Certificates of periods."""

    rows = Certificate.objects.select_related("period__entity", "prepared_by", "certified_by")
    filterset_class = CertificateFilter
    serializer_class = CertificateRow
    said_class = CertificateSaid
    refusals = (certifying.NotCertifiable,)

    @action(detail=False, methods=["post"])
    def prepare(self, request: Request) -> Response:
        """Sign a period as its preparer, once for each key."""

        def done(said: dict[str, Any], by: Any) -> Any:
            seen = AccountingPeriod.objects.visible_to(by).select_related("entity")
            period = seen.filter(entity__code=said["entity"], code=said["period"]).first()
            if period is None:
                raise NotFound("There is no such period.")
            return self.get_serializer(certifying.prepare(period, by, said["note"], said["uncompared"])).data

        return self.once(request, CertificateBegun, done)

    def do(self, row: Certificate, said: dict[str, Any], by: Any) -> None:
        """What the period's page does."""
        if said["act"] == "certify":
            certifying.certify(row, by)
        else:
            certifying.withdraw(row, by, said["reason"])


def _figure() -> serializers.DecimalField:
    return serializers.DecimalField(max_digits=20, decimal_places=4)


class MatchRow(serializers.Serializer[Any]):
    """Why some items of one leg that differ are explained: they belong together, or come by a day."""

    id = serializers.IntegerField()
    entity = serializers.CharField(source="period.entity.code")
    period = serializers.CharField(source="period.code")
    leg = serializers.CharField()
    kind = serializers.CharField()
    state = serializers.CharField()
    rule = serializers.CharField(source="rule.name", default=None)
    code = serializers.CharField()
    reason = serializers.CharField()
    items = serializers.IntegerField()
    subjects = serializers.ListField(child=serializers.IntegerField())
    hours_left = _figure()
    hours_right = _figure()
    amount_left = _figure()
    amount_right = _figure()
    currency = serializers.CharField()
    expected_on = serializers.DateField(allow_null=True)
    made_at = serializers.DateTimeField()
    decided_by = serializers.CharField(source="decided_by.username", default=None)
    why = serializers.CharField()


class MatchSaid(serializers.Serializer[Any]):
    """One act with a match."""

    act = serializers.ChoiceField(["confirm", "take-apart"])
    reason = serializers.CharField(max_length=500, default="", allow_blank=True)


class MatchBegun(serializers.Serializer[Any]):
    """Items (`reconciliation-results` by their id) that belong together, or with `expected_on` come by a day.

    With `in_part` lines of bills are tied to what was booked as far as they go, and the rest of either stays open.
    """

    items = serializers.ListField(child=serializers.IntegerField(min_value=1), min_length=1, max_length=500)
    code = serializers.ChoiceField(Match.Code.choices, default="")
    reason = serializers.CharField(max_length=500, default="", allow_blank=True)
    expected_on = serializers.DateField(default=None, allow_null=True)
    in_part = serializers.BooleanField(default=False)


@extend_schema_view(
    act=described(MatchSaid, MatchRow, "Agree to what a rule suggests, or take a match apart."),
    make=described(MatchBegun, MatchRow, "Match open items of one leg, or say by which day they come."),
)
class Matches(Acting):
    """Matches of open items."""

    rows = Match.objects.select_related("period__entity", "rule", "decided_by")
    filterset_class = MatchFilter
    serializer_class = MatchRow
    said_class = MatchSaid
    refusals = (pairing.NotMatchable,)

    @action(detail=False, methods=["post"])
    def make(self, request: Request) -> Response:
        """Match items by hand, once for each key."""

        def done(said: dict[str, Any], by: Any) -> Any:
            wanted = set(said["items"])
            seen = ReconciliationResult.objects.standing().visible_to(by)
            items = list(seen.filter(pk__in=wanted).select_related("run__entity", "period").order_by("pk"))
            if len(items) < len(wanted):
                raise NotFound("Not all of these items stand; read them again.")
            if said["expected_on"]:
                made = pairing.wait(items, by, expected_on=said["expected_on"], reason=said["reason"])
            else:
                made = tying.match(items, by, code=said["code"], reason=said["reason"], in_part=said["in_part"])
            return self.get_serializer(self.get_queryset().get(pk=made.pk)).data

        return self.once(request, MatchBegun, done)

    def do(self, row: Match, said: dict[str, Any], by: Any) -> None:
        """What the page of open items does."""
        if said["act"] == "confirm":
            pairing.confirm(row, by)
        else:
            tying.take_apart(row, by, said["reason"])


class RunFilter(filters.FilterSet):  # type: ignore[misc]
    """What comparisons are found by."""

    entity = filters.CharFilter("entity__code", label="Entity")
    period = filters.CharFilter("period__code", label="Period")
    state = filters.MultipleChoiceFilter(choices=ReconciliationRun.State.choices, label="State")

    class Meta:
        model = ReconciliationRun
        fields: list[str] = []


class RunRow(serializers.Serializer[Any]):
    """One comparison of the four legs of an entity and period, with its totals as they stood then, leg by leg."""

    id = serializers.IntegerField()
    entity = serializers.CharField(source="entity.code")
    period = serializers.CharField(source="period.code")
    state = serializers.CharField()
    requested_by = serializers.CharField(source="requested_by.username", default=None)
    started_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    statement_read_at = serializers.DateTimeField(allow_null=True)
    compared = serializers.IntegerField(allow_null=True)
    waits_for = serializers.CharField()
    failure = serializers.CharField()
    totals = serializers.JSONField()


class Runs(Endpoint):
    """Comparisons of periods."""

    rows = ReconciliationRun.objects.select_related("entity", "period", "requested_by")
    filterset_class = RunFilter
    serializer_class = RunRow


class RuleFilter(filters.FilterSet):  # type: ignore[misc]
    """What matching rules are found by."""

    entity = filters.CharFilter("entity__code", label="Entity")
    leg = filters.CharFilter("leg", label="Leg")
    state = filters.MultipleChoiceFilter(choices=MatchingRule.State.choices, label="State")

    class Meta:
        model = MatchingRule
        fields: list[str] = []


class RuleRow(serializers.Serializer[Any]):
    """One rule that says which open items belong together, with what it found in the past and in the last thirty days."""

    id = serializers.IntegerField()
    entity = serializers.CharField(source="entity.code")
    leg = serializers.CharField()
    name = serializers.CharField()
    position = serializers.IntegerField()
    state = serializers.CharField()
    criteria = serializers.ListField(child=serializers.CharField())
    hours_tolerance = _figure()
    amount_tolerance = _figure()
    is_automatic = serializers.BooleanField()
    tested = serializers.JSONField()
    tested_at = serializers.DateTimeField(allow_null=True)
    made_by = serializers.CharField(source="made_by.username")
    activated_by = serializers.CharField(source="activated_by.username", default=None)
    found = serializers.SerializerMethodField()
    confirmed = serializers.SerializerMethodField()
    refused = serializers.SerializerMethodField()

    def get_found(self, rule: MatchingRule) -> int:
        """Groups found in the last thirty days."""
        return self._of(rule)[0]

    def get_confirmed(self, rule: MatchingRule) -> int:
        """Of these, confirmed."""
        return self._of(rule)[1]

    def get_refused(self, rule: MatchingRule) -> int:
        """Of these, refused or taken apart by people."""
        return self._of(rule)[2]

    def _of(self, rule: MatchingRule) -> tuple[int, int, int]:
        found: tuple[int, int, int] = self.context.get("hits", {}).get(rule.pk, (0, 0, 0))
        return found


class RuleSaid(serializers.Serializer[Any]):
    """One act with a matching rule."""

    act = serializers.ChoiceField(["test", "activate", "decline", "retire"])
    reason = serializers.CharField(max_length=500, default="", allow_blank=True, help_text="Why it is declined.")


class RuleBegun(serializers.Serializer[Any]):
    """A rule that is written as a draft: it is tested on history, and a second person lets it be used or declines it."""

    entity = serializers.CharField()
    leg = serializers.ChoiceField(ReconciliationResult.Leg.choices)
    name = serializers.CharField(max_length=120)
    criteria = serializers.ListField(
        child=serializers.ChoiceField(MatchingRule.Criterion.choices), min_length=1, max_length=5
    )
    hours_tolerance = serializers.DecimalField(max_digits=8, decimal_places=4, min_value=Decimal(0), default=Decimal(0))
    amount_tolerance = serializers.DecimalField(
        max_digits=12, decimal_places=4, min_value=Decimal(0), default=Decimal(0)
    )
    is_automatic = serializers.BooleanField(default=False)
    position = serializers.IntegerField(min_value=0, max_value=32_767, default=10)


@extend_schema_view(
    act=described(
        RuleSaid, RuleRow, "Test a rule on history, let it be used as the second person, decline or retire it."
    ),
    propose=described(
        RuleBegun, RuleRow, "Write a rule, a draft until it is tested and a second person lets it be used."
    ),
)
class Rules(Acting):
    """Matching rules."""

    rows = MatchingRule.objects.select_related("entity", "made_by", "activated_by")
    filterset_class = RuleFilter
    serializer_class = RuleRow
    said_class = RuleSaid
    refusals = (pairing.NotMatchable,)

    @action(detail=False, methods=["post"])
    def propose(self, request: Request) -> Response:
        """Write a rule, once for each key."""

        def done(said: dict[str, Any], by: Any) -> Any:
            entity = LegalEntity.objects.visible_to(by).filter(code=said.pop("entity")).first()
            if entity is None:
                raise NotFound("There is no such entity.")
            return self.get_serializer(pairing.write(MatchingRule(entity=entity, **said), by)).data

        return self.once(request, RuleBegun, done)

    def do(self, row: MatchingRule, said: dict[str, Any], by: Any) -> None:
        """What the list of rules does."""
        if said["act"] == "decline":
            pairing.decline(row, by, said["reason"])
        else:
            {"test": pairing.test, "activate": pairing.activate, "retire": pairing.retire}[said["act"]](row, by)

    def get_serializer(self, *args: Any, **options: Any) -> serializers.BaseSerializer[Any]:
        """The page's rules with how they fare, found in one query."""
        if args:
            rows = args[0] if options.get("many") else [args[0]]
            hits = pairing.hit_rates([rule.pk for rule in rows])
            options["context"] = {**self.get_serializer_context(), "hits": hits}
        return super().get_serializer(*args, **options)
