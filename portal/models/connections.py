"""Connections: one account at one vendor each. What is true of them; how they fare is told by `integrations`."""

from __future__ import annotations

import hashlib
import json

from django.db import models
from simple_history.models import HistoricalRecords

from portal.models.access import Scope, ScopedQuerySet


class Connection(models.Model):
    """One account at one vendor, reached by one connector, for one legal entity or shared by several.

    Credentials are never stored here: `credentials` names, for each secret of the connector, where it lies, as
    {"token": {"env": "HARVEST_TOKEN"}}, {"token": {"file": "/run/secrets/harvest"}} or {"token": {"stored": 7}}, a secret that
    was typed and is kept sealed.
    """

    code = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=120)
    connector = models.CharField(max_length=40)
    entity = models.ForeignKey("portal.LegalEntity", models.PROTECT, null=True, blank=True, related_name="connections")
    is_source = models.BooleanField(default=False)
    is_target = models.BooleanField(default=False)  # time and expenses are booked there
    is_recipient = models.BooleanField(default=False, db_default=False)  # master data is published to it
    is_biller = models.BooleanField(default=False, db_default=False)  # invoice drafts are handed to it
    base_url = models.CharField(max_length=500)
    realm = models.CharField(max_length=120, blank=True)  # the vendor's account id; crosswalks belong to it
    zone = models.CharField(max_length=60, default="UTC")
    settings = models.JSONField(default=dict, blank=True)
    credentials = models.JSONField(default=dict, blank=True)
    concurrency = models.PositiveSmallIntegerField(default=1)  # calls at once over all workers
    cut_over_on = models.DateField(null=True, blank=True)  # documents with an earlier work date are history, not posted
    is_active = models.BooleanField(default=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    pause_reason = models.CharField(max_length=300, blank=True)

    history = HistoricalRecords(history_change_reason_field=models.TextField(null=True))
    scope = Scope(shared=True)
    objects = ScopedQuerySet.as_manager()

    class Meta:
        ordering = ["code"]

    def __str__(self) -> str:
        return self.name

    @property
    def tested_as(self) -> str:
        """What a test of the account depends on, as a digest: where it answers, with which settings and which credentials."""
        said = [self.connector, self.base_url, self.realm, self.zone, self.settings, self.credentials]
        return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()

    @property
    def realm_key(self) -> tuple[str, str]:
        """What crosswalks are looked up by: the connector and the realm within it."""
        return (self.connector, self.realm)
