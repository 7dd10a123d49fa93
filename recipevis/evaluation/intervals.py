"""Means with 95 % intervals over videos, by a bootstrap that resamples whole videos.

A video is one recipe and its steps are not independent, so videos are resampled and not images. All intervals of one
seed and the same videos use the same resamples, which makes them comparable. The percentile method is used: the
bias-corrected one is undefined where all videos agree, as they do for a constant image.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from recipevis.randomness import numpy_generator

Interval = dict[str, float | None]  # mean, low, high; None where they are undefined


def of_means(table: pd.DataFrame, names: Sequence[str], resamples: int, seed: int) -> dict[str, Interval]:
    """The mean over images of some columns; the interval is None with fewer than two videos.

    Args:
        table: a row per image, with `video_id` and the columns.
        names: the columns.
        resamples: bootstrap resamples.
        seed: of the bootstrap.
    """
    by_video = table.groupby("video_id")
    sums, counts = by_video[list(names)].sum().to_numpy().T, by_video.size().to_numpy()  # [columns, videos], [videos]
    means = sums.sum(1) / counts.sum() if len(table) else [None] * len(names)
    low = high = [None] * len(names)
    if len(counts) > 1:
        low, high = _percentiles(
            (sums, np.broadcast_to(counts, sums.shape)),
            lambda sums, counts, axis: sums.sum(axis) / counts.sum(axis),
            resamples,
            seed,
        )
    return {name: _interval(*values) for name, *values in zip(names, means, low, high, strict=True)}


def of_set(statistic: Callable[[np.ndarray], float], videos: Sequence[str], resamples: int, seed: int) -> Interval:
    """A statistic of a set of images, e.g. a distance of two sets; the interval is None with fewer than two videos.

    A video that is resampled twice contributes its images twice.

    Args:
        statistic: takes the positions of the images that count, int64 [n]; returns NaN where they are too few.
        videos: the video of each image.
        resamples: bootstrap resamples.
        seed: of the bootstrap.
    """
    if not len(videos):
        return _interval(None, None, None)
    names, inverse = np.unique(videos, return_inverse=True)  # sorted, as pandas groups them
    positions = [np.flatnonzero(inverse == number) for number in range(len(names))]
    mean = statistic(np.arange(len(videos)))
    if len(names) < 2 or not np.isfinite(mean):
        return _interval(mean, None, None)

    def resampled(numbers: np.ndarray, axis: int) -> np.ndarray:  # [resamples, videos]
        chosen = np.atleast_2d(numbers).astype(np.int64)
        values = [statistic(np.concatenate([positions[number] for number in row])) for row in chosen]
        return np.reshape(values, np.shape(numbers)[:-1])

    low, high = _percentiles((np.arange(len(names)),), resampled, resamples, seed)
    return _interval(mean, low, high)


def paired(
    mine: pd.DataFrame, theirs: pd.DataFrame, names: Sequence[str], first_step: int, resamples: int, seed: int
) -> dict[str, Any]:
    """The mean difference, mine minus theirs, over the images that both have, and its interval.

    Args:
        mine, theirs: a row per image, indexed by `sample_id`, with `video_id`, `step` and the columns.
        names: the columns.
        first_step: earlier steps are left out.
        resamples, seed: see `of_means`.

    Returns:
        `{column: {mean, low, high}}` and the numbers of `images` and `videos`.
    """
    both = mine[(mine.step >= first_step) & mine.index.isin(theirs.index)]
    names = list(names)
    difference = both[["video_id"]].join(both[names] - theirs.loc[both.index, names])
    return of_means(difference, names, resamples, seed) | counts(difference)


def counts(table: pd.DataFrame) -> dict[str, int]:
    """The numbers of images and of videos in a table with a row per image."""
    return {"images": len(table), "videos": table.video_id.nunique()}


def rounded(value: float | None) -> float | None:
    """Five significant digits, since the next ones differ between machines; None for an undefined value."""
    return None if value is None or not np.isfinite(value) else float(f"{value:.5g}")


def _percentiles(data: tuple, statistic: Callable, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The 2.5 % and 97.5 % percentiles of a statistic, [...] each, when the last axis of `data` is resampled."""
    result = bootstrap(
        data,
        statistic,
        paired=True,
        vectorized=True,
        axis=-1,
        n_resamples=resamples,
        method="percentile",
        rng=numpy_generator(seed, "bootstrap"),
    )
    return result.confidence_interval.low, result.confidence_interval.high


def _interval(mean: float | None, low: float | None, high: float | None) -> Interval:
    return {"mean": rounded(mean), "low": rounded(low), "high": rounded(high)}
