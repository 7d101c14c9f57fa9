"""The promises that must hold after every test: called at the end of flows, races and faults."""

from __future__ import annotations

from integrations import invariants


def assert_all_hold() -> None:
    """Fail with a sentence for each breach; the targets themselves are asked for duplicates."""
    broken = [
        f"{invariant.code} {invariant.promise}: {sentence}"
        for invariant, sentences in invariants.verify()
        for sentence in sentences
    ]
    assert not broken, "\n".join(broken)
