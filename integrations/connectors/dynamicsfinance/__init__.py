"""Microsoft Dynamics 365 Finance (Finance and Operations apps), by its OData entities."""

from integrations.connectors.dynamicsfinance.connector import DynamicsFinanceConnector

__all__ = ["DynamicsFinanceConnector"]
