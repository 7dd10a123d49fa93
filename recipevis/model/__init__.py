"""What training and sampling share: shapes, networks, conditions, the noise schedule, `predict` and the losses.

Loops over steps belong in `training` and `sampling`.
"""
