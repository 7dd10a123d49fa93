"""How the toy kitchen's scenes become pictures and videos.

What is cooked, and in which words, is in `kitchen.recipes`.
"""
