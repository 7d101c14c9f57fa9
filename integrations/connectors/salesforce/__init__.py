"""Salesforce: customers, projects and people by SOQL."""

from integrations.connectors.salesforce.connector import SalesforceConnector

__all__ = ["SalesforceConnector"]
