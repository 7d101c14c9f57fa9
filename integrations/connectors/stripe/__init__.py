"""Stripe Invoicing, a billing platform: invoices, credit notes and payments in; customers and invoice drafts out."""

from integrations.connectors.stripe.connector import StripeConnector

__all__ = ["StripeConnector"]
