"""A stand-in for Stripe Invoicing: customers, invoices and their items, payments, credit notes, events and signed webhooks."""

from integrations.sandbox.stripe.vendor import StripeSandbox

__all__ = ["StripeSandbox"]
