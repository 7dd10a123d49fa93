"""What training and sampling share: shapes, networks, conditions, the noise schedule and `predict`.

Losses and loops over steps belong in `training` and `sampling`.
"""
