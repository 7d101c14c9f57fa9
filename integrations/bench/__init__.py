"""Measurements: each step of the pipeline against a floor taken in the same run, so that a ratio says something.

The rule here: a bench runs the product's own code on its own tables, in a scratch database that it builds deterministically and
drops. Rounds of value and floor alternate; the median of their ratios is the result.
"""

from integrations.bench.measure import BENCHES, Bench, Result, Scale, run

__all__ = ["BENCHES", "Bench", "Result", "Scale", "run"]
