#!/usr/bin/env python
"""The command line of Tieout.

Without DATABASE_URL and SECRET_KEY a checkout is a trial on one machine: the embedded PostgreSQL of var/ is started or
joined, and the trial's own key is used. Where either is set, the environment is taken as it stands.
"""

from __future__ import annotations

import os
import sys

# Commands that never ask the database, so that none is started for them.
WITHOUT_DATABASE = frozenset(
    {"help", "--help", "-h", "version", "--version", "collectstatic", "compilemessages", "makemessages"}
    | {"serve", "reset", "spectacular"}
)


def main() -> None:
    """Run one command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    os.environ.setdefault("TIEOUT_PROCESS", "command")
    command = sys.argv[1] if len(sys.argv) > 1 else "help"
    if "DATABASE_URL" not in os.environ and "SECRET_KEY" not in os.environ:
        os.environ.setdefault("TIEOUT_DEMO", "1")
    if os.environ.get("TIEOUT_DEMO") == "1" and "DATABASE_URL" not in os.environ and command not in WITHOUT_DATABASE:
        from portal import database

        try:
            os.environ["DATABASE_URL"] = database.ensure()
        except database.DatabaseUnavailable as error:
            sys.exit(str(error))

    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the lines, as `head` does, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
