"""That training learns: four of the demo's triplets, trained on alone, are generated again."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image

from recipevis import images
from recipevis.backbone import kitchen
from recipevis.config import load
from recipevis.embeddings import writer
from recipevis.embeddings.reader import Embeddings
from recipevis.evaluation import metrics
from recipevis.kitchen import recipes
from recipevis.kitchen.drawing import rendering
from recipevis.model.networks import Backbone
from recipevis.randomness import generator
from recipevis.sampling.pipeline import assemble
from recipevis.training.trainer import new_conditioner, new_trainer

pytestmark = pytest.mark.slow


def triplets(folder: Path) -> pd.DataFrame:
    """The second to fifth step of a recipe as the demo's training split has them."""
    made = (recipes.recipe(0, f"training-{number:04d}") for number in range(100))
    recipe, rows = next(recipe for recipe in made if len(recipe.steps) >= 5), []
    for number, step in enumerate(recipe.steps[:5]):
        Image.fromarray(rendering.picture(step.done)).save(folder / f"{number}.png")
        if number:
            rows.append((step.sentence, str(folder / f"{number}.png"), str(folder / f"{number - 1}.png")))
    table = pd.DataFrame(rows, columns=["sentence", "image", "previous_image"])
    return pd.concat([table.assign(subset=subset) for subset in ("training", "validation")], ignore_index=True)


def test_four_triplets_are_drawn_back(root, tmp_path):
    """At 20 dB or more, or within 2 dB of what the VAE can do where that is less."""
    backbone, table = Backbone(kitchen.NETWORKS / "backbone"), triplets(tmp_path)
    parameters = load(root / "params.yaml")
    pixels, blank = parameters.frames.pixels, parameters.frames.blank
    paths = [*table["image"], *table["previous_image"]]
    writer.embed(table["sentence"], paths, backbone, images.blank(pixels, blank), 8, tmp_path / "cache")
    settings = parameters.train.model_copy(
        update={"steps": 300, "batch_size": 8, "dropout_text": 0.0, "dropout_image": 0.0, "dropout_both": 0.0}
    )
    conditioner = new_conditioner(backbone, "attend_to_image", {"hidden": parameters.fuser_hidden}, 3, seed=0)
    cycle = parameters.cycle.model_copy(update={"weight": 0.0})
    AcceleratorState._reset_state()
    cache = Embeddings(tmp_path / "cache")
    trainer = new_trainer(backbone, conditioner, table, cache, settings, cycle, pixels, seed=0)
    trainer.run(tmp_path / "work")

    four = table[table["subset"] == "training"]
    assert len(four) == 4
    true, previous = ([images.read(path) for path in four[name]] for name in ("image", "previous_image"))
    pipeline = assemble(backbone, conditioner, backbone.unet, pixels, blank)
    generators = [generator(0, "overfit", number) for number in range(4)]
    steps = parameters.sample.steps
    made = pipeline(list(four["sentence"]), previous, generators, num_inference_steps=steps, guidance_scale=1.0).images
    with torch.no_grad():
        known = images.from_vae(backbone.vae.decode(backbone.vae.encode(images.to_vae(true)).latent_dist.mean).sample)
    reached, ceiling, copied = (
        np.mean([metrics.psnr(picture, frame) for picture, frame in zip(map(np.asarray, pictures), true, strict=True)])
        for pictures in (made, known, previous)
    )
    print(f"generated {reached:.1f} dB, through the VAE {ceiling:.1f}, the picture before {copied:.1f}")
    assert reached >= min(20, ceiling - 2)
    assert reached > copied
