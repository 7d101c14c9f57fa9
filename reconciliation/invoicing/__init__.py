"""Invoicing: what is to be billed next, proposed to people, and handed to the system that bills as a draft.

The rule here: nothing is sent to a customer from here. A proposal is released by who answers for the project and approved by
finance, never by one person; its draft goes through the ledger and the outbox, and its figures are read back.
"""

from reconciliation.invoicing.standing import compared, recheck, refused, stands, taken

__all__ = ["compared", "recheck", "refused", "stands", "taken"]
