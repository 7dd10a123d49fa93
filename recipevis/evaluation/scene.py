"""The kitchen's truth: which answers a generated image gives to what is known of its scene.

The questions come from `data/scenes.npz`; what makes them belongs in `kitchen.truth`. This module must import quickly.
"""

from collections.abc import Sequence

import numpy as np

from recipevis.data.tables.scenes import COUNTER, KINDS, NEW, OLD, VESSEL, Question

_COLUMNS = {COUNTER: "counter_colour", VESSEL: "vessel_colour", NEW: "new_ingredient", OLD: "old_ingredients"}
_KEPT = {COUNTER: "counter_colour_kept", VESSEL: "vessel_colour_kept", OLD: "old_ingredients_kept"}
# Name, label and description of each metric.
DESCRIPTIONS = (
    ("counter_colour", "counter right", "share of images whose counter has the right one of eight colours"),
    ("vessel_colour", "vessel right", "share of images whose vessel has the right one of eight colours"),
    ("new_ingredient", "new ingredient", "share of images that show the ingredient that the step adds"),
    (
        "old_ingredients",
        "old ingredients",
        "share of the ingredients from earlier steps, still visible, that are there",
    ),
    ("counter_colour_kept", "counter kept", "share right, where the image that it was made from is right"),
    ("vessel_colour_kept", "vessel kept", "share right, where the image that it was made from is right"),
    ("old_ingredients_kept", "old kept", "share there, of those in the image that it was made from"),
)


def answers(
    questions: Sequence[Question],
    image: np.ndarray,
    asked_before: Sequence[Question] = (),
    before: np.ndarray | None = None,
) -> dict[str, float]:
    """The share of right answers by metric of `DESCRIPTIONS`; NaN where nothing is asked.

    Args:
        questions: about the image.
        image: uint8 RGB [h, w, 3].
        asked_before: the questions about the step before.
        before: the image that this one was made from; None at a first step.
    """
    found = {column: float("nan") for column, _, _ in DESCRIPTIONS}
    right = {(one.kind, one.name): is_right(one, image) for one in questions}
    for kind in KINDS:
        found[_COLUMNS[kind]] = _share([value for (of, _), value in right.items() if of == kind])
    if before is None:
        return found
    # An ingredient that the step before added is new there, and old here.
    was_right = {one.name if one.kind in (NEW, OLD) else one.kind: is_right(one, before) for one in asked_before}
    for kind, column in _KEPT.items():
        kept = [
            value
            for (of, name), value in right.items()
            if of == kind and was_right.get(name if kind == OLD else kind, False)
        ]
        found[column] = _share(kept)
    return found


def is_right(question: Question, image: np.ndarray) -> bool:
    """Whether an image, uint8 RGB [h, w, 3], is most like the right picture, by the mean squared error."""
    pixels = image.reshape(-1, 3)[question.positions].astype(np.float32)  # [m, 3]
    errors = ((question.options.astype(np.float32) - pixels) ** 2).mean((1, 2))  # [k]
    return int(errors.argmin()) == question.right


def _share(values: Sequence[bool]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
