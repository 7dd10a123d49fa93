"""The tables between stages: the columns, closed lists and reader of each file, one module a table.

How a table is made doesn't belong here: a stage that only reads one must not rerun when its maker is edited.
"""
