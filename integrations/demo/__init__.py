"""The demo firm: five entities, three kinds of source, two ERPs, and a month in which what usually goes wrong does.

The rule here: the firm comes in by the operator's own commands (`configure`, `import_master_data`, an upload), and its vendors
are told by the sandbox's control plane; nothing of the pipeline knows that it is a demo.
"""
