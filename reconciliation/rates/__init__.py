"""Rates under governance: what a card says, which rate an hour has and why, and where work has none.

The rule here: no price is computed in this package. It asks `reconciliation.pricing` with the facts that validation uses, so
what a screen answers is what an entry would be priced at.
"""
