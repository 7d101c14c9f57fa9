"""Microsoft Dynamics 365 Business Central, API v2.0 and a custom API page for its project journal."""

from integrations.connectors.businesscentral.connector import BusinessCentralConnector

__all__ = ["BusinessCentralConnector"]
