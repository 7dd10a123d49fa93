"""The rows of every table of results: the model, its controls, the baselines and the upper bound.

This module must import quickly: the stage `report` reads the order and the labels of the rows from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recipevis.data.tables.samples import (
    AUTOREGRESSIVE,
    NO_PREVIOUS,
    TEACHER_FORCED,
    UNTOUCHED_BACKBONE,
    UNTOUCHED_NATIVE,
    VAE_ROUND_TRIP,
    WRONG_PREVIOUS,
)

MODES = (AUTOREGRESSIVE, TEACHER_FORCED)  # the first is the headline
COPY_PREVIOUS, MEAN_IMAGE, OTHER_RECIPE = "copy_previous", "mean_image", "other_recipe"
NEAREST_TRAINING = "nearest_training"
UPPER_BOUND, MODEL, CONTROL, BASELINE = KINDS = ("upper bound", "model", "control", "baseline")  # in reading order
GROUPS = {"all": 0, "after_first": 1}  # the first step that counts


@dataclass(frozen=True)
class Line:
    """One line of a table of results.

    Attributes:
        row: its key in `evaluation.json`.
        mode: one of `MODES`; None where the images don't depend on it.
        kind: one of `KINDS`.
        label: its name on the page.
        description: what its images are.
    """

    row: str
    mode: str | None
    kind: str
    label: str
    description: str


LINES = (
    Line("model", AUTOREGRESSIVE, MODEL, "Generated", "each step from the image generated before it (autoregressive)"),
    Line(
        "model",
        TEACHER_FORCED,
        MODEL,
        "Generated from ground truth",
        "each step from the ground truth of the step before (teacher-forced)",
    ),
    Line(WRONG_PREVIOUS, None, CONTROL, "Wrong previous image", "the model, from a frame of another recipe"),
    Line(NO_PREVIOUS, None, CONTROL, "No previous image", "the model, from the sentence alone"),
    Line(
        COPY_PREVIOUS,
        None,
        BASELINE,
        "Copy of the previous image",
        "ground truth of the step before; blank at a first step",
    ),
    Line(MEAN_IMAGE, None, BASELINE, "Mean training image", "the same blur for every step"),
    Line(OTHER_RECIPE, None, BASELINE, "Another recipe's frame", "a ground-truth frame of an unrelated recipe"),
    Line(
        NEAREST_TRAINING,
        None,
        BASELINE,
        "Nearest training frame",
        "the frame of the training step whose sentence and previous image are most alike: pure memory",
    ),
    Line(UNTOUCHED_BACKBONE, None, BASELINE, "Untouched backbone", "from the sentence alone, before any training"),
    Line(
        UNTOUCHED_NATIVE,
        None,
        BASELINE,
        "Untouched backbone, own size",
        "the same at the size that it was trained for, scaled down",
    ),
    Line(VAE_ROUND_TRIP, None, UPPER_BOUND, "VAE round trip", "the ground truth, encoded and decoded by the VAE"),
)


def image_sets() -> dict[str, tuple[str, ...]]:
    """The set of images behind each row in each of `MODES`: the same one twice where the mode doesn't matter."""
    return {line.row: MODES if line.mode else (line.row, line.row) for line in LINES}


def of_kind(*kinds: str) -> list[str]:
    """The rows of some kinds."""
    return list(dict.fromkeys(line.row for line in LINES if line.kind in kinds))


def table(rows: Mapping[str, Any], group: str) -> list[tuple[Line, dict[str, Any]]]:
    """The lines of a table in reading order, each with its entries `{metric: {mean, low, high}, images, videos, ...}`.

    A line without images is left out: a single recipe has no wrong image, and a backbone whose own size is that of the
    frames is not generated twice.

    Args:
        rows: `rows` of `evaluation.json`.
        group: one of `GROUPS`.
    """
    lines = sorted(LINES, key=lambda line: KINDS.index(line.kind))
    entries = [(line, rows[line.row][line.mode or MODES[0]][group]) for line in lines]
    return [(line, entry) for line, entry in entries if entry["images"]]
