"""Which metrics follow the kitchen's truth: rank correlations over images, and over the rows of a table.

Only here is the truth of a scene known, so no data set of photographs can answer this.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from recipevis.evaluation import intervals, metrics

TRUTH = ("counter_colour", "vessel_colour", "new_ingredient", "old_ingredients")  # their mean is an image's truth


def over_images(images: pd.DataFrame, names: Sequence[str], truth: Sequence[str] = TRUTH) -> pd.DataFrame:
    """Spearman's correlation of each metric with the truth, over images.

    The truth of an image is the mean of its answers. The sign is turned so that a positive correlation means: what the
    metric calls better is nearer to the truth. A metric with a best value counts by its distance from it.

    Args:
        images: a row an image, with `video_id` and the columns.
        names: metrics.
        truth: columns of answers, NaN where nothing is asked.

    Returns:
        a row a metric: `images`, `images_low` and `images_high`, the correlation with its jackknife interval over
        groups of videos.
    """
    right = images[list(truth)].mean(axis=1).to_numpy()
    lines = {}
    for name in names:
        good = _goodness(images[name].to_numpy(float), name)
        known = ~np.isnan(good) & ~np.isnan(right)
        found = intervals.of_set(
            lambda chosen, good=good[known], right=right[known]: _spearman(good[chosen], right[chosen]),
            images.video_id[known].tolist(),
        )
        lines[name] = {"images": found["mean"], "images_low": found["low"], "images_high": found["high"]}
    return pd.DataFrame(lines).T


def over_rows(means: pd.DataFrame, names: Sequence[str], truth: Sequence[str] = TRUTH) -> pd.DataFrame:
    """The same over the rows of a table.

    Args:
        means: a row a row of the table, with the means of the columns.
        names, truth: see `over_images`.

    Returns:
        a row a metric with the correlation `rows` and the `number` of rows.
    """
    right = means[list(truth)].mean(axis=1).to_numpy(float)
    values = {name: _spearman(_goodness(means[name].to_numpy(float), name), right) for name in names}
    return pd.DataFrame({"rows": values, "number": len(means)})


def _goodness(values: np.ndarray, name: str) -> np.ndarray:
    """Values turned so that more is better."""
    metric = metrics.named()[name]
    if metric.higher_is_better is None:
        return -np.abs(values - metric.target)
    return values if metric.higher_is_better else -values


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    """The correlation of ranks, ties at their mean rank; NaN where one of the two is constant."""
    if len(a) < 2:
        return float("nan")
    a, b = rankdata(a), rankdata(b)
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale else float("nan")
