"""The paper's configuration on untrained networks of the published shapes: embed, train with L_cyc, generate.

Without the weights this shows that every shape fits, and that batch 1 fits into memory.
"""

import gc
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image

from recipevis import images
from recipevis.backbone import random, untrained
from recipevis.config import Config, load
from recipevis.embeddings import writer
from recipevis.embeddings.reader import Embeddings
from recipevis.fusers.base import Shapes
from recipevis.model.networks import Backbone
from recipevis.model.shapes import fuser_shapes
from recipevis.randomness import generator
from recipevis.sampling.pipeline import assemble
from recipevis.training.trainer import new_conditioner, new_trainer
from tests.conftest import make_untrained

pytestmark = pytest.mark.slow
SHAPES = random.CONFIGS / "stable-diffusion-v1-4"


@pytest.fixture(scope="module")
def paper(root) -> Config:
    return load(root / "params" / "paper.yaml")


@pytest.fixture(scope="module")
def backbone_folder(tmp_path_factory) -> Path:
    folder = make_untrained(SHAPES, tmp_path_factory.mktemp("paper") / "backbone")
    gc.collect()
    return folder


@pytest.fixture(scope="module")
def table(paper, tmp_path_factory) -> pd.DataFrame:
    folder, random, rows = tmp_path_factory.mktemp("frames"), np.random.default_rng(0), []
    for subset in ("training", "validation"):
        path = str(folder / f"{subset}.png")
        picture = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(picture).resize((paper.frames.pixels, paper.frames.pixels)).save(path)
        rows.append((subset, f"add the {subset} salt", path, ""))
    return pd.DataFrame(rows, columns=["subset", "sentence", "image", "previous_image"])


def test_the_number_of_weights_is_the_published_one():
    """Counted on the meta device, where nothing is allocated."""
    with torch.device("meta"):
        networks = untrained.make_networks(untrained.read(SHAPES))
    weights = {name: sum(w.numel() for w in network.parameters()) for name, network in networks.items()}
    assert weights == {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480, "clip": 427_616_513}


def test_it_embeds_trains_and_generates(paper, backbone_folder, table, tmp_path):
    backbone = Backbone(backbone_folder)
    assert fuser_shapes(backbone_folder, backbone_folder / "clip", paper.condition_tokens) == Shapes(
        77, 768, 257, 1024, 3, 768
    )
    blank = images.blank(paper.frames.pixels, paper.frames.blank)
    writer.embed(table["sentence"], table["image"], backbone, blank, 3, tmp_path / "cache")
    cache = Embeddings(tmp_path / "cache")
    assert cache.text_tokens.shape[1:] == (77, 768)
    assert cache.image_tokens.shape[1:] == (257, 1024)
    assert cache.latent_mean.shape[1:] == cache.latent_logvar.shape[1:] == (4, 32, 32)
    assert cache.text_projected.shape[1:] == (768,)

    kept = {"dropout_text": 0.0, "dropout_image": 0.0, "dropout_both": 0.0}  # L_cyc needs the sentence
    settings = paper.train.model_copy(update={"batch_size": 1, "validation_images": 1, "precision": "fp32"} | kept)
    cycle = paper.cycle.model_copy(update={"max_amplification": None})
    conditioner = new_conditioner(backbone, "attend_to_image", {"hidden": 64}, paper.condition_tokens, 0)
    AcceleratorState._reset_state()
    trainer = new_trainer(backbone, conditioner, table, cache, settings, cycle, paper.frames.pixels, paper.seed)
    [(batch, weights)] = trainer.load(0)
    denoising, of_cycle = trainer.step([(batch, weights)])[0].tolist()
    assert math.isfinite(denoising)
    assert 0 < of_cycle < 2
    denoising, of_cycle = trainer.step([(batch, None)])[0].tolist()
    assert math.isfinite(denoising)
    assert of_cycle == 0
    del trainer
    gc.collect()

    pipeline = assemble(backbone, conditioner, backbone.unet, paper.frames.pixels, paper.frames.blank)
    generated = pipeline("add the salt", generator=generator(0), num_inference_steps=2)
    assert generated.images[0].size == (256, 256)
