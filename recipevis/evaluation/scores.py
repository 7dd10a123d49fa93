"""What an evaluation reports: every metric for the model, four floors, a control and a ceiling, with intervals.

Scores are kept an image at a time, summed over the images of a video, and resampled over videos: a video is one
recipe, and its steps are not independent.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from recipevis.core import files
from recipevis.core.parallel import in_order, threads
from recipevis.core.progress import meter
from recipevis.data.tables import samples as sets
from recipevis.evaluation import baselines, metrics
from recipevis.randomness import numpy_generator

MODES = (sets.AUTOREGRESSIVE, sets.TEACHER_FORCED)  # the first is the headline
CEILING = (sets.VAE_ROUND_TRIP,)
CONTROLS = (sets.WRONG_PREVIOUS,)
FLOORS = ("copy_previous", "mean_image", "other_recipe", sets.UNTOUCHED_BACKBONE)
# The pictures behind a row's entries, one a mode. What looks at no drawn image is the same picture in both modes.
ROWS = {"model": MODES} | {row: (row, row) for row in (*CONTROLS, *FLOORS, *CEILING)}
GROUPS = {"all": 0, "after_first": 1}  # the first step that counts
HEADLINE = ("clip_l2", "clip_cosine", "psnr", "ssim")

_OF_IMAGES = {"psnr": metrics.psnr, "ssim": metrics.ssim, "ssim_uniform": metrics.ssim_uniform}
_OF_VECTORS = {"l2": metrics.clip_l2, "cosine": metrics.clip_cosine}
_CHUNK = 32  # true frames between two savings: what an interrupted run loses


class Encoder(Protocol):
    """A vision tower that measures, e.g. `backbone.ClipImages`."""

    def pooled(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """Pictures, uint8 RGB [h, w, 3] each, to vectors, float32 [n, d], not normalised."""


def score(
    samples: pd.DataFrame,
    drawn: Path,
    mean: np.ndarray,
    blank: str,
    seed: int,
    encoders: Mapping[str, Encoder],
    work: Path,
) -> pd.DataFrame:
    """Score every picture behind `ROWS` against its true frame.

    Args:
        samples: from `read_samples`; rows with `scored` are scored.
        drawn, mean, blank, seed: see `floors.pictures`.
        encoders: name to encoder; `clip` gives `clip_l2` and `clip_cosine`, and so on.
        work: folder for finished chunks; those that lie in it are not scored again.

    Returns:
        A row per true frame and picture: `picture, sample_id, video_id, step`, each metric, and a column
        `<encoder>_norm`, the norm of the true frame's vector.
    """
    scored = samples[samples.scored == 1]
    parts = []
    with meter("evaluate", len(scored)) as counted:
        for start in range(0, len(scored), _CHUNK):
            chunk = scored.iloc[start : start + _CHUNK]
            parts.append(work / f"{start:06d}.json")
            if not parts[-1].exists():

                def scored_frame(sample: Any) -> list[dict]:
                    pictures = baselines.pictures(sample, samples, drawn, mean, blank, seed)
                    return _score_frame(sample, pictures, encoders)

                frames = in_order(scored_frame, chunk.itertuples(), threads("cpu"))
                files.write_json(parts[-1], [row for rows in frames for row in rows])
            counted.advance(len(chunk))
    # Read back, so that a run that was interrupted goes on with the very numbers of one that was not.
    return pd.DataFrame([row for part in parts for row in json.loads(part.read_text(encoding="utf-8"))])


def _score_frame(sample: Any, pictures: dict[str, np.ndarray], encoders: Mapping[str, Encoder]) -> list[dict]:
    """A row of scores for each picture but the true one."""
    true = pictures["true"]
    rows = {
        name: {"picture": name, "sample_id": sample.sample_id, "video_id": sample.video_id, "step": sample.step}
        for name in pictures
        if name != "true"
    }
    for encoder, tower in encoders.items():
        vectors = dict(zip(pictures, tower.pooled(list(pictures.values())), strict=True))
        for name, row in rows.items():
            for metric, distance in _OF_VECTORS.items():
                row[f"{encoder}_{metric}"] = distance(vectors[name], vectors["true"])
            row[f"{encoder}_norm"] = float(np.linalg.norm(vectors["true"].astype(np.float64)))
    return [row | _compare(pictures[name], true) for name, row in rows.items()]


def _compare(drawn: np.ndarray, true: np.ndarray) -> dict[str, float]:
    return {metric: function(drawn, true) for metric, function in _OF_IMAGES.items()}


def summarise(scores: pd.DataFrame, resamples: int, seed: int) -> dict:
    """`reports/evaluation.json`'s rows: `{row: {mode: {group: {metric: {mean, low, high}, images, videos}}}}`.

    Means are over images; 95 % intervals from a bootstrap over videos, null with fewer than two. `psnr_capped` counts
    images at `metrics.PSNR_CAP`. Rows that look at no drawn image have equal entries in both modes.

    Args:
        scores: from `score`.
        resamples: bootstrap resamples.
        seed: of the bootstrap. Rows with the same videos are resampled alike, so they can be compared.
    """
    of_picture = {
        picture: {group: _summary(table[table.step >= first], resamples, seed) for group, first in GROUPS.items()}
        for picture in {picture for pictures in ROWS.values() for picture in pictures}
        for table in [scores[scores.picture == picture]]
    }
    return {
        row: {mode: of_picture[picture] for mode, picture in zip(MODES, pictures, strict=True)}
        for row, pictures in ROWS.items()
    }


def _summary(table: pd.DataFrame, resamples: int, seed: int) -> dict:
    names = metric_names(table)
    by_video = table.groupby("video_id")
    sums, counts = by_video[names].sum().to_numpy().T, by_video.size().to_numpy()  # [metrics, videos], [videos]
    means = sums.sum(1) / counts.sum() if len(table) else [None] * len(names)
    low, high = _interval(sums, counts, resamples, seed) if len(counts) > 1 else 2 * ([None] * len(names),)
    intervals = {
        name: {"mean": rounded(mean), "low": rounded(least), "high": rounded(most)}
        for name, mean, least, most in zip(names, means, low, high, strict=True)
    }
    capped = int((table.psnr >= metrics.PSNR_CAP).sum())
    return {**intervals, "images": len(table), "videos": len(counts), "psnr_capped": capped}


def margins(scores: pd.DataFrame, resamples: int, seed: int) -> dict:
    """By how much the model differs from each other row on the same images: `{row: {mode: {group: {metric: ...}}}}`.

    Each entry is `{mean, low, high}` of model minus row, paired: the interval is of the difference, by a bootstrap over
    videos. Above zero in `psnr`, `ssim` and `ssim_uniform`, below zero in CLIP's metrics: the model is better.

    Args:
        scores: from `score`.
        resamples, seed: see `summarise`.
    """
    pictures = {picture for pair in ROWS.values() for picture in pair}
    by_picture = {name: scores[scores.picture == name].set_index("sample_id") for name in pictures}
    return {
        row: {
            mode: {
                group: paired(by_picture[mode], by_picture[picture], first, resamples, seed)
                for group, first in GROUPS.items()
            }
            for mode, picture in zip(MODES, pictures, strict=True)
        }
        for row, pictures in ROWS.items()
        if row != "model"
    }


def paired(mine: pd.DataFrame, theirs: pd.DataFrame, first_step: int, resamples: int, seed: int) -> dict:
    """Paired difference, mine minus theirs, of each metric over the images that both have.

    Args:
        mine, theirs: rows of `score` of one picture each, indexed by `sample_id`; of one run or of two.
        first_step: steps before it don't count.
        resamples, seed: see `summarise`.

    Returns:
        `{metric: {mean, low, high}}` with `images` and `videos`; see `margins`.
    """
    names = metric_names(mine.reset_index())
    both = mine[(mine.step >= first_step) & mine.index.isin(theirs.index)]
    difference = both[["picture", "video_id", "step"]].join(both[names] - theirs.loc[both.index, names])
    summary = _summary(difference.reset_index(), resamples, seed)
    return {name: value for name, value in summary.items() if name != "psnr_capped"}


def _interval(sums: np.ndarray, counts: np.ndarray, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of each metric's mean over images, [metrics] each, when whole videos are drawn anew.

    The percentile method: the bias-corrected one is undefined where videos agree, as they do for a constant image.
    """
    result = bootstrap(
        (sums, np.broadcast_to(counts, sums.shape)),
        lambda sums, counts, axis: sums.sum(axis) / counts.sum(axis),
        paired=True,
        vectorized=True,
        axis=-1,
        n_resamples=resamples,
        method="percentile",
        rng=numpy_generator(seed, "bootstrap"),
    )
    return result.confidence_interval.low, result.confidence_interval.high


def metric_names(scores: pd.DataFrame) -> list[str]:
    """The metrics that a table of scores holds: CLIP's, a second encoder's if there was one, the images'."""
    return [name for name in scores.columns[4:] if not name.endswith("_norm")]


def norms(scores: pd.DataFrame) -> dict[str, float]:
    """Mean norm of the true frames' pooled vectors, by encoder: the scale of its L2. A frame counts once."""
    frames = scores.drop_duplicates("sample_id")
    return {name: rounded(frames[name].mean()) for name in scores.columns if name.endswith("_norm")}


def headline(rows: dict) -> dict:
    """`metrics.json`: the model's four metrics over all steps, drawn from its own images, and teacher-forced."""
    own, forced = ({name: rows["model"][mode]["all"][name]["mean"] for name in HEADLINE} for mode in MODES)
    return {**own, MODES[1]: forced}


def drift(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean of the model's metrics by step: `step, images`, the four headline metrics, and those teacher-forced."""
    own, forced = (scores[scores.picture == mode].groupby("step") for mode in MODES)
    table = own.size().rename("images").to_frame()
    for name in HEADLINE:
        table[name] = own[name].mean().map(rounded)
    for name in HEADLINE:
        table[f"{MODES[1]}_{name}"] = forced[name].mean().map(rounded)
    return table.reset_index()


@dataclass(frozen=True)
class Line:
    """One line of a table of results."""

    row: str
    mode: str | None  # None where both modes are the same picture
    entries: dict[str, Any]  # {metric: {mean, low, high}, images, videos, psnr_capped}


def table(rows: dict, group: str) -> list[Line]:
    """The lines of a table over one of `GROUPS`, in the order to read them: ceiling, model, control, floors."""
    lines = []
    for row in (*CEILING, "model", *CONTROLS, *FLOORS):
        for mode in MODES if len(set(ROWS[row])) > 1 else MODES[:1]:
            lines.append(Line(row, mode if len(set(ROWS[row])) > 1 else None, rows[row][mode][group]))
    return lines


def rounded(value: float | None) -> float | None:
    """Five significant digits: what is below them differs between machines."""
    return None if value is None else float(f"{value:.5g}")
