"""A stand-in for Oracle NetSuite: SuiteTalk REST records, SuiteQL, asynchronous jobs and both ways to authenticate.

The rule that holds: it refuses what the vendor refuses. Unknown fields, references that do not exist, inactive people and
projects, closed periods, unsigned calls and more calls at once than the account may make are all answered in the vendor's
own error bodies. What the vendor's documents leave open is decided here once and marked as our reading.
"""

from integrations.sandbox.netsuite.vendor import NetSuiteSandbox

__all__ = ["NetSuiteSandbox"]
