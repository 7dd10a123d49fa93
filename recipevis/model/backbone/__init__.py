"""Where the frozen and the initial networks come from, and whether they fit each other.

Reading and running them is in `model.networks`.
"""
