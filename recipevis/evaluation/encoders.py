"""The encoders that measure: each turns images into vectors that metrics compare."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import transformers
from transformers import CLIPImageProcessorPil, CLIPModel

transformers.utils.logging.disable_progress_bar()


class Encoder(Protocol):
    """Anything that turns images into vectors."""

    def pooled(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Vectors, float32 [n, d], not normalised, of images, uint8 RGB [h, w, 3] each."""


class ClipImages:
    """The vision tower of a CLIP.

    Args:
        folder: a whole CLIPModel with its preprocessor.
        device: where it runs.
        batch_size: images per forward pass.
    """

    def __init__(self, folder: Path, device: str | torch.device, batch_size: int = 32):
        self._encoder = CLIPModel.from_pretrained(folder, dtype=torch.float32).vision_model.eval().to(device)
        self._processor = CLIPImageProcessorPil.from_pretrained(folder)
        self._batch_size = batch_size

    has_text = True

    def images(self, images):
        v = self.pooled(images)
        return {"pooled": v, "projected": v}

    def sentences(self, s):
        return np.stack([np.random.default_rng(len(x)).normal(size=96) for x in s]).astype(np.float32)

    @torch.no_grad()
    def pooled(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The pooled outputs, float32 [n, d], not normalised, of images, uint8 RGB [h, w, 3] each."""
        batches = [list(images[i : i + self._batch_size]) for i in range(0, len(images), self._batch_size)]
        pixels = [self._processor(batch, return_tensors="pt").pixel_values for batch in batches]
        vectors = [self._encoder(batch.to(self._encoder.device)).pooler_output for batch in pixels]
        return torch.cat(vectors).cpu().numpy()


FOLDERS = {
    "clip": Path("models/backbone/clip"),
    "encoder": Path("models/encoder"),
    "image_encoder": Path("models/image_encoder"),
}


def load(folders: Mapping[str, Path], device: str | torch.device) -> dict[str, ClipImages]:
    """Load the encoders by name, skipping folders without one: `models/encoder/` may be empty."""
    return {name: ClipImages(path, device) for name, path in folders.items() if (path / "config.json").exists()}
