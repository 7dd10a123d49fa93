"""Score every image against its ground truth, then summarise: means, intervals, paired differences, drift by step."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recipevis.core import files
from recipevis.core.parallel import in_order, threads
from recipevis.core.progress import meter
from recipevis.evaluation import baselines, intervals, metrics
from recipevis.evaluation.encoders import Encoder
from recipevis.evaluation.rows import GROUPS, MODES, image_sets

GROUND_TRUTH = "ground_truth"
_CHUNK = 32  # ground-truth frames per saved part: what an interrupted run loses
_SAMPLE = ("picture", "sample_id", "video_id", "step")  # the columns before the metrics
_Vectors = dict[tuple[str, str], np.ndarray]  # (set of images, sample) -> [d]


@dataclass(frozen=True)
class Scores:
    """What `score` measures.

    Attributes:
        table: a row per set of images and sample: `picture` (the set), `sample_id`, `video_id`, `step`, each `vector`
            and `pair` metric, and `<encoder>_norm`, the norm of the ground truth's vector.
        vectors: what set metrics compare, by source (see `metrics.Metric.source`); empty without set metrics.
    """

    table: pd.DataFrame
    vectors: Mapping[str, _Vectors] = field(default_factory=dict)


def score(
    samples: pd.DataFrame,
    folder: Path,
    mean: np.ndarray,
    blank: str,
    seed: int,
    encoders: Mapping[str, Encoder],
    work: Path,
) -> Scores:
    """Score every image that a row of the results needs.

    Args:
        samples: `samples.csv`; rows with `scored` are scored.
        folder, mean, blank, seed: see `baselines.compared_images`.
        encoders: by the names in `metrics.ENCODERS`.
        work: folder for finished parts; parts that it has already are not scored again.
    """
    scored = samples[samples.scored == 1]
    parts = []
    with meter("evaluate", len(scored)) as progress:
        for start in range(0, len(scored), _CHUNK):
            chunk = scored.iloc[start : start + _CHUNK]
            parts.append(work / f"{start:06d}.json")
            if not parts[-1].exists():

                def score_sample(sample: Any) -> tuple[list[dict], dict[str, _Vectors]]:
                    compared = baselines.compared_images(sample, samples, folder, mean, blank, seed)
                    return _score_sample(sample, compared, baselines.read_image(Path(sample.image)), encoders)

                _save(parts[-1], list(in_order(score_sample, chunk.itertuples(), threads("cpu"))))
            progress.advance(len(chunk))
    # Read back, so that a resumed run has exactly the numbers of an undisturbed one.
    return _load(parts)


def _score_sample(
    sample: Any, compared: dict[str, np.ndarray], truth: np.ndarray, encoders: Mapping[str, Encoder]
) -> tuple[list[dict], dict[str, _Vectors]]:
    """A row of scores for each compared image, and the vectors that set metrics need."""
    rows = {name: {"picture": name, **{column: getattr(sample, column) for column in _SAMPLE[1:]}} for name in compared}
    known = metrics.named().values()
    images = {GROUND_TRUTH: truth, **compared}
    vectors = {}
    for encoder, network in encoders.items():
        pooled = dict(zip(images, network.pooled(list(images.values())), strict=True))
        vectors[encoder] = pooled
        for name, row in rows.items():
            for metric in known:
                if metric.kind == "vector" and metric.encoder == encoder:
                    row[metric.name] = metric.function(pooled[name], pooled[GROUND_TRUTH])
            row[f"{encoder}_norm"] = float(np.linalg.norm(pooled[GROUND_TRUTH].astype(np.float64)))
    for name, row in rows.items():
        row.update({metric.name: metric.function(compared[name], truth) for metric in known if metric.kind == "pair"})
    kept = {}
    for metric in known:
        if metric.kind == "set" and metric.features:
            vectors[metric.source] = {name: metric.features(image) for name, image in images.items()}
        if metric.kind == "set" and metric.source in vectors:
            kept[metric.source] = {(name, sample.sample_id): vector for name, vector in vectors[metric.source].items()}
    return list(rows.values()), kept


def _save(part: Path, scored: list[tuple[list[dict], dict[str, _Vectors]]]) -> None:
    """Write a part; its JSON last, since its presence says that the part is finished."""
    vectors = {
        f"{source}/{name}/{sample}": vector
        for _, kept in scored
        for source, of_source in kept.items()
        for (name, sample), vector in of_source.items()
    }
    if vectors:
        with files.replacing(part.with_suffix(".npz")) as temporary:
            np.savez(temporary, **vectors)
    files.write_json(part, [row for rows, _ in scored for row in rows])


def _load(parts: list[Path]) -> Scores:
    rows, vectors = [], {}
    for part in parts:
        rows += json.loads(part.read_text(encoding="utf-8"))
        if part.with_suffix(".npz").exists():
            with np.load(part.with_suffix(".npz")) as arrays:
                for key, vector in arrays.items():
                    source, name, sample = key.split("/", 2)
                    vectors.setdefault(source, {})[name, sample] = vector
    return Scores(pd.DataFrame(rows), vectors)


def summarise(scores: Scores, resamples: int, seed: int) -> dict:
    """`rows` of `evaluation.json`: `{row: {mode: {group: {metric: {mean, low, high}, images, videos, psnr_capped}}}}`.

    The intervals are those of `intervals`. `psnr_capped` counts the images at `metrics.PSNR_CAP`. Rows whose images
    don't depend on the mode have the same entries in both.

    Args:
        scores: from `score`.
        resamples, seed: of the bootstrap.
    """
    by_set = {
        name: {group: _summary(scores, name, first, resamples, seed) for group, first in GROUPS.items()}
        for name in _compared_sets()
    }
    return {
        row: {mode: by_set[name] for mode, name in zip(MODES, names, strict=True)}
        for row, names in image_sets().items()
    }


def _summary(scores: Scores, name: str, first_step: int, resamples: int, seed: int) -> dict:
    """One entry of `summarise`: a set of images over one group of steps."""
    table = scores.table[(scores.table.picture == name) & (scores.table.step >= first_step)]
    means = intervals.of_means(table, metric_columns(scores.table), resamples, seed)
    of_sets = {
        metric.name: intervals.of_set(_distance(scores, metric, name, table.sample_id), table.video_id, resamples, seed)
        for metric in _set_metrics(scores)
    }
    capped = int((table.psnr >= metrics.PSNR_CAP).sum())
    return {**means, **of_sets, **intervals.counts(table), "psnr_capped": capped}


def margins(scores: Scores, resamples: int, seed: int) -> dict:
    """`margins` of `evaluation.json`: the model minus each other row on the same images, with its interval.

    `{row: {mode: {group: {metric: {mean, low, high}, images, videos}}}}`, paired by image. Where higher is better, a
    difference above zero means that the model is better; where lower is better, one below zero.

    Args:
        scores: from `score`.
        resamples, seed: of the bootstrap.
    """
    return {
        row: {
            mode: {group: _margin(scores, mode, name, first, resamples, seed) for group, first in GROUPS.items()}
            for mode, name in zip(MODES, names, strict=True)
        }
        for row, names in image_sets().items()
        if row != "model"
    }


def _margin(scores: Scores, mine: str, theirs: str, first_step: int, resamples: int, seed: int) -> dict:
    """One entry of `margins`: two sets of images over one group of steps."""
    my_table, their_table = (
        scores.table[scores.table.picture == name].set_index("sample_id") for name in (mine, theirs)
    )
    columns = metric_columns(scores.table)
    entry = intervals.paired(my_table, their_table, columns, first_step, resamples, seed)
    both = my_table[(my_table.step >= first_step) & my_table.index.isin(their_table.index)]
    of_sets = {}
    for metric in _set_metrics(scores):
        my_distance, their_distance = (_distance(scores, metric, name, both.index) for name in (mine, theirs))
        of_sets[metric.name] = intervals.of_set(
            lambda chosen, my=my_distance, their=their_distance: my(chosen) - their(chosen),
            both.video_id,
            resamples,
            seed,
        )
    return {**{column: entry.pop(column) for column in columns}, **of_sets, **entry}


def _distance(scores: Scores, metric: metrics.Metric, name: str, sample_ids: pd.Series):
    """A set metric as a function of the positions of the samples that count."""
    vectors = scores.vectors[metric.source]
    generated, truth = ([vectors[which, sample] for sample in sample_ids] for which in (name, GROUND_TRUTH))
    generated, truth = np.array(generated), np.array(truth)  # [n, d] each
    return lambda chosen: metric.function(generated[chosen], truth[chosen])


def _compared_sets() -> list[str]:
    return list(dict.fromkeys(name for names in image_sets().values() for name in names))


def _set_metrics(scores: Scores) -> list[metrics.Metric]:
    """The set metrics whose vectors were kept: those of an encoder that is absent are left out."""
    return [metric for metric in metrics.named().values() if metric.kind == "set" and metric.source in scores.vectors]


def metric_columns(table: pd.DataFrame) -> list[str]:
    """The columns of `Scores.table` that are metrics."""
    return [name for name in table.columns[len(_SAMPLE) :] if not name.endswith("_norm")]


def norms(scores: Scores) -> dict[str, float]:
    """The mean norm of the ground-truth frames' vectors, by encoder: the scale of its L2. A frame counts once."""
    frames = scores.table.drop_duplicates("sample_id")
    return {name: intervals.rounded(frames[name].mean()) for name in frames.columns if name.endswith("_norm")}


def headline(rows: dict) -> dict:
    """`metrics.json`: the model's headline metrics over all steps, autoregressive, and under `teacher_forced`."""
    first, second = ({name: rows["model"][mode]["all"][name]["mean"] for name in metrics.headline()} for mode in MODES)
    return {**first, MODES[1]: second}


def drift(scores: Scores) -> pd.DataFrame:
    """`drift.csv`: the model's mean headline metrics by step: `step, images`, then autoregressive, teacher-forced."""
    first, second = (scores.table[scores.table.picture == mode].groupby("step") for mode in MODES)
    names = [name for name in metrics.headline() if name in scores.table]
    means = {"images": first.size()}
    for prefix, by_step in (("", first), (f"{MODES[1]}_", second)):
        means |= {f"{prefix}{name}": by_step[name].mean().map(intervals.rounded) for name in names}
    return pd.DataFrame(means).reset_index()
