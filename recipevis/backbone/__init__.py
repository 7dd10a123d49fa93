"""Where the frozen and the initial networks come from: one file a source, and the checks that the parts fit.

Loading and running the networks belongs in `model.networks`.
"""
