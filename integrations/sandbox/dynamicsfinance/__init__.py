"""A stand-in for Dynamics 365 Finance: Entra's token, the OData entities of its companies, and journals that people post."""

from integrations.sandbox.dynamicsfinance.vendor import DynamicsFinanceSandbox

__all__ = ["DynamicsFinanceSandbox"]
