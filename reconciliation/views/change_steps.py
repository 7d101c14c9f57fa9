"""What is done on the page of a change set, step by step; each gives the address to go on to, empty for the page itself.

The rule here: whoever decides says what the form had shown, and reads afterwards what came of it, in the books as well.
"""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest
from django.urls import reverse

from portal import keys, sessions
from portal.models import User
from reconciliation import changes
from reconciliation.changes import attaching
from reconciliation.models import ChangeSet, RateBundle
from reconciliation.rates import planning
from reconciliation.rates.planning import NotPlannable
from reconciliation.views import rate_bundle

State = ChangeSet.State


def _submit(request: HttpRequest, change_set: ChangeSet, user: User) -> str:
    with transaction.atomic():
        plan = _planned(change_set, user)
        changes.submit(change_set, user)
    also = " The plan of what follows in the books goes with it." if plan else ""
    messages.success(request, f"Submitted. Who may decide was told.{also}")
    return ""


def _planned(change_set: ChangeSet, user: User) -> RateBundle | None:
    """The plan of what follows in the books, where rates change under which something is booked."""
    try:
        return planning.begin_with(change_set, by=user)
    except NotPlannable as refusal:
        raise changes.ChangeRefused(str(refusal)) from refusal


def _approve(request: HttpRequest, change_set: ChangeSet, user: User) -> str:
    """Agree to what the form showed; small ones are applied before the page comes back."""
    change_set.content_hash, change_set.fingerprint = _seen(request, "hash"), _seen(request, "fingerprint")
    changes.approve(
        change_set, user, request.POST.get("comment", ""), plan=request.POST.get("plan", ""),
        signed_in_again=sessions.signed_in_just_now(request),
    )  # fmt: skip
    if change_set.state == State.SCHEDULED:
        messages.success(request, f"Approved. It takes effect on {change_set.effective_on:%d %b %Y}.")
    elif change_set.state == State.SUBMITTED:
        messages.success(
            request,
            "You have agreed. Entries moved since the dry-run, so a worker makes it once more and approves what says the same.",
        )
    elif changes.is_little(change_set):
        changes.apply(change_set)
        tell = messages.warning if change_set.state == State.DRAFT else messages.success
        tell(request, _applied(change_set, user))
    else:
        messages.success(request, "Approved. It is applied now, and what it touches is validated again.")
    return ""


def _applied(change_set: ChangeSet, user: User) -> str:
    if change_set.state == State.DRAFT:
        return "It could not be applied and went back to who wrote it; the page says why."
    if change_set.state in (State.APPROVED, State.SCHEDULED):
        return "Approved. A worker is applying it; the page shows what came of it."
    told = "no open entry is touched"
    if change_set.total:
        told = f"{'1 entry was' if change_set.total == 1 else f'{change_set.total:,} entries were'} validated again"
    if follows := rate_bundle.following(change_set, user):
        return f"Approved and applied; {told}. In the books: {follows.sentence}."
    if booked := int((change_set.result.get("booked") or {}).get("entries", 0)):
        entries = "1 booked entry says" if booked == 1 else f"{booked:,} booked entries say"
        told = f"{told}. {entries} something else than they would now; plan on this page what follows"
    return f"Approved and applied; {told}."


def _seen(request: HttpRequest, name: str) -> str:
    """What the form that is answered had shown; nobody decides without."""
    seen = request.POST.get(name)
    if seen is None:
        raise changes.ChangeRefused("The form did not say what you looked at; open it again and decide there.")
    return seen


def _reject(request: HttpRequest, change_set: ChangeSet, user: User) -> str:
    change_set.content_hash = _seen(request, "hash")
    changes.reject(change_set, user, request.POST.get("comment", ""))
    messages.success(request, "Rejected. Nothing was changed, and who wrote it reads why.")
    return ""


def _withdraw(request: HttpRequest, change_set: ChangeSet, user: User) -> str:
    changes.withdraw(change_set, user, request.POST.get("comment", ""))
    messages.success(request, "Withdrawn. Nothing was changed.")
    return ""


def _roll_back(request: HttpRequest, change_set: ChangeSet, user: User) -> str:
    try:
        made = changes.roll_back(
            change_set, user, request.POST.get("comment", ""), also=request.POST.getlist("also"),
            ends=request.POST.get("ends") == "true",
        )  # fmt: skip
    except changes.Begun as begun:
        if not ChangeSet.objects.visible_to(user).filter(pk=begun.first.pk).exists():
            raise
        messages.warning(request, "This undoes it already, so no second one was written.")
        return reverse("change_set", args=[begun.first.pk])
    plan = _planned(made, user)
    also = ", with the plan of what follows in the books" if plan else ""
    messages.success(request, f"This draft undoes it{also}. Look at it, then submit it.")
    return reverse("change_set", args=[made.pk])


def _emergency(request: HttpRequest, change_set: ChangeSet, user: User) -> str:
    content, change_set.fingerprint = _seen(request, "hash"), _seen(request, "fingerprint")
    changes.declare_emergency(change_set, user, content=content, signed_in_again=sessions.signed_in_just_now(request))
    if change_set.state == State.DRAFT:
        messages.success(request, "This is what it would do. Nothing was changed; read it, then apply it.")
        return ""
    if change_set.state == State.SUBMITTED:
        messages.success(
            request, "It touches many entries, so a worker makes its dry-run first. Apply it once you see that here."
        )
        return ""
    if changes.is_little(change_set):
        changes.apply(change_set)
    if change_set.state == State.DRAFT:
        messages.warning(request, "It could not be applied and went back to who wrote it; the page says why.")
        return ""
    messages.success(request, "It goes at once. Everybody who could have decided was told, and one of them reviews it.")
    return ""


def _review(request: HttpRequest, change_set: ChangeSet, user: User) -> str:
    changes.review(change_set, user, request.POST.get("comment", ""))
    messages.success(request, "Reviewed.")
    return ""


def _preview(request: HttpRequest, change_set: ChangeSet, user: User) -> str:
    if not changes.may_write(change_set, user) and not changes.may_decide(change_set, user):
        raise PermissionDenied("The dry-run is made again by who writes it or decides on it.")
    changes.preview(change_set)
    is_made = change_set.previewed_at is not None
    messages.success(
        request, "This is the dry-run of now." if is_made else "A worker makes the dry-run; the page shows it then."
    )
    return ""


def _attach(request: HttpRequest, change_set: ChangeSet, user: User) -> str:
    upload = request.FILES.get("file")
    if upload is None:
        raise changes.ChangeRefused("Choose a file.")
    changes.attach(change_set, user, str(upload.name), upload.read(attaching.LARGEST + 1))
    messages.success(request, "Attached. It is frozen with the change set when that is submitted.")
    return ""


def _detach(request: HttpRequest, change_set: ChangeSet, user: User) -> str:
    changes.detach(change_set, user, keys.key(request.POST.get("file", "")) or 0)
    messages.success(request, "Taken out.")
    return ""


STEPS: dict[str, Callable[[HttpRequest, ChangeSet, User], str]] = {
    "submit": _submit, "approve": _approve, "reject": _reject, "withdraw": _withdraw, "roll-back": _roll_back,
    "emergency": _emergency, "review": _review, "preview": _preview, "attach": _attach, "detach": _detach,
}  # fmt: skip
