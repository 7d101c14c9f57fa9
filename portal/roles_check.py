"""Whether the role under which the application signs in to PostgreSQL could switch off what keeps evidence.

Triggers hold that evidence is neither changed, deleted nor emptied; who owns a table may drop its triggers, and a superuser may
do anything. docs/configuration.md says which role owns the tables, and `manage.py check --deploy --database default` asks here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Tags, register
from django.db import connection

_REACH = """
SELECT current_user::text, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
       count(*) FILTER (WHERE pg_has_role(current_user, c.relowner, 'USAGE')),
       count(*) FILTER (WHERE has_table_privilege(c.oid, 'TRUNCATE') OR has_table_privilege(c.oid, 'TRIGGER')), count(*)
  FROM pg_class c
 WHERE c.oid IN (SELECT t.tgrelid FROM pg_trigger t WHERE t.tgname = 'is_not_emptied')
"""


@register(Tags.database, deploy=True)
def evidence_is_out_of_reach(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_kwargs: Any
) -> list[CheckMessage]:
    """A warning where the application's own role owns what it must not be able to forge; nothing in a trial on one machine."""
    if not databases or settings.LOCAL:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_REACH)
        role, is_superuser, owned, granted, kept = cursor.fetchone()
    way_out = "Let another role own the tables: docs/configuration.md, “The database's two roles”."
    if is_superuser:
        said = f"The application signs in to PostgreSQL as {role}, a superuser, whom no trigger keeps from evidence."
    elif owned:
        said = f"The application's role {role} owns {owned} of {kept} tables of evidence and could drop their triggers."
    elif granted:
        said = (
            f"The application's role {role} may empty {granted} of {kept} tables of evidence, or put triggers on them."
        )
    else:
        return []
    return [checks.Warning(said, hint=way_out, id="tieout.W010")]
