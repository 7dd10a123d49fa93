"""A pipeline of tiny untrained networks."""

import pytest

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
