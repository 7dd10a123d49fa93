"""`samples/samples.csv`: one row a generated step, and the sets of images that were generated for it."""

from pathlib import Path

import pandas as pd

from recipevis.errors import InputError

COLUMNS = [
    "sample_id",
    "recipe_type",
    "video_id",
    "step",
    "sentence",
    "image",  # the ground truth
    "previous_image",  # the ground truth of the step before; empty for a first step
    "other_image",  # a ground-truth frame of another recipe; empty if there is no other
    "scored",  # 1: the step has a ground truth, and so has the step before; 0: it is only generated
    "control",  # 1: the step is scored, and its recipe is one of those that controls are generated for
]

# The sets of generated images: each is a folder of this name below `samples/`, with `<sample_id>.png`.
AUTOREGRESSIVE = "autoregressive"  # the model, from the image that it generated for the step before
TEACHER_FORCED = "teacher_forced"  # the model, from the ground truth of the step before
WRONG_PREVIOUS = "wrong_previous"  # the model, from a frame of another recipe
NO_PREVIOUS = "no_previous"  # the model, from the sentence alone: the previous image is dropped, as in training
UNTOUCHED_BACKBONE = "untouched_backbone"  # the backbone before training, from the sentence alone
UNTOUCHED_NATIVE = "untouched_native"  # the same at the backbone's own size, scaled down
VAE_ROUND_TRIP = "vae_round_trip"  # the ground truth through the VAE and back
OF_MODEL = (AUTOREGRESSIVE, TEACHER_FORCED, WRONG_PREVIOUS, NO_PREVIOUS)
CONTROLS = (WRONG_PREVIOUS, NO_PREVIOUS, UNTOUCHED_NATIVE)  # generated for the steps with `control` alone


def steps_of(name: str, samples: pd.DataFrame) -> pd.DataFrame:
    """The rows of `samples.csv` that a set of generated images has an image for."""
    if name == AUTOREGRESSIVE:
        return samples
    return samples[samples["control"] == 1] if name in CONTROLS else samples[samples["scored"] == 1]


def read_samples(path: Path) -> pd.DataFrame:
    """Read `samples/samples.csv`: `step`, `scored` and `control` are int, the rest is text, empty without a value.

    Raises:
        InputError: the file can't be read, or no step in it can be scored.
    """
    try:
        samples = pd.read_csv(path, dtype=str, keep_default_na=False)
        samples = samples.astype({"step": int, "scored": int, "control": int})
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: can't be read as a table of samples: {error}") from error
    if not samples.scored.any():
        raise InputError(f"{path}: no step has both its true frame and the one before it, so nothing can be scored")
    return samples
