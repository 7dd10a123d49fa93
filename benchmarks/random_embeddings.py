"""Random embeddings and triplets of them, for benchmarks and tests where only shapes matter."""

from pathlib import Path

import numpy as np
import pandas as pd

from recipevis.core import files
from recipevis.model.configuration import clip_configuration, read_configuration
from recipevis.model.latents import latent_shape
from recipevis.model.networks import Backbone
from recipevis.model.shapes import fuser_shapes
from recipevis.randomness import numpy_generator

_ITEMS = ["", *(f"item {row:02d}" for row in range(1, 64))]


def write(networks: Backbone, condition_tokens: int, pixels: int, folder: Path) -> None:
    """Write random embeddings as the stage `embed` does, for the triplets of `triplets`.

    Args:
        networks: whose shapes the embeddings have.
        condition_tokens: as in `fuser_shapes`.
        pixels: height and width of the frames.
        folder: where the arrays go.
    """
    folders = networks.folder, networks.folder / "clip"
    shapes, rows = fuser_shapes(*folders, condition_tokens), len(_ITEMS)
    latents = latent_shape(read_configuration(networks.folder / "vae"), pixels)
    random = numpy_generator(0, "probe")
    folder.mkdir(parents=True)
    for name, size in {
        "text_tokens": (shapes.text_tokens, shapes.text_width),
        "text_pooled": (shapes.text_width,),
        "text_projected": (clip_configuration(networks.folder / "clip").projection_dim,),
        "image_tokens": (shapes.image_tokens, shapes.image_width),
        "image_pooled": (shapes.image_width,),
        "latent_mean": latents,
        "latent_logvar": latents,
    }.items():
        np.save(folder / f"{name}.npy", random.standard_normal((rows, *size), np.float32).astype(np.float16))
    for kind in ("sentences", "images"):
        files.write_json(folder / f"{kind}.json", _ITEMS)


def triplets() -> pd.DataFrame:
    """Triplets of the items that `write` embeds, the same for both subsets."""
    table = pd.DataFrame({"sentence": _ITEMS[1:], "image": _ITEMS[1:], "previous_image": _ITEMS[:-1]})
    return pd.concat([table.assign(subset=subset) for subset in ("training", "validation")], ignore_index=True)
