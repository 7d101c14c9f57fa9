"""Whoever began to bring something in does not let it go live; what went live before this was asked stays as it was."""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0049_whom_a_sum_holds")]

    operations = [
        AddConstraintNotValid(
            model_name="onboarding",
            constraint=models.CheckConstraint(
                condition=models.Q(("state", "live"), _negated=True)
                | models.Q(("decided_by", models.F("started_by")), _negated=True),
                name="who_began_it_does_not_let_it_go_live",
            ),
        ),
    ]
