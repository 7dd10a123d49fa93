"""From annotations and videos to triplets: parsing, downloading, decoding, joining.

No network is loaded here; what a model reads of it goes through `tables`.
"""
