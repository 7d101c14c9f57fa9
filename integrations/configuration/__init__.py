"""The operator's configuration file: entities, periods, connections, routes, policies and people in one TOML document.

The rule here: the file is checked as a whole before anything is written, every mistake is named by its path, and what it does
not mention stays as it is. A secret is never in the file, only the name of where it lies.
"""
