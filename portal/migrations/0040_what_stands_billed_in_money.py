"""A billing balance says in money too what stands on bills, so that a credit of the price alone is seen wherever one reads it."""

from importlib import import_module

from django.db import migrations, models

BEFORE = import_module("portal.migrations.0031_another_version_bills_instead").AFTER

# What a bill in another currency asks for counts as its share of what was delivered.
_OF_ENTRY = """CASE WHEN e.amount IS NULL OR e.currency = a.currency THEN a.amount
            ELSE e.amount * a.quantity / nullif(CASE WHEN e.kind = 'time' THEN e.hours ELSE e.amount END, 0) END"""
_OF_MILESTONE = "CASE WHEN m.currency = a.currency THEN a.amount ELSE a.quantity END"

_KEPT = """UPDATE portal_billingbalance b SET invoiced = b.invoiced + n.invoiced, credited = b.credited + n.credited
      FROM (SELECT {key}, sum(greatest(quantity, 0)) AS invoiced, sum(greatest(-quantity, 0)) AS credited
              FROM fresh WHERE {key} IS NOT NULL GROUP BY 1) n WHERE b.{key} = n.{key};"""
_WITH_MONEY = """UPDATE portal_billingbalance b SET invoiced = b.invoiced + n.invoiced, credited = b.credited + n.credited,
           amount = b.amount + n.amount
      FROM (SELECT a.{key}, sum(greatest(a.quantity, 0)) AS invoiced, sum(greatest(-a.quantity, 0)) AS credited,
                   coalesce(sum({worth}), 0) AS amount
              FROM fresh a JOIN {table} ON {alias}.id = a.{key} GROUP BY 1) n WHERE b.{key} = n.{key};"""
AFTER = BEFORE
_OF = (
    ("entry_id", "portal_ledgerentry e", "e", _OF_ENTRY),
    ("milestone_id", "portal_milestone m", "m", _OF_MILESTONE),
)
for key, table, alias, worth in _OF:
    AFTER = AFTER.replace(_KEPT.format(key=key), _WITH_MONEY.format(key=key, table=table, alias=alias, worth=worth))

FILL = "\n".join(
    [
        "ALTER TABLE portal_billingbalance DISABLE TRIGGER is_kept_by_allocations;",
        *(
            f"UPDATE portal_billingbalance b SET amount = n.amount FROM (SELECT a.{key}, coalesce(sum({worth}), 0) AS amount"  # noqa: S608
            f" FROM portal_allocation a JOIN {table} ON {alias}.id = a.{key} GROUP BY 1) n WHERE b.{key} = n.{key};"
            for key, table, alias, worth in _OF
        ),
        "ALTER TABLE portal_billingbalance ENABLE TRIGGER is_kept_by_allocations;",
    ]
)


class Migration(migrations.Migration):
    dependencies = [("portal", "0039_bills_that_ask_for_nothing")]

    operations = [
        migrations.AddField(
            "billingbalance", "amount", models.DecimalField(max_digits=18, decimal_places=4, default=0, db_default=0)
        ),
        migrations.RunSQL(AFTER, BEFORE),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
    ]
