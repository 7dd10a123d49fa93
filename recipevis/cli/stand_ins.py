"""What stands for the networks and the data where only shapes matter: to measure what a run costs, before there is any.

Networks are untrained where the hub's are not yet fetched, embeddings random.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from recipevis.config import Config
from recipevis.core import files
from recipevis.core.devices import device
from recipevis.model.backbone import sources
from recipevis.model.networks import Backbone, clip_configuration
from recipevis.randomness import numpy_generator

_ITEMS = ["", *(f"item {row:02d}" for row in range(1, 64))]


@contextmanager
def backbone(parameters: Config) -> Iterator[Backbone]:
    """The configured networks: where they lie, else made for the while; untrained ones of the sizes `backbone.random`
    stand for the hub's that are not yet fetched.

    Raises:
        InputError: a configured folder is of no use.
    """
    settings, where = parameters.backbone, device(parameters.device)
    if settings.source in ("kitchen", "hub") and (there := sources.folders(settings)):
        yield Backbone(there[0], where)
        return
    if settings.source == "hub":
        settings = settings.model_copy(update={"source": "random"})
    files.home().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=files.home(), prefix="probe-") as folder:
        sources.make(settings, Path(folder))
        yield Backbone(Path(folder), where)


def embeddings(networks: Backbone, condition_tokens: int, pixels: int, folder: Path) -> None:
    """Write a cache of random embeddings, as the stage `embed` would, for `triplets`.

    Args:
        networks: whose shapes the embeddings have.
        condition_tokens: as in `Backbone.shapes`.
        pixels: height and width of the frames.
        folder: where the arrays go.
    """
    shapes, latents, rows = networks.shapes(condition_tokens), networks.latent_shape(pixels), len(_ITEMS)
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
    """Triplets of both subsets, of items in `embeddings`."""
    table = pd.DataFrame({"sentence": _ITEMS[1:], "image": _ITEMS[1:], "previous_image": _ITEMS[:-1]})
    return pd.concat([table.assign(subset=subset) for subset in ("training", "validation")], ignore_index=True)
