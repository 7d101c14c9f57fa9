"""Evidence is not emptied as a whole, and the role of the application can switch nothing of that off."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.db import DatabaseError, ProgrammingError, connection, transaction
from django.test import override_settings

from portal import audit, roles_check
from portal.models import GrantRole
from portal.sql import execute, rows
from tests import world

pytestmark = pytest.mark.django_db
ROLES = settings.BASE_DIR / "docs" / "examples" / "database" / "1-roles.sql"
OWNER, APPLICATION = (f"{name}_{os.getpid()}" for name in ("owner", "application"))


def test_every_table_that_keeps_its_rows_refuses_to_be_emptied() -> None:
    keeps = """
        SELECT DISTINCT c.relname FROM pg_class c
          LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgtype & 8 > 0
          LEFT JOIN pg_proc p ON p.oid = t.tgfoid
         WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
           AND (p.proname <> 'word_of_mappings' OR c.relname LIKE '%%\\_historical%%')
           AND NOT EXISTS (SELECT 1 FROM pg_trigger e JOIN pg_proc f ON f.oid = e.tgfoid
                            WHERE e.tgrelid = c.oid AND f.proname = 'refuse_emptying'
                              AND e.tgtype & 32 > 0 AND e.tgtype & 1 = 0)"""
    assert rows(keeps) == []
    assert len(rows("SELECT 1 FROM pg_trigger WHERE tgname = 'is_not_emptied'")) > 50


@pytest.mark.parametrize(
    "table", ["portal_auditevent", "portal_ledgertransition", "portal_document", "portal_historicalrate"]
)
def test_not_even_a_superuser_empties_the_chain_the_ledger_or_a_history_by_mistake(table: str) -> None:
    cleo = world.user("cleo", everywhere=True)
    audit.record(cleo, "test.decided", cleo)
    execute("SET CONSTRAINTS ALL IMMEDIATE")  # nothing of this transaction is left to check
    with pytest.raises(DatabaseError, match="is evidence and is not emptied"), transaction.atomic():
        execute(f"TRUNCATE {table} CASCADE")
    assert audit.verify() == []


@pytest.fixture
def two_roles() -> Iterator[None]:
    """The roles of the documentation, as its own file makes them, over tables that are the owner's. Rolled back with the test."""
    said = ROLES.read_text().replace(':"DBNAME"', connection.ops.quote_name(settings.DATABASES["default"]["NAME"]))
    execute(
        said.replace("tieout_owner", OWNER)
        .replace("TO tieout;", f"TO {APPLICATION};")
        .replace("ROLE tieout ", f"ROLE {APPLICATION} ")
    )
    for (table,) in rows("SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'is_not_emptied'"):
        execute(f"ALTER TABLE {table} OWNER TO {OWNER}")
    yield
    execute("RESET ROLE")


def test_the_role_of_the_application_works_and_reaches_nothing_that_keeps_evidence(two_roles: None) -> None:
    cleo = world.user("cleo", GrantRole.CONTROLLER, everywhere=True)
    execute(f"SET LOCAL ROLE {APPLICATION}")
    audit.record(cleo, "test.decided", cleo)
    assert audit.verify() == []
    for forbidden in (
        "TRUNCATE portal_auditevent",
        "ALTER TABLE portal_auditevent DISABLE TRIGGER is_not_emptied",
        "DROP TRIGGER is_append_only ON portal_auditevent",
        "DROP TABLE portal_auditevent",
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "SET session_replication_role = replica",
    ):
        with pytest.raises(ProgrammingError, match=r"must be owner|permission denied"), transaction.atomic():
            execute(forbidden)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        execute("DELETE FROM portal_auditevent")


def test_the_deployment_check_names_a_role_that_could_switch_it_off(two_roles: None) -> None:
    def said() -> list[str]:
        return [message.msg for message in roles_check.evidence_is_out_of_reach(None, databases=["default"])]

    assert said() == [], "a trial on one machine is not asked"
    with override_settings(LOCAL=False):
        assert "a superuser" in said()[0]
        execute(f"SET LOCAL ROLE {OWNER}")
        kept = len(rows("SELECT 1 FROM pg_trigger WHERE tgname = 'is_not_emptied'"))
        assert f"owns {kept} of {kept} tables of evidence" in said()[0]
        execute(f"SET LOCAL ROLE {APPLICATION}")
        assert said() == []
        execute("RESET ROLE")
        execute(f"GRANT TRUNCATE ON portal_auditevent TO {APPLICATION}")
        execute(f"SET LOCAL ROLE {APPLICATION}")
        assert f"may empty 1 of {kept} tables" in said()[0]
        assert roles_check.evidence_is_out_of_reach(None, databases=None) == [], (
            "no database is asked without being named"
        )
