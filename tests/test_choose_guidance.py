"""The choice of guidance: each way of sampling is scored on training recipes after those of the model."""

import shutil
from dataclasses import asdict

import numpy as np
import pytest
import torch

from recipevis import rollout
from recipevis.backbone import Backbone
from recipevis.conditioning import Conditioner
from recipevis.kitchen import recipes, rendering
from recipevis.pipeline import assemble
from scripts import choose_guidance as script
from tests.conftest import set_parameters


@pytest.fixture
def trained(tiny_backbone, root, tmp_path):
    """A folder with an untrained model, the CLIP that measures and parameters of three training recipes."""
    backbone = Backbone(tiny_backbone)
    torch.manual_seed(0)
    conditioner = Conditioner("attend_to_image", 4, True, **asdict(backbone.shapes(3)))
    assemble(backbone, conditioner, backbone.unet, pixels=256, blank="white").save_pretrained(tmp_path / "model")
    shutil.copy(root / "params.yaml", tmp_path)
    set_parameters(tmp_path / "params.yaml", {"dataset.kitchen.training_videos": 3})
    return tmp_path


def test_a_row_for_each_way_of_sampling(trained, tiny_backbone, capsys):
    script.main(trained / "model", tiny_backbone / "clip", trained / "params.yaml", 2, [1, 2], [-1], [1])
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["guidance", "image_guidance", "steps", "mode", "psnr", "ssim", "encoder_l2"]
    ways = [tuple(row.split()[:4]) for row in rows]
    assert ways == [(g, g, "1", mode) for g in ("1", "2") for mode in ("autoregressive", "teacher_forced")]


def test_the_recipes_are_those_after_the_training_recipes(trained, tiny_backbone, monkeypatch):
    seen = []

    def draw(sampler, keys, sentences, previous):
        seen.append((sentences, [np.asarray(picture) for picture in previous]))
        return np.zeros((len(keys), 256, 256, 3), np.uint8)

    monkeypatch.setattr(rollout.Sampler, "draw", draw)
    script.main(trained / "model", tiny_backbone / "clip", trained / "params.yaml", 1, [1], [-1], [1])
    made = recipes.recipe(0, "training-0003")
    assert [sentence for (sentence,), _ in seen] == [step.sentence for step in made.steps] * 2
    drawn, true = seen[1][1][0], seen[len(made.steps) + 1][1][0]
    assert not drawn.any()
    assert np.array_equal(true, rendering.picture(made.steps[0].done))
