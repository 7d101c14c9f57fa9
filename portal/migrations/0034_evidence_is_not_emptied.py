"""Evidence and histories are not emptied as a whole either: what no row may leave, no TRUNCATE takes."""

from django.db import migrations

KEPT = (
    "portal_allocation",
    "portal_attempt",
    "portal_attemptline",
    "portal_auditevent",
    "portal_billingbalance",
    "portal_erasure",
    "portal_erasurerequest",
    "portal_expense",
    "portal_historicalaccountingperiod",
    "portal_historicalalias",
    "portal_historicalapprovalstep",
    "portal_historicalassignment",
    "portal_historicalconnection",
    "portal_historicalcontract",
    "portal_historicalcostcentre",
    "portal_historicalcrosswalk",
    "portal_historicalcustomer",
    "portal_historicalengagement",
    "portal_historicalentitygrant",
    "portal_historicalexchangerate",
    "portal_historicalintercompanyrelation",
    "portal_historicallegalentity",
    "portal_historicalmilestone",
    "portal_historicalproject",
    "portal_historicalprojectstatus",
    "portal_historicalpurchaseorder",
    "portal_historicalrate",
    "portal_historicalratecard",
    "portal_historicalresource",
    "portal_historicalrole",
    "portal_historicaltask",
    "portal_invoice",
    "portal_invoiceline",
    "portal_invoiceversion",
    "portal_ledgerentry",
    "portal_ledgertransition",
    "portal_payment",
    "portal_paymentallocation",
    "portal_paymentversion",
    "portal_proposalline",
    "portal_proposalpart",
    "portal_publishedversion",
    "portal_readback",
    "portal_receipt",
    "portal_timeentry",
)

FUNCTION = """
CREATE FUNCTION refuse_emptying() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is evidence and is not emptied', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
"""


def _triggers() -> str:
    return "\n".join(
        f"CREATE TRIGGER is_not_emptied BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_emptying();"
        for table in KEPT
    )


def _drop() -> str:
    return "\n".join(f"DROP TRIGGER is_not_emptied ON {table};" for table in KEPT)


class Migration(migrations.Migration):
    dependencies = [("portal", "0033_hours_beyond_a_retainer")]

    operations = [migrations.RunSQL(FUNCTION + _triggers(), _drop() + "DROP FUNCTION refuse_emptying;")]
