"""Small stateful stand-ins of our vendors, speaking their HTTP on this machine, for `make run` and for tests.

The rule that holds: a stand-in is written from the vendor's documents and never imports a connector, so that both have to
agree on the wire. One process serves every vendor under its prefix; `/_sandbox/` is the control plane (see `server.py`).

A vendor joins by one line in `VENDORS`.
"""

VENDORS: dict[str, str] = {
    "businesscentral": "integrations.sandbox.businesscentral:BusinessCentralSandbox",
    "clockify": "integrations.sandbox.clockify:ClockifySandbox",
    "dynamicsfinance": "integrations.sandbox.dynamicsfinance:DynamicsFinanceSandbox",
    "harvest": "integrations.sandbox.harvest:HarvestSandbox",
    "netsuite": "integrations.sandbox.netsuite:NetSuiteSandbox",
    "projectoperations": "integrations.sandbox.projectoperations:ProjectOperationsSandbox",
    "salesforce": "integrations.sandbox.salesforce:SalesforceSandbox",
    "stripe": "integrations.sandbox.stripe:StripeSandbox",
    "tempo": "integrations.sandbox.tempo:TempoSandbox",
}
