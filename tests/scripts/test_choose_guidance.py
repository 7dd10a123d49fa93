"""The choice of guidance: each way of sampling is scored on training recipes after those of the model."""

import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from recipevis.kitchen import recipes
from recipevis.kitchen.drawing import rendering
from recipevis.model.conditions import Conditioner
from recipevis.model.networks import Backbone, ClipImages
from recipevis.sampling import rollout
from recipevis.sampling.pipeline import assemble
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
    assert header.split()[:4] == ["guidance", "image_guidance", "steps", "mode"]
    assert header.split()[4:] == ["psnr", "ssim", "encoder_l2", "counter", "vessel"]
    ways = [tuple(row.split()[:4]) for row in rows]
    assert ways == [(g, g, "1", mode) for g in ("1", "2") for mode in ("autoregressive", "teacher_forced")]


def test_scores_of_pictures_as_they_should_be_and_of_others(tiny_backbone):
    scenes = [step.done for step in recipes.recipe(0, "training-0003").steps]
    encoder = ClipImages(tiny_backbone / "clip", "cpu")
    right = script._scores([rendering.picture(scene) for scene in scenes], scenes, encoder)
    assert right == {"psnr": 60, "ssim": 1, "encoder_l2": 0, "counter": 1, "vessel": 1}
    colours = {scene.counter for scene in scenes} | {scene.colour for scene in scenes}
    (other, *_) = [colour for colour in recipes.COLOURS if colour not in colours]
    repainted = [rendering.picture(replace(scene, counter=other)) for scene in scenes]
    wrong = script._scores(repainted, scenes, encoder)
    assert (wrong["counter"], wrong["vessel"]) == (0, 1)
    assert 5 < wrong["psnr"] < 30
    assert script.nearest_colour(repainted[-1], scenes[-1], "counter") == other


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
