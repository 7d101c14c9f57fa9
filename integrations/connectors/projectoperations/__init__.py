"""Microsoft Dynamics 365 Project Operations, whose time and expenses live in Dataverse."""

from integrations.connectors.projectoperations.connector import ProjectOperationsConnector

__all__ = ["ProjectOperationsConnector"]
