"""What one version of a document billed another one bills in its place, in one statement: what counts is what stands in the end."""

from importlib import import_module

from django.db import migrations

BEFORE = import_module("portal.migrations.0017_a_void_credit_bills_again").AFTER
_OTHER = "      JOIN portal_billingbalance b ON b.document_id = e.document_id AND b.entry_id <> e.id AND b.invoiced > b.credited\n"
_OWN = "      JOIN portal_billingbalance own ON own.entry_id = e.id AND own.invoiced > own.credited\n"
AFTER = BEFORE.replace(_OTHER, _OWN + _OTHER)


class Migration(migrations.Migration):
    dependencies = [("portal", "0030_projects_of_a_contract_on_one_invoice")]

    operations = [migrations.RunSQL(AFTER, BEFORE)]
