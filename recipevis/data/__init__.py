"""From annotations and videos to triplets: parse, download, decode, join.

No network is loaded here. What the model's stages read of it is in `tables`.
"""
