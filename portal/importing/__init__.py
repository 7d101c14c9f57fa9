"""Master data from outside, whole or not at all.

The rule here: everything is read and checked before anything is written, every problem is named at its place and all of them
at once, and the same input a second time changes nothing. A dry run is the real run, rolled back.
"""
