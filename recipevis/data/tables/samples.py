"""`samples/samples.csv`: one row a generated step, and the sets of images that were generated for it."""

from pathlib import Path

import pandas as pd

from recipevis.errors import InputError

COLUMNS = ["sample_id", "recipe_type", "video_id", "step", "sentence", "image", "previous_image", "scored"]

# The sets of generated images: each is a folder of this name below `samples/`, with `<sample_id>.png`.
AUTOREGRESSIVE = "autoregressive"  # the model, from the image that it generated for the step before
TEACHER_FORCED = "teacher_forced"  # the model, from the ground truth of the step before
WRONG_PREVIOUS = "wrong_previous"  # the model, from a frame of another recipe
UNTOUCHED_BACKBONE = "untouched_backbone"  # the backbone before training, from the sentence alone
VAE_ROUND_TRIP = "vae_round_trip"  # the ground truth through the VAE and back
SETS = (AUTOREGRESSIVE, TEACHER_FORCED, WRONG_PREVIOUS, UNTOUCHED_BACKBONE, VAE_ROUND_TRIP)


def read_samples(path: Path) -> pd.DataFrame:
    """Read `samples/samples.csv`: `step` and `scored` are int, the rest is text, empty where there is no value.

    Raises:
        InputError: the file can't be read, or no step in it can be scored.
    """
    try:
        samples = pd.read_csv(path, dtype=str, keep_default_na=False).astype({"step": int, "scored": int})
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: can't be read as a table of samples: {error}") from error
    if not samples.scored.any():
        raise InputError(f"{path}: no step has both its true frame and the one before it, so nothing can be scored")
    return samples
