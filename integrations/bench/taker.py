"""`python -m integrations.bench.taker CONNECTION`: a worker that takes in what one source has filed, and ends."""

from __future__ import annotations

import sys

import django


def main() -> None:
    """Take in until nothing is left."""
    django.setup()
    from integrations import inbox

    inbox.take_in_everything(int(sys.argv[1]))


if __name__ == "__main__":
    main()
