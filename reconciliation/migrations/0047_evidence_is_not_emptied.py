"""Evidence and histories are not emptied as a whole either: what no row may leave, no TRUNCATE takes."""

from django.db import migrations

KEPT = (
    "reconciliation_billingdecision",
    "reconciliation_bookedbefore",
    "reconciliation_certificate",
    "reconciliation_changeeditor",
    "reconciliation_changefile",
    "reconciliation_changeline",
    "reconciliation_changeset_entities",
    "reconciliation_entrycomment",
    "reconciliation_historicalcutover",
    "reconciliation_historicalexceptioncase",
    "reconciliation_historicalmatchingrule",
    "reconciliation_historicalroute",
    "reconciliation_onboarding",
    "reconciliation_operationrow",
    "reconciliation_rehearsedline",
)


def _triggers() -> str:
    return "\n".join(
        f"CREATE TRIGGER is_not_emptied BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_emptying();"
        for table in KEPT
    )


def _drop() -> str:
    return "\n".join(f"DROP TRIGGER is_not_emptied ON {table};" for table in KEPT)


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0034_evidence_is_not_emptied"),
        ("reconciliation", "0046_what_waits_because_of_a_cause"),
    ]

    operations = [migrations.RunSQL(_triggers(), _drop())]
