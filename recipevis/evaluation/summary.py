"""What `reports/` says of the scores: means with intervals, paired differences, drift by step."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from recipevis.evaluation import intervals, metrics
from recipevis.evaluation.reference import Reference
from recipevis.evaluation.rows import GROUPS, MODES, image_sets
from recipevis.evaluation.scores import SAMPLE, Scores


def summarise(scores: Scores, resamples: int, seed: int) -> dict:
    """`rows` of `evaluation.json`: `{row: {mode: {group: {metric: {mean, low, high}, images, videos, psnr_capped}}}}`.

    The intervals are those of `intervals`. `psnr_capped` counts the images at `metrics.PSNR_CAP`. Rows whose images
    don't depend on the mode have the same entries in both.

    Args:
        scores: of every set in `rows.image_sets`; a set without images has entries of None.
        resamples, seed: of the bootstrap.
    """
    by_set = {
        name: {group: _summary(scores, name, group, resamples, seed) for group in GROUPS} for name in _compared_sets()
    }
    return {
        row: {mode: by_set[name] for mode, name in zip(MODES, names, strict=True)}
        for row, names in image_sets().items()
    }


def _summary(scores: Scores, name: str, group: str, resamples: int, seed: int) -> dict:
    """One entry of `summarise`: a set of images over one group of steps."""
    table = scores.table[(scores.table.picture == name) & (scores.table.step >= GROUPS[group])]
    means = intervals.of_means(table, metric_columns(scores.table), resamples, seed, metrics.limits())
    of_sets = {
        metric: intervals.jackknife(_number(entry["value"]), _numbers(entry["left_out"]))
        for metric, entry in scores.sets.get(name, {}).get(group, {}).items()
    }
    capped = int((table.psnr >= metrics.PSNR_CAP).sum())
    return {**means, **of_sets, **intervals.counts(table), "psnr_capped": capped}


def recipes(scores: Scores) -> dict[str, dict[str, dict[str, float | None]]]:
    """`recipes` of `evaluation.json`: the model's headline metrics as means over the images of each recipe.

    `{video: {mode: {metric: mean}}}`; a mean is None where the metric is undefined for all images of the recipe.
    """
    names = [name for name in metrics.headline() if name in scores.table]
    means = {mode: scores.table[scores.table.picture == mode].groupby("video_id")[names].mean() for mode in MODES}
    return {
        video: {
            mode: {name: intervals.rounded(value) for name, value in of_mode.loc[video].items()}
            for mode, of_mode in means.items()
        }
        for video in means[MODES[0]].index
    }


def margins(scores: Scores, resamples: int, seed: int) -> dict:
    """`margins` of `evaluation.json`: the model minus each other row on the same images, with its interval.

    `{row: {mode: {group: {metric: {mean, low, high}, images, videos}}}}`, paired by image. Where higher is better, a
    difference above zero means that the model is better; where lower is better, one below zero. A set metric has no
    entry where the other row has images of fewer recipes.

    Args:
        scores, resamples, seed: see `summarise`.
    """
    return {
        row: {
            mode: {group: margin(scores, mode, scores, name, group, resamples, seed) for group in GROUPS}
            for mode, name in zip(MODES, names, strict=True)
        }
        for row, names in image_sets().items()
        if row != "model"
    }


def margin(mine: Scores, my_set: str, theirs: Scores, their_set: str, group: str, resamples: int, seed: int) -> dict:
    """The paired difference of two sets of images, mine minus theirs.

    Args:
        mine, my_set: the scores and the set in them.
        theirs, their_set: likewise.
        group: one of `GROUPS`.
        resamples, seed: of the bootstrap.

    Returns:
        `{metric: {mean, low, high}, images, videos}`.
    """
    tables = [
        scores.table[scores.table.picture == name].set_index("sample_id")
        for scores, name in ((mine, my_set), (theirs, their_set))
    ]
    columns = [name for name in metric_columns(mine.table) if name in theirs.table]
    entry = intervals.paired(*tables, columns, GROUPS[group], resamples, seed)
    of_sets = {}
    if set(tables[0].index) == set(tables[1].index):  # otherwise not the same groups of videos were left out
        first, second = mine.sets.get(my_set, {}).get(group, {}), theirs.sets.get(their_set, {}).get(group, {})
        for metric in first.keys() & second.keys():
            left_out = np.subtract(_numbers(first[metric]["left_out"]), _numbers(second[metric]["left_out"])).tolist()
            difference = _number(first[metric]["value"]) - _number(second[metric]["value"])
            of_sets[metric] = intervals.jackknife(difference, left_out)
    ordered = {name: of_sets[name] for name in metrics.named() if name in of_sets}
    return {**{column: entry.pop(column) for column in columns}, **ordered, **entry}


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _numbers(values: list[float | None]) -> list[float]:
    return [_number(value) for value in values]


def _compared_sets() -> list[str]:
    return list(dict.fromkeys(name for names in image_sets().values() for name in names))


def metric_columns(table: pd.DataFrame) -> list[str]:
    """The columns of `Scores.table` that are metrics."""
    return [name for name in table.columns if name not in SAMPLE]


def norms(reference: Reference, samples: pd.DataFrame) -> dict[str, float]:
    """The mean norm of the scored frames' vectors, by encoder: the scale of its L2. A frame counts once."""
    frames = sorted(set(samples[samples.scored == 1].image))
    return {
        f"{name}_norm": intervals.rounded(float(np.mean([np.linalg.norm(vectors[path]) for path in frames])))
        for name, vectors in reference.frames.items()
        if name in metrics.ENCODERS
    }


def headline(rows: Mapping[str, Any]) -> dict:
    """`metrics.json`: the model's headline metrics over all steps, autoregressive, and under `teacher_forced`."""
    entries = [rows["model"][mode]["all"] for mode in MODES]
    first, second = ({name: entry[name]["mean"] for name in metrics.headline() if name in entry} for entry in entries)
    return {**first, MODES[1]: second}


def drift(scores: Scores, resamples: int, seed: int) -> pd.DataFrame:
    """`drift.csv`: by step of the recipe, the model's means in both modes, and what the modes differ by.

    `step, images`, then `<metric>` (autoregressive) and `teacher_forced_<metric>`, then `drift_<metric>`,
    `drift_<metric>_low` and `drift_<metric>_high`: autoregressive minus teacher-forced on the same images, with its
    interval. Means by step mix recipes of different lengths; the paired difference does not.

    Args:
        scores, resamples, seed: see `summarise`. Headline metrics and those of the scene are shown.
    """
    tables = [scores.table[scores.table.picture == mode].set_index("sample_id") for mode in MODES]
    names = [
        name
        for name, metric in metrics.named().items()
        if (metric.headline or metric.kind == "scene") and name in scores.table
    ]
    lines = []
    for step, first in tables[0].groupby("step"):
        second = tables[1][tables[1].step == step]
        line = {"step": step, "images": len(first)}
        line |= {name: intervals.rounded(first[name].mean()) for name in names}
        line |= {f"{MODES[1]}_{name}": intervals.rounded(second[name].mean()) for name in names}
        pairs = intervals.paired(first, second, names, 0, resamples, seed)
        for name in names:
            ends = {"": "mean", "_low": "low", "_high": "high"}
            line |= {f"drift_{name}{end}": pairs[name][key] for end, key in ends.items()}
        lines.append(line)
    return pd.DataFrame(lines)
