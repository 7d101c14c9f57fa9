"""Oracle NetSuite, source of master data and target of approved time and expenses, over SuiteTalk REST and SuiteQL."""

from integrations.connectors.netsuite.connector import NetSuiteConnector

__all__ = ["NetSuiteConnector"]
