"""Baselines that are made of frames, without a network: each is a function from a step to an image."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recipevis import images
from recipevis.core.progress import track
from recipevis.embeddings.reader import Embeddings
from recipevis.errors import InputError
from recipevis.evaluation.reference import read_image
from recipevis.evaluation.rows import COPY_PREVIOUS, MEAN_IMAGE, NEAREST_TRAINING, OTHER_RECIPE

_BLOCK = 512  # steps compared with the training steps at once


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
        total = total + read_image(path).astype(np.int64)
    return np.rint(total / len(paths)).astype(np.uint8)


def nearest_training(samples: pd.DataFrame, training: pd.DataFrame, embeddings: Embeddings) -> dict[str, str]:
    """For each scored step the frame of the training step that is most like it: what pure memory would show.

    Two steps are as alike as the sum of two cosines: of the pooled vectors of their sentences, and of their previous
    images (blank at a first step). The ground truth is not looked at.

    Args:
        samples: `samples.csv`.
        training: the training triplets, at least one.
        embeddings: of all of them.

    Returns:
        the frame's path by `sample_id`.
    """
    scored = samples[samples.scored == 1]
    theirs, chosen = _inputs(training, embeddings), []
    for start in range(0, len(scored), _BLOCK):
        alike = sum(
            a @ b.T for a, b in zip(_inputs(scored.iloc[start : start + _BLOCK], embeddings), theirs, strict=True)
        )
        chosen += alike.argmax(1).tolist()  # [block, training steps]
    return dict(zip(scored.sample_id, training.image.iloc[chosen], strict=True))


def _inputs(steps: pd.DataFrame, embeddings: Embeddings) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of the sentences [n, e] and of the previous images [n, v]."""
    return (
        _unit(embeddings.text_pooled[[embeddings.sentence_rows[sentence] for sentence in steps.sentence]]),
        _unit(embeddings.image_pooled[[embeddings.image_rows[path] for path in steps.previous_image]]),
    )


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype(np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def frame_baselines(
    mean: np.ndarray, nearest: Mapping[str, str], blank: str
) -> dict[str, Callable[[Any], np.ndarray | None]]:
    """The baselines by name: functions from a row of `samples.csv` to an image, uint8 [h, w, 3], or to None.

    Args:
        mean: see `mean_image`.
        nearest: see `nearest_training`.
        blank: the previous image of a first step, `white` or `black`.
    """

    def previous(row: Any) -> np.ndarray:
        return read_image(row.previous_image) if row.previous_image else images.blank(len(mean), blank)

    return {
        COPY_PREVIOUS: previous,
        MEAN_IMAGE: lambda row: mean,
        OTHER_RECIPE: lambda row: read_image(row.other_image) if row.other_image else None,
        NEAREST_TRAINING: lambda row: read_image(nearest[row.sample_id]),
    }
