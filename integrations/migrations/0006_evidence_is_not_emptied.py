"""Evidence and histories are not emptied as a whole either: what no row may leave, no TRUNCATE takes."""

from django.db import migrations

KEPT = ("integrations_settlement",)


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
        ("integrations", "0005_calls_of_all_processes_are_paced"),
    ]

    operations = [migrations.RunSQL(_triggers(), _drop())]
