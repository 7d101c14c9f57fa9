"""What `serve` tells about a trial: whether it holds the demo firm, who may sign in, and what was done lately."""

from __future__ import annotations

from django.conf import settings
from django.db.models import Count, Q
from django.db.models.functions import Now

from portal.models import (
    Document,
    EntityGrant,
    GrantRole,
    Heartbeat,
    LedgerState,
    LedgerTransition,
    LegalEntity,
    State,
)

DEMO_FIRM = "demo firm"


def wants_demo_firm(*, empty: bool) -> bool:
    """Whether this database is the demo firm's: begun here before, or asked for in a database that holds no firm yet."""
    if Heartbeat.objects.filter(name=DEMO_FIRM).exists():
        return True
    return not empty and not LegalEntity.objects.exists()


def demo_firm_is_loaded() -> bool:
    """Whether loading came to its end; one that was interrupted is begun again."""
    return Heartbeat.objects.filter(name=DEMO_FIRM, detail__loaded=True).exists()


def note_demo_firm(*, loaded: bool) -> None:
    """Remember in the database itself how far loading has come."""
    Heartbeat.objects.update_or_create(name=DEMO_FIRM, defaults={"at": Now(), "detail": {"loaded": loaded}})


def sign_in_names() -> list[str]:
    """One line per role, with the names that hold it, and the password that all of them share."""
    names: dict[str, list[str]] = {}
    grants = (
        EntityGrant.objects.select_related("user", "entity").filter(user__is_active=True).order_by("user__username")
    )
    for grant in grants:
        name = grant.user.get_username()
        if name not in names.setdefault(grant.role, []):
            names[grant.role].append(name)
    if not names:
        return []
    lines = [f"  {label:<18} {', '.join(names[role])}" for role, label in GrantRole.choices if role in names]
    return [f"Sign in with the password {settings.DEMO_PASSWORD!r} as", *lines]


class Progress:
    """What was done since the last time somebody asked, counted from the database."""

    def __init__(self) -> None:
        self._document = self._newest(Document)
        self._transition = self._newest(LedgerTransition)

    def sentence(self) -> str:
        """One line: taken in, posted and held since the last one, and what is open now."""
        documents = self._newest(Document)
        taken_in = Document.objects.filter(pk__gt=self._document, pk__lte=documents).count()
        transitions = self._newest(LedgerTransition)
        moves = LedgerTransition.objects.filter(pk__gt=self._transition, pk__lte=transitions).aggregate(
            posted=Count("pk", filter=Q(to_state=State.POSTED)),
            held=Count("pk", filter=Q(to_state=State.HELD)),
            rejected=Count("pk", filter=Q(to_state=State.REJECTED)),
        )
        now = dict(LedgerState.objects.values_list("state").annotate(Count("pk")))
        self._document, self._transition = documents, transitions
        return (
            f"{taken_in} taken in, {moves['posted']} posted, {moves['held']} held, {moves['rejected']} rejected; "
            f"now {now.get(State.READY, 0)} ready, {now.get(State.HELD, 0)} held, "
            f"{now.get(State.IN_DOUBT, 0)} in doubt, "
            f"{now.get(State.POSTED, 0) + now.get(State.RECONCILED, 0)} posted in all"
        )

    @staticmethod
    def _newest(model: type[Document | LedgerTransition]) -> int:
        return model._default_manager.order_by("-pk").values_list("pk", flat=True).first() or 0
