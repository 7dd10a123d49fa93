"""A recipe drawn with the weights of a running training, to look at. The training is left as it was."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
from torch import nn

from recipevis.config import SampleConfig
from recipevis.model.conditions import Conditioner
from recipevis.model.networks import Backbone
from recipevis.sampling.pipeline import assemble
from recipevis.sampling.sampler import Sampler, generate_recipe


def strip_drawer(
    backbone: Backbone,
    conditioner: Conditioner,
    triplets: pd.DataFrame,
    seed: int,
    pixels: int,
    blank: str,
    sample: SampleConfig,
) -> Callable[[], np.ndarray]:
    """A function that draws the first validation recipe autoregressively: its images in a row, uint8 [h, n w, 3].

    Args:
        backbone: whose UNet is trained.
        conditioner: the fuser that is trained.
        triplets: with at least one of the validation; a step without a frame is left out.
        seed: of the noise.
        pixels, blank, sample: the parameters `frames.pixels`, `frames.blank` and `sample`.
    """
    validation = triplets[triplets["subset"] == "validation"]
    sentences = validation.loc[validation["video_id"] == validation["video_id"].iloc[0], "sentence"].tolist()

    def draw() -> np.ndarray:
        with _as_they_are(conditioner, backbone.unet):
            pipeline = assemble(backbone, conditioner, backbone.unet, pixels, blank, sample.scheduler)
            pipeline.set_progress_bar_config(disable=True)
            settings = sample.steps, sample.guidance, sample.image_guidance, sample.precision
            return np.hstack(list(generate_recipe(Sampler(pipeline, seed, *settings), sentences)))

    return draw


@contextmanager
def _as_they_are(*networks: nn.Module) -> Iterator[None]:
    """Afterwards each module is in training mode or not, as before."""
    before = [(module, module.training) for network in networks for module in network.modules()]
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
