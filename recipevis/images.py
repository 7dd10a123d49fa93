"""Image conventions, and the only arithmetic on 255.

Three conventions meet here: images (PIL or uint8 RGB [h, w, 3] in [0, 255]), unit tensors (float32 [b, 3, h, w] in
[0, 1]) and the VAE's (float32 [b, 3, h, w] in [-1, 1]). torch is imported only by the functions that need it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from recipevis.errors import ParameterError

if TYPE_CHECKING:
    import torch

COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0)}


def blank(pixels: int, colour: str) -> np.ndarray:
    """The image before a first step, uint8 [pixels, pixels, 3]; `colour` is `white` or `black`."""
    return np.full((pixels, pixels, 3), COLOURS[colour], dtype=np.uint8)


def read(path: str | Path) -> np.ndarray:
    """Read an image file as uint8 RGB [h, w, 3]; alpha is dropped."""
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def as_uint8(image: Any) -> np.ndarray:
    """Convert an image to uint8 RGB [h, w, 3].

    Args:
        image: a PIL image, an array [h, w, 3] or a tensor [3, h, w]; uint8, or floats in [0, 1].

    Raises:
        ParameterError: it is none of these.
    """
    if isinstance(image, Image.Image):
        return np.array(image.convert("RGB"))
    if hasattr(image, "detach"):  # a tensor
        image = image.detach().cpu()
        image = (image.float() if image.is_floating_point() else image).numpy()
        image = image.transpose(1, 2, 0) if image.ndim == 3 else image
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[-1] != 3:
        raise ParameterError(
            f"image = {getattr(image, 'shape', type(image).__name__)}: must be a PIL image, an array [h, w, 3] or a "
            "tensor [3, h, w]"
        )
    if image.dtype == np.uint8:
        return image
    if not np.issubdtype(image.dtype, np.floating) or not (image.min() >= 0 and image.max() <= 1):  # nor is NaN
        raise ParameterError(f"image of dtype {image.dtype}: must be uint8, or floats in [0, 1]")
    return np.rint(image * 255).astype(np.uint8)


def resized(image: np.ndarray, pixels: int) -> np.ndarray:
    """An image, uint8 [h, w, 3], squashed to [pixels, pixels, 3]; one of that size is returned as it is."""
    if image.shape[:2] == (pixels, pixels):
        return image
    return np.asarray(Image.fromarray(image).resize((pixels, pixels), Image.Resampling.LANCZOS))


def to_vae(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    """Convert images, uint8 [h, w, 3] each, to the VAE's input, float32 [b, 3, h, w] in [-1, 1]."""
    import torch

    stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return stacked.float() / 127.5 - 1


def to_unit(decoded: torch.Tensor) -> torch.Tensor:
    """Convert the VAE's output, [b, 3, h, w] around [-1, 1], to float32 in [0, 1], clamped."""
    return (decoded.detach().float() / 2 + 0.5).clamp(0, 1)


def from_vae(decoded: torch.Tensor) -> np.ndarray:
    """Convert the VAE's output, [b, 3, h, w] around [-1, 1], to images, uint8 [b, h, w, 3], clamped and rounded."""
    return (to_unit(decoded) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
