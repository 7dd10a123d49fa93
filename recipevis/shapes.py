"""The sizes that sentences, images and conditions have, as the backbone's configurations give them.

Apart from `fusers`, so that the embeddings, which don't depend on how things are fused, aren't made again for a new
fuser.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shapes:
    """What a fuser works between; the letters are those of `fusers`."""

    text_tokens: int  # t
    text_width: int  # e
    image_tokens: int  # p
    image_width: int  # v
    condition_tokens: int  # c
    condition_width: int  # d, the UNet's cross-attention width


def image_tokens(pixels: int, patch: int) -> int:
    """Tokens of an image, p: its square patches and the class token; both sizes in pixels."""
    return (pixels // patch) ** 2 + 1
