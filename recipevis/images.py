"""Image conventions, and the only arithmetic on 255.

Three conventions meet here: pictures (PIL, uint8 RGB [h, w, 3] in [0, 255]), the VAE's (float32 [b, 3, h, w] in
[-1, 1]) and CLIP's (float32 [b, 3, h, w], standardised).
"""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageOps

COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0)}


def square(image: Image.Image, pixels: int, how: str) -> Image.Image:
    """Resize a picture to `pixels` x `pixels`, RGB, Lanczos.

    Args:
        image: any mode; alpha is dropped.
        pixels: height and width of the result.
        how: `squash` changes the proportions (A.1, literally), `crop` keeps the centre, `pad` adds black borders.
    """
    image = image.convert("RGB")
    shape = (pixels, pixels)
    if how == "crop":
        return ImageOps.fit(image, shape, Image.Resampling.LANCZOS)
    if how == "pad":
        return ImageOps.pad(image, shape, Image.Resampling.LANCZOS)
    return image.resize(shape, Image.Resampling.LANCZOS)


def blank(pixels: int, colour: str) -> np.ndarray:
    """The image before a first step, uint8 [pixels, pixels, 3]; `colour` is `white` or `black`."""
    return np.full((pixels, pixels, 3), COLOURS[colour], dtype=np.uint8)


def read(path) -> np.ndarray:
    """A picture file as uint8 RGB [h, w, 3]; alpha is dropped."""
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def to_vae(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    """Pictures, uint8 [h, w, 3] each, as the VAE's input, float32 [b, 3, h, w] in [-1, 1]."""
    stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return stacked.float() / 127.5 - 1


def from_vae(decoded: torch.Tensor) -> np.ndarray:
    """The VAE's output, [b, 3, h, w] around [-1, 1], as pictures, uint8 [b, h, w, 3]: clamped and rounded."""
    unit = (decoded.detach().float() / 2 + 0.5).clamp(0, 1)
    return (unit * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
