"""Tryton 8.0, an open-source ERP, spoken to by JSON-RPC."""

from integrations.connectors.tryton.connector import TrytonConnector

__all__ = ["TrytonConnector"]
