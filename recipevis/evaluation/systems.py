"""Images of other systems: which files they are, and their scores beside ours."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from recipevis.errors import InputError
from recipevis.evaluation import intervals, metrics, summary
from recipevis.evaluation.encoders import Encoder
from recipevis.evaluation.reference import Reference, read_image
from recipevis.evaluation.rows import COPY_PREVIOUS, GROUPS, MEAN_IMAGE, MODES
from recipevis.evaluation.scores import ImageSet, Scores, score

_NAMED = 5  # files that a message names


def find(folder: Path, samples: pd.DataFrame, pixels: int) -> dict[str, dict[str, Path]]:
    """The images of a system by mode and `sample_id`.

    They lie in `autoregressive/` and `teacher_forced/`, or, if there is no such folder, all in `folder`: then they
    were generated autoregressively. A name is `<video_id>_<step>.png`, with the step from 0, as 3 or 03.

    Args:
        folder: of the images.
        samples: `samples.csv`. Every scored step needs an image; one that isn't scored may have one.
        pixels: height and width of an image.

    Raises:
        InputError: there is no image, one is missing, can't be read or has another size; the message names them.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    modes = [mode for mode in MODES if (folder / mode).is_dir()]
    places = {mode: folder / mode for mode in modes} or {MODES[0]: folder}
    found, faults = {}, []
    for mode, place in places.items():
        files, missing, unfit = {}, [], []
        for row in samples.itertuples():
            names = (f"{row.video_id}_{row.step:02d}.png", f"{row.video_id}_{row.step}.png")
            path = next((place / name for name in names if (place / name).is_file()), None)
            if path is None:
                missing += [names[0]] if row.scored else []
                continue
            files[row.sample_id] = path
            if fault := _fault(path, pixels):
                unfit.append(f"{path.name} ({fault})")
        for what, which in (("missing", missing), (f"not of {pixels}x{pixels} pixels", unfit)):
            if which:
                more = f" and {len(which) - _NAMED} more" if len(which) > _NAMED else ""
                faults.append(f"{len(which)} images {what} in {place}: {', '.join(which[:_NAMED])}{more}")
        found[mode] = files
    if faults:
        raise InputError("; ".join(faults))
    return found


def _fault(path: Path, pixels: int) -> str:
    try:
        with Image.open(path) as image:
            return "" if image.size == (pixels, pixels) else f"{image.width}x{image.height}"
    except OSError:
        return "can't be read"


def score_system(
    found: Mapping[str, Mapping[str, Path]],
    samples: pd.DataFrame,
    reference: Reference,
    encoders: Mapping[str, Encoder],
    work: Path,
) -> Scores:
    """Score a system's images like ours.

    Args:
        found: see `find`.
        samples, reference, encoders, work: see `scores.score`.
    """

    def reads(files: Mapping[str, Path]):
        def read(row: Any) -> np.ndarray | None:
            return read_image(files[row.sample_id]) if row.sample_id in files else None

        return read

    sets = {mode: ImageSet(reads(files), mode == MODES[0]) for mode, files in found.items()}
    return score(samples, sets, reference, encoders, work, "score")


def compare(system: Scores, model: Scores, baselines: Scores, resamples: int, seed: int) -> dict[str, Any]:
    """`evaluation.json` of a system: its scores, and the paired differences to our model and to two baselines.

    Args:
        system, model, baselines: scores.
        resamples, seed: of the bootstrap.

    Returns:
        `{rows: {mode: {group: {metric: {mean, low, high}, images, videos}}}, margins: {other: {mode: {group: ...}}}}`.
        A difference is the system minus the other.
    """
    modes = [mode for mode in MODES if (system.table.picture == mode).any()]
    columns = summary.metric_columns(system.table)
    rows: dict[str, Any] = {}
    margins: dict[str, Any] = {}
    for mode in modes:
        others = {"model": (model, mode), **{name: (baselines, name) for name in (COPY_PREVIOUS, MEAN_IMAGE)}}
        own = system.table[system.table.picture == mode]
        for group, first in GROUPS.items():
            shown = own[own.step >= first]
            means = intervals.of_means(shown, columns, resamples, seed, metrics.limits())
            rows.setdefault(mode, {})[group] = means | intervals.counts(shown)
            for name, (scores, their_set) in others.items():
                difference = summary.margin(system, mode, scores, their_set, group, resamples, seed)
                margins.setdefault(name, {}).setdefault(mode, {})[group] = difference
    return {"rows": rows, "margins": margins}
