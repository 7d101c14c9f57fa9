"""Webhooks that end by themselves are kept alive: once a night each source is asked to see to its subscriptions.

The rule here: a subscription that lapsed costs speed and no work, because what is true is read by schedule as well.
"""

from __future__ import annotations

import logging

from django.conf import settings

from integrations import notices, registry
from integrations.calls import NoLeave, leave_to_read
from integrations.errors import ConnectorError, Unauthorised
from integrations.protocol import SubscribedSource
from portal.models import Connection

log = logging.getLogger(__name__)


def address_of(connection: Connection) -> str:
    """Where a vendor sends the webhooks of a connection."""
    return f"{settings.SITE_URL.rstrip('/')}/hooks/{connection.code}/"


def keep(connection_id: int) -> str:
    """See to the subscriptions of one connection; one sentence, empty when there is nothing to see to or no leave to call."""
    connection = Connection.objects.select_related("entity").get(pk=connection_id)
    leave = leave_to_read(connection)
    if isinstance(leave, NoLeave):
        return ""
    error: ConnectorError | None = None
    said = ""
    try:
        source = registry.source(connection)
        if isinstance(source, SubscribedSource):
            said = source.keep_subscriptions(address_of(connection))
        notices.renewed(connection)
    except ConnectorError as failed:
        error = failed
        log.warning("the webhooks of %s could not be seen to: %s", connection.code, failed)
        if isinstance(failed, Unauthorised):
            notices.unauthorised(connection, failed)
        else:
            notices.not_renewed(connection, failed)
    leave.heard(error)
    return said
