"""A stand-in for Business Central: Entra's token, API v2.0, and the custom page of the project journal."""

from integrations.sandbox.businesscentral.vendor import BusinessCentralSandbox

__all__ = ["BusinessCentralSandbox"]
