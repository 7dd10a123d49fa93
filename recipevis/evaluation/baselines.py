"""The images that are scored against one step's ground truth: generated ones, and baselines made from frames.

`rows` lists them by name.
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
from recipevis.evaluation.rows import COPY_PREVIOUS, MEAN_IMAGE, OTHER_RECIPE
from recipevis.sampling.controls import other_recipe


def mean_image(paths: Sequence[str]) -> np.ndarray:
    """The mean of images of one size, uint8 [h, w, 3]; reads one image at a time.

    Args:
        paths: an image that is named twice counts twice.

    Raises:
        InputError: there are no images, or one can't be read.
    """
    if not len(paths):
        raise InputError("data/triplets.csv: has no training triplets, so there is no mean image to compare with")
    total = 0
    for path in track(paths, "mean image", len(paths)):
        total = total + read_image(Path(path)).astype(np.int64)
    return np.rint(total / len(paths)).astype(np.uint8)


def compared_images(
    sample: Any, samples: pd.DataFrame, folder: Path, mean: np.ndarray, blank: str, seed: int
) -> dict[str, np.ndarray]:
    """The images that are scored against one step's ground truth, by the name of their set.

    Args:
        sample: a row of `samples` that is scored.
        samples: `samples.csv`.
        folder: holds a folder of images for each set in `SETS`.
        mean: see `mean_image`.
        blank: the previous image of a first step, `white` or `black`.
        seed: chooses the frame of another recipe.

    Returns:
        uint8 [h, w, 3] each; without `other_recipe` and `wrong_previous` where there is only one recipe.

    Raises:
        InputError: an image can't be read.
    """
    previous, other = sample.previous_image, other_recipe(samples, sample.sample_id, seed)
    compared = {
        COPY_PREVIOUS: read_image(Path(previous)) if previous else images.blank(len(mean), blank),
        MEAN_IMAGE: mean,
    }
    if other:
        compared[OTHER_RECIPE] = read_image(Path(other))
    for name in SETS:
        if other or name != WRONG_PREVIOUS:
            compared[name] = read_image(folder / name / f"{sample.sample_id}.png")
    return compared


def read_image(path: Path) -> np.ndarray:
    """An image file as uint8 RGB [h, w, 3].

    Raises:
        InputError: it can't be read.
    """
    try:
        return images.read(path)
    except OSError as error:
        raise InputError(f"{path}: can't be read as an image") from error
