"""A contract says how many hours a retainer pays for in a month, and what becomes of the hours beyond them."""

from django.db import migrations, models
from django.db.models import Q

_FIELDS = {
    "retainer_hours": models.DecimalField(blank=True, decimal_places=2, max_digits=8, null=True),
    "overage": models.CharField(
        blank=True, choices=[("hourly", "Billed at the rate card"), ("capped", "Worked and not billed"), ("rejected", "Not accepted")],
        db_default="", default="", max_length=10,
    ),
}  # fmt: skip


class Migration(migrations.Migration):
    dependencies = [("portal", "0032_only_lowering_is_refused")]

    operations = [
        *(
            migrations.AddField(model_name=model, name=name, field=field)
            for model in ("contract", "historicalcontract")
            for name, field in _FIELDS.items()
        ),
        migrations.AddConstraint(
            model_name="contract",
            constraint=models.CheckConstraint(
                condition=Q(retainer_hours=None, overage="")
                | Q(retainer_hours__isnull=False) & Q(retainer_hours__gt=0) & ~Q(overage=""),
                name="retainer_says_what_is_beyond_its_hours",
            ),
        ),
    ]
