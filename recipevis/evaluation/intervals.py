"""Means with 95 % intervals over videos.

A video is one recipe and its steps are not independent, so videos are the observations and not images. A mean over
images is a ratio: the sum over videos of a video's sum, by the sum of its number of images.

With few videos, the interval is a t-interval of the linearised ratio (Cochran 1977, section 6.3): at 10 videos a
percentile bootstrap would cover the truth in 90 % of cases only. From `FEW` videos on, it is a percentile bootstrap
that resamples whole videos (Efron and Tibshirani 1993), which also follows a skewed distribution; all intervals of one
seed and the same videos use the same resamples. A statistic of a whole set of images has a jackknife that leaves out
groups of videos: a bootstrap would put images in twice, and distances of sets take that for likeness.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import bootstrap, t

from recipevis.randomness import numpy_generator

Interval = dict[str, float | None]  # mean, low, high; None where they are undefined
FEW = 30  # videos; below, the t-interval


def of_means(
    table: pd.DataFrame,
    names: Sequence[str],
    resamples: int,
    seed: int,
    limits: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, Interval]:
    """The mean over images of some columns; the interval is None with fewer than two videos.

    An image whose value is NaN doesn't count in that column, nor does a video without another.

    Args:
        table: a row per image, with `video_id` and the columns.
        names: the columns.
        resamples: bootstrap resamples.
        seed: of the bootstrap.
        limits: the lowest and highest mean that a column can have; an interval ends there, which loses no coverage.
    """
    by_video = table[list(names)].astype(float).groupby(table["video_id"])
    sums, counts = by_video.sum().to_numpy().T, by_video.count().to_numpy().T  # [columns, videos] each
    means = {
        name: _of_ratio(*(values[of_video > 0] for values in (of_column, of_video)), resamples, seed)
        for name, of_column, of_video in zip(names, sums, counts, strict=True)
    }
    for name, (lowest, highest) in (limits or {}).items():
        if name in means and means[name]["low"] is not None:
            means[name] |= {"low": max(means[name]["low"], lowest), "high": min(means[name]["high"], highest)}
    return means


def _of_ratio(sums: np.ndarray, counts: np.ndarray, resamples: int, seed: int) -> Interval:
    """The interval of sum(sums) / sum(counts), from the sums and counts of videos, [videos] each."""
    if not len(sums):
        return _interval(None, None, None)
    mean = sums.sum() / counts.sum()
    if len(sums) < 2:
        return _interval(mean, None, None)
    if len(sums) < FEW:
        half = t_half_width(sums, counts)
        return _interval(mean, mean - half, mean + half)
    result = bootstrap(
        (sums, counts),
        lambda sums, counts, axis: sums.sum(axis) / counts.sum(axis),
        paired=True,
        vectorized=True,
        axis=-1,
        n_resamples=resamples,
        method="percentile",
        rng=numpy_generator(seed, "bootstrap"),
    )
    return _interval(mean, *result.confidence_interval)


def t_half_width(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Half the width of the 95 % t-interval of a ratio of sums; [..., videos] each, at least two videos.

    The ratio's error is linearised: a video contributes the sum of its images' distances from the mean.
    """
    videos, images = sums.shape[-1], counts.sum(-1, keepdims=True)
    residuals = sums - sums.sum(-1, keepdims=True) / images * counts  # they add up to zero
    variance = videos / (videos - 1) * (residuals**2).sum(-1) / images[..., 0] ** 2
    return t.ppf(0.975, videos - 1) * np.sqrt(variance)


def groups(videos: Sequence[str], most: int = FEW) -> np.ndarray:
    """The groups of a jackknife: the number of each image's group, int64 [n].

    A group is one video, or several neighbours in the order of their ids if there are more than `most` videos.

    Args:
        videos: the video of each image.
        most: groups at most.
    """
    names, numbers = np.unique(np.asarray(videos, dtype=str), return_inverse=True)
    return numbers * min(most, len(names)) // max(len(names), 1)


def left_out(statistic: Callable[[np.ndarray], float], group: np.ndarray) -> list[float]:
    """A statistic with each group left out in turn; empty with a single group.

    Args:
        statistic: takes the positions of the images that count, int64 [n].
        group: see `groups`.
    """
    numbers = np.unique(group)
    return [statistic(np.flatnonzero(group != number)) for number in numbers] if len(numbers) > 1 else []


def jackknife(value: float, left_out: Sequence[float]) -> Interval:
    """The t-interval of a statistic of a set from its values with each group of videos left out.

    The mean is the statistic itself. The jackknife's correction of its bias would be another statistic than the one
    that is named, and peers report the plain one.

    Args:
        value: over all images.
        left_out: see the function `left_out`.
    """
    if len(left_out) < 2 or not np.isfinite([value, *left_out]).all():
        return _interval(value, None, None)
    number, values = len(left_out), np.asarray(left_out)
    half = t.ppf(0.975, number - 1) * np.sqrt((number - 1) / number * ((values - values.mean()) ** 2).sum())
    return _interval(value, value - half, value + half)


def of_set(statistic: Callable[[np.ndarray], float], videos: Sequence[str]) -> Interval:
    """A statistic of a set of images, e.g. a distance of two sets; the interval is None with fewer than two videos.

    Args:
        statistic: takes the positions of the images that count, int64 [n]; returns NaN where they are too few.
        videos: the video of each image.
    """
    if not len(videos):
        return _interval(None, None, None)
    return jackknife(statistic(np.arange(len(videos))), left_out(statistic, groups(videos)))


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


def _interval(mean: float | None, low: float | None, high: float | None) -> Interval:
    return {"mean": rounded(mean), "low": rounded(low), "high": rounded(high)}
