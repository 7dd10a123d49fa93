"""Pictures that tests resize and encode."""

import numpy as np


def picture(pixels: int = 64, seed: int = 0) -> np.ndarray:
    """Smooth colours with hard edges and noise: what resampling can get wrong."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:pixels, :pixels] / pixels
    smooth = np.stack([x, y, (x + y) / 2], -1) * 255
    smooth[(x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.1] = (255, 0, 30)
    return np.clip(smooth + random.normal(0, 20, smooth.shape), 0, 255).round().astype(np.uint8)
