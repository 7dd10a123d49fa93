"""A pipeline of tiny untrained networks, and recipes with and without frames."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from recipevis.data.tables.recipes import Recipe, Step
from recipevis.model.networks import Backbone
from recipevis.sampling.pipeline import RecipePipeline, assemble
from recipevis.training.trainer import new_conditioner


@pytest.fixture
def pipeline(tiny_backbone) -> RecipePipeline:
    backbone = Backbone(tiny_backbone)
    conditioner = new_conditioner(backbone, "attend_to_image", {"hidden": 4}, 3, seed=0)
    pipeline = assemble(backbone, conditioner, backbone.unet, pixels=32, blank="white")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def recipes() -> list[Recipe]:
    def recipe(video: str, subset: str, count: int) -> Recipe:
        steps = tuple(Step(i, 10.0 * i, 10.0 * i + 5, f"step {i} of {video}") for i in range(count))
        return Recipe(video, subset, "soup", 100.0, steps)

    lengths = {"a": 3, "b": 2, "gone": 2, "c": 4}
    return [recipe("t", "training", 2), *(recipe(video, "validation", count) for video, count in lengths.items())]


@pytest.fixture
def triplets(recipes, tmp_path) -> pd.DataFrame:
    """All steps but: none of `gone`; of `c` step 1 has no frame, so that 1 and 2 are no targets."""
    rows, random = [], np.random.default_rng(0)
    for recipe in recipes:
        for step in recipe.steps:
            path = tmp_path / f"{recipe.video_id}_{step.step:02d}.png"
            Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
            if recipe.video_id == "gone" or (recipe.video_id == "c" and step.step in (1, 2)):
                continue
            previous = str(tmp_path / f"{recipe.video_id}_{step.step - 1:02d}.png") if step.step else ""
            key = f"{recipe.video_id}_{step.step:02d}"
            about = (key, recipe.subset, "soup", recipe.video_id, step.step, step.sentence)
            rows.append((*about, str(path), previous))
    columns = ["sample_id", "subset", "recipe_type", "video_id", "step", "sentence", "image", "previous_image"]
    return pd.DataFrame(rows, columns=columns)
