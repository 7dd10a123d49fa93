"""The toy kitchen: the demo's recipes, captions, drawings and small pretrained networks.

Nothing here is about the paper. How its videos are fetched is in `data.sources.kitchen`.
"""
