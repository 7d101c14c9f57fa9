"""Whatever takes a second person, of every kind, as the database tells it from their own tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from portal import access
from portal.models import GrantRole
from portal.models.access import ScopedQuerySet, entities_held
from portal.models.governance import REQUEST_READERS

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

BY_ROLE = {
    "approving": access.APPROVERS, "configuring": access.CONFIGURERS, "administering": frozenset({GrantRole.ADMIN}),
    "fixing": access.FIXERS, "managing": frozenset({GrantRole.PROJECT_MANAGER}),
}  # fmt: skip
NONE = Q(pk__in=[])


class Approvals(ScopedQuerySet["Approval"]):
    """Decisions, seen by those who see what is decided on."""

    def visible_to(self, user: AbstractBaseUser | AnonymousUser, *, roles: frozenset[str] | None = None) -> Self:
        """Those that reach no entity in which the user holds no grant today (or none of `roles`), and their own."""
        return self.filter(seen_by(user, roles))

    def of_entities(self, ids: Iterable[int]) -> Self:
        """Those that reach one of some entities, or all of them."""
        return self.filter(Q(entities__overlap=list(ids)) | Q(is_shared=True))


class Approval(models.Model):
    """One decision that takes a second person: what it is about, who asked, who may decide, and what was decided.

    A view over the tables of every kind, so nothing keeps it up to date. Each of the arrays that end in -ing names the
    entities in which who decides needs a role (see BY_ROLE), 0 standing for all of them; `barred` are people who may not all
    the same, because they asked or took part, and `only` is the one person who may, where it is one.
    """

    class Kind(models.TextChoices):
        FIX = "fix", "Fix"
        CHANGE = "change", "Change"
        REVIEW = "review", "Emergency, to review"
        BUNDLE = "bundle", "What follows in the books"
        RELEASE = "release", "Invoice to release"
        INVOICE = "invoice", "Invoice to approve"
        BILL = "bill", "Bill to decide"
        CERTIFICATE = "certificate", "Certificate to sign"
        LIVE = "live", "Going live"
        CODE = "code", "Code to remember"
        ERASURE = "erasure", "Person to forget"
        RULE = "rule", "Matching rule"
        DOUBT = "doubt", "Entry in doubt"

    class Outcome(models.TextChoices):
        WAITS = "", "Waits"
        APPROVED = "approved", "Approved"
        REFUSED = "refused", "Refused"

    id = models.BigIntegerField(primary_key=True)  # the key times 16, and the number of its kind
    kind = models.CharField(max_length=12, choices=Kind.choices)
    key = models.BigIntegerField()  # of what is decided on, within its table
    page = models.BigIntegerField()  # the key by which its page is found
    title = models.TextField()
    reason = models.TextField()
    is_open = models.BooleanField()
    outcome = models.CharField(max_length=10, choices=Outcome.choices)
    entity = models.ForeignKey("portal.LegalEntity", models.DO_NOTHING, null=True, related_name="+")  # where it is one
    entities = ArrayField(models.BigIntegerField())
    is_shared = models.BooleanField()  # touches what belongs to all entities
    amounts = models.JSONField(null=True)  # by currency
    amount = models.DecimalField(max_digits=18, decimal_places=4, null=True)  # where it is in one
    currency = models.CharField(max_length=3, null=True)  # noqa: DJ001 - of an amount that may be none
    entries = models.BigIntegerField(null=True)
    asked_by = models.ForeignKey("portal.User", models.DO_NOTHING, null=True, related_name="+")  # empty: the machine
    asked_at = models.DateTimeField(null=True)
    decided_by = models.ForeignKey("portal.User", models.DO_NOTHING, null=True, related_name="+")
    decided_at = models.DateTimeField(null=True)
    facts = models.JSONField(null=True)  # what follows, in the words of its kind
    approving = ArrayField(models.BigIntegerField())
    configuring = ArrayField(models.BigIntegerField())
    administering = ArrayField(models.BigIntegerField())
    fixing = ArrayField(models.BigIntegerField())
    managing = ArrayField(models.BigIntegerField())
    only = models.ForeignKey("portal.User", models.DO_NOTHING, null=True, related_name="+")
    barred = ArrayField(models.BigIntegerField())

    objects = Approvals.as_manager()

    class Meta:
        managed = False
        db_table = "reconciliation_approval"
        ordering = ["asked_at", "id"]

    def __str__(self) -> str:
        return self.title


def seen_by(user: Any, roles: frozenset[str] | None = None) -> Q:
    """The decisions of which a person sees everything that they reach; what touches a person who is to be forgotten, fewer do."""
    held = entities_held(user, roles)
    readers = entities_held(user, REQUEST_READERS & roles if roles is not None else REQUEST_READERS)
    if not held:
        return NONE
    erasure = Q(kind=Approval.Kind.ERASURE)
    asked = Q() if None in readers else Q(entities__overlap=readers) if readers else NONE
    if None in held:
        return ~erasure | asked if None not in readers else Q()
    own = Q(asked_by=user.pk) if roles is None else NONE
    return (~erasure & Q(entities__contained_by=held) & (Q(is_shared=False) | own)) | (erasure & asked)


def may_decide(user: Any) -> Q:
    """What waits for this person: the role wherever it is needed, and no part in what is decided on."""
    needed = Q(is_open=True)
    for column, roles in BY_ROLE.items():
        held = entities_held(user, roles)
        if None not in held:
            needed &= Q(**{f"{column}__contained_by": held})
    return needed & (Q(only=None) | Q(only=user.pk)) & ~Q(barred__contains=[user.pk])
