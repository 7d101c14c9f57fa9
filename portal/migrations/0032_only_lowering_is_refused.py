"""A milestone that was billed above its amount before that was watched may be saved, and raised; only lowering it is refused."""

from importlib import import_module

from django.db import migrations

BEFORE = import_module("portal.migrations.0029_a_billed_milestone_keeps_what_is_billed").FUNCTIONS
_START, _END = BEFORE.index("CREATE FUNCTION"), BEFORE.index("CREATE TRIGGER")
BEFORE = BEFORE[_START:_END].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
AFTER = BEFORE.replace(
    "IF billed > NEW.amount THEN", "IF NEW.amount < OLD.amount AND billed > NEW.amount THEN"
).replace(
    "UPDATE portal_billingbalance SET delivered = NEW.amount WHERE milestone_id = NEW.id AND delivered <> NEW.amount;",
    "UPDATE portal_billingbalance SET delivered = greatest(NEW.amount, billed)"
    " WHERE milestone_id = NEW.id AND delivered <> greatest(NEW.amount, billed);",
)


class Migration(migrations.Migration):
    dependencies = [("portal", "0031_another_version_bills_instead")]

    operations = [migrations.RunSQL(AFTER, BEFORE)]
