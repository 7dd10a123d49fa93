"""What a drawn image is held against beside the true frame: pictures that are to be had without training.

Most floors are true frames or made of them; the untouched backbone, the model shown a wrong image and the ceiling
were drawn by the stage `sample`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recipevis import images
from recipevis.core.progress import track
from recipevis.data.tables.samples import SETS, WRONG_PREVIOUS
from recipevis.errors import InputError
from recipevis.randomness import numpy_generator


def mean_image(paths: Sequence[str]) -> np.ndarray:
    """The mean of pictures of one size, uint8 [h, w, 3]; one picture in memory at a time.

    Args:
        paths: a picture that is named twice counts twice.

    Raises:
        InputError: there are none, or one can't be read.
    """
    if not len(paths):
        raise InputError("data/triplets.csv: no training triplet, so no mean image to compare with")
    total = 0
    for path in track(paths, "mean image", len(paths)):
        total = total + _read(Path(path)).astype(np.int64)
    return np.rint(total / len(paths)).astype(np.uint8)


def other_recipe(samples: pd.DataFrame, sample_id: str, seed: int) -> str | None:
    """Path of a true frame of another recipe: of another recipe type if there is one, else of another video.

    Chosen among the samples' true frames by (seed, sample), in whatever order they are scored. None where there is
    but one recipe.
    """
    own = samples[samples.sample_id == sample_id].iloc[0]
    others = samples[(samples.image != "") & (samples.video_id != own.video_id)]
    of_another_type = others[others.recipe_type != own.recipe_type]
    paths = (of_another_type if len(of_another_type) else others).image.tolist()
    return paths[numpy_generator(seed, "other_recipe", sample_id).integers(len(paths))] if paths else None


def pictures(
    sample: Any, samples: pd.DataFrame, drawn: Path, mean: np.ndarray, blank: str, seed: int
) -> dict[str, np.ndarray]:
    """Everything that is held against one step's true frame, by name, and the true frame itself as `true`.

    Args:
        sample: a scored row of `samples`.
        samples: from `read_samples`.
        drawn: folder of the drawn pictures, a folder each.
        mean: from `mean_image`.
        blank: what `copy_previous` shows for a first step, `white` or `black`.
        seed: of `other_recipe`.

    Returns:
        uint8 [h, w, 3] each; without `other_recipe` and `wrong_previous` where there is but one recipe.

    Raises:
        InputError: a picture can't be read.
    """
    true = _read(Path(sample.image))
    previous, other = sample.previous_image, other_recipe(samples, sample.sample_id, seed)
    compared = {
        "true": true,
        "copy_previous": _read(Path(previous)) if previous else images.blank(len(true), blank),
        "mean_image": mean,
    }
    if other:
        compared["other_recipe"] = _read(Path(other))
    for name in SETS:  # folders below samples/
        if name == WRONG_PREVIOUS and not other:
            continue
        compared[name] = _read(drawn / name / f"{sample.sample_id}.png")
    return compared


def _read(path: Path) -> np.ndarray:
    try:
        return images.read(path)
    except OSError as error:
        raise InputError(f"{path}: can't be read as a picture") from error
