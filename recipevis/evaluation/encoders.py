"""The encoders that measure, and where the stage `backbone` puts each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from recipevis.backbone.judges import open_judge

FOLDERS = {
    "clip": Path("models/backbone/clip"),
    "encoder": Path("models/encoder"),
    "image_encoder": Path("models/image_encoder"),
}


class Encoder(Protocol):
    """Anything that turns images, and perhaps sentences, into vectors; see `backbone.judges.Judge`."""

    has_text: bool

    def images(self, images: Sequence[np.ndarray]) -> Mapping[str, np.ndarray]:
        """Vectors by their space, float32 [n, d], not normalised, of images uint8 RGB [h, w, 3]."""

    def sentences(self, sentences: Sequence[str]) -> np.ndarray:
        """Vectors in the space `projected`, float32 [n, d]; only if it `has_text`."""


def load(folders: Mapping[str, Path], device: str | torch.device) -> dict[str, Encoder]:
    """Load the encoders by name, skipping folders without one: `models/encoder/` may be empty."""
    return {name: open_judge(path, device) for name, path in folders.items() if (path / "config.json").exists()}
