"""What was decided about one record of master data beside its own events: change sets, files, rehearsals, rejected values."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Q

from portal.models import ErasureRequest, RejectedValue
from portal.views.governed import kind_of_name
from reconciliation.changes import KINDS
from reconciliation.models import ChangeLine, MasterImport, Onboarding

MOST = 200  # change sets of one record, the latest


def about(model: str, pk: int) -> Iterator[tuple[str, list[int]]]:
    """The objects of decisions that concern a record, as the chain of decisions names them: (type, keys)."""
    kinds = [kind.code for kind in KINDS if kind.model._meta.model_name == model]
    of_record = ChangeLine.objects.filter(Q(key=pk) | Q(key=None, made=pk), model__in=kinds)
    sets = list(of_record.order_by("-change_set").values_list("change_set_id", flat=True).distinct()[:MOST])
    yield "changeset", sets
    yield "masterimport", list(MasterImport.objects.filter(change_set__in=sets).values_list("pk", flat=True))
    if model == "legalentity":
        yield "onboarding", list(Onboarding.objects.filter(entity=pk).values_list("pk", flat=True))
    if model == "resource":
        yield "erasurerequest", list(ErasureRequest.objects.filter(resource=pk).values_list("pk", flat=True))
    if kind := kind_of_name(model):
        values = RejectedValue.objects.filter(kind=kind, internal_id=pk).exclude(decided_by=None)
        yield "rejectedvalue", list(values.order_by("-pk").values_list("pk", flat=True)[:MOST])
