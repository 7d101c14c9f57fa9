"""A stand-in for Project Operations: Entra's token, the tables of one Dataverse environment, and approval that takes its time."""

from integrations.sandbox.projectoperations.vendor import ProjectOperationsSandbox

__all__ = ["ProjectOperationsSandbox"]
