"""Sizes that follow from the backbone's configurations, without loading a weight."""


def image_tokens(pixels: int, patch: int) -> int:
    """Tokens of an image, p: its square patches and the class token; both sizes in pixels."""
    return (pixels // patch) ** 2 + 1
