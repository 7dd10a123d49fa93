"""How the toy kitchen's scenes become pictures.

What is cooked and said is in `kitchen.recipes`.
"""
