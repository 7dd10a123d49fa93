"""Controls: what the model is given instead of the ground truth, to see whether it matters."""

import pandas as pd

from recipevis.randomness import numpy_generator


def other_recipe(samples: pd.DataFrame, sample_id: str, seed: int) -> str | None:
    """Choose a ground-truth frame of another recipe type, or of another video if there is only one type.

    The choice depends on (seed, sample) alone, not on the order of calls.

    Args:
        samples: `samples.csv`.
        sample_id: whose recipe is left out.
        seed: of the choice.

    Returns:
        the frame's path; None if there is only one video.
    """
    own = samples[samples.sample_id == sample_id].iloc[0]
    others = samples[(samples.image != "") & (samples.video_id != own.video_id)]
    of_another_type = others[others.recipe_type != own.recipe_type]
    paths = (of_another_type if len(of_another_type) else others).image.tolist()
    return paths[numpy_generator(seed, "other_recipe", sample_id).integers(len(paths))] if paths else None
