"""The hand-written SQL of whether it is right, behind functions named in the business's words.

The rule here: every function is a fixed number of statements however many rows it is given, takes keys of the batch and never
a whole table, and reads the portal's tables without writing them (cases and holds are this app's own).
"""
