"""Which steps are generated, which of them are scored, and from which frames the controls start."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from recipevis.data.tables.recipes import Recipe
from recipevis.data.tables.samples import COLUMNS
from recipevis.randomness import numpy_generator

CONTROL_RECIPES = 100  # the most recipes that a control is generated for: enough for its interval


def plan(recipes: Sequence[Recipe], triplets: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """The steps to generate: all steps of the first `limit` validation recipes that have a triplet to score.

    A step whose ground truth or previous ground truth is missing is generated but not scored. Nothing here depends on
    the seed of the training, so that runs with different seeds differ by their models alone.

    Args:
        recipes: of all subsets, in the annotations' order.
        triplets: of all subsets.
        limit: the most recipes; None: all.

    Returns:
        a row a step with the columns of `samples.csv`, in the annotations' order.
    """
    scored = triplets[triplets["subset"] == "validation"].set_index("sample_id")
    chosen = [r for r in recipes if r.subset == "validation" and (scored["video_id"] == r.video_id).any()][:limit]
    spread = np.linspace(0, len(chosen), min(CONTROL_RECIPES, len(chosen)), endpoint=False, dtype=int)
    rows = []
    for number, recipe in enumerate(chosen):
        for step in recipe.steps:
            key = f"{recipe.video_id}_{step.step:02d}"
            is_scored = key in scored.index
            pair = tuple(scored.loc[key, ["image", "previous_image"]]) if is_scored else ("", "")
            about = (key, recipe.recipe_type, recipe.video_id, step.step, step.sentence)
            rows.append((*about, *pair, "", int(is_scored), int(is_scored and number in spread)))
    table = pd.DataFrame(rows, columns=COLUMNS)
    table["other_image"] = [_other_image(table, row) if row.scored else "" for row in table.itertuples()]
    return table


def _other_image(table: pd.DataFrame, sample) -> str:
    """A ground-truth frame of another recipe type, or of another video if there is only one type; "" without one.

    It depends on the sample alone, given the table.
    """
    others = table[(table.image != "") & (table.video_id != sample.video_id)]
    of_another_type = others[others.recipe_type != sample.recipe_type]
    paths = (of_another_type if len(of_another_type) else others).image.tolist()
    return paths[numpy_generator(0, "other_recipe", sample.sample_id).integers(len(paths))] if paths else ""
