"""Read the embeddings that `writer` has written."""

import json
from pathlib import Path

import numpy as np


class Embeddings:
    """The arrays of an embeddings folder, memory-mapped, and the row of each sentence and image.

    Args:
        folder: `data/embeddings`, see `writer`.
    """

    def __init__(self, folder: Path):
        self.sentence_rows = _rows(folder / "sentences.json")
        self.image_rows = _rows(folder / "images.json")
        self.text_tokens = _mapped(folder, "text_tokens")
        self.text_pooled = _mapped(folder, "text_pooled")
        self.text_projected = _mapped(folder, "text_projected")
        self.image_tokens = _mapped(folder, "image_tokens")
        self.image_pooled = _mapped(folder, "image_pooled")
        self.latent_mean = _mapped(folder, "latent_mean")
        self.latent_logvar = _mapped(folder, "latent_logvar")


def _mapped(folder: Path, name: str) -> np.ndarray:
    return np.load(folder / f"{name}.npy", mmap_mode="r")


def _rows(path: Path) -> dict[str, int]:
    return {item: row for row, item in enumerate(json.loads(path.read_text(encoding="utf-8")))}
