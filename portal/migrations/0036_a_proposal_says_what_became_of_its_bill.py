"""A proposal whose every bill was voided, or is deleted and agreed to be so, says it instead of “billed”."""

from django.db import migrations, models

STATES = [
    ("open", "Open"),
    ("released", "Released"),
    ("approved", "Approved"),
    ("handed_over", "Handed over"),
    ("billed", "Billed"),
    ("voided", "Bill voided"),
    ("deleted", "Bill deleted"),
    ("withdrawn", "Withdrawn"),
]
_WENT = ["handed_over", "billed", "voided", "deleted"]

# A proposal that was withdrawn because its bill was deleted had been handed over; one that still says billed may have none alive.
WHAT_BECAME_OF_THEM = """
UPDATE portal_invoiceproposal i SET state = w.state, reason = ''
  FROM (SELECT l.proposal_id,
               CASE WHEN bool_or(v.status NOT IN ('voided', 'deleted') OR (v.status = 'deleted' AND n.agreed_id <> n.current_id))
                    THEN 'billed' WHEN bool_and(v.status = 'deleted') THEN 'deleted' ELSE 'voided' END AS state
          FROM portal_proposalline l JOIN portal_invoicedraft d ON d.document_id = l.draft_id
          JOIN portal_invoice n ON n.id = d.invoice_id JOIN portal_invoiceversion v ON v.id = n.current_id GROUP BY 1) w
 WHERE i.id = w.proposal_id AND w.state <> 'billed'
   AND (i.state = 'billed' OR (i.state = 'withdrawn' AND i.reason LIKE '% was deleted; its hours are open to be proposed again.'));
"""
BACK = "UPDATE portal_invoiceproposal SET state = 'billed' WHERE state IN ('voided', 'deleted');"


class Migration(migrations.Migration):
    dependencies = [("portal", "0035_a_rejected_value_is_accepted")]

    operations = [
        migrations.RemoveConstraint(model_name="invoiceproposal", name="what_goes_on_was_released"),
        migrations.RemoveConstraint(model_name="invoiceproposal", name="what_is_handed_over_was_approved"),
        migrations.AlterField(
            model_name="invoiceproposal",
            name="state",
            field=models.CharField(choices=STATES, default="open", max_length=12),
        ),
        migrations.AddConstraint(
            model_name="invoiceproposal",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["released", "approved", *_WENT]), _negated=True)
                | models.Q(("released_by__isnull", False)),
                name="what_goes_on_was_released",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoiceproposal",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["approved", *_WENT]), _negated=True)
                | models.Q(("approved_by__isnull", False)),
                name="what_is_handed_over_was_approved",
            ),
        ),
        migrations.RunSQL(WHAT_BECAME_OF_THEM, BACK),
    ]
