"""The choice of guidance: every combination is scored on training recipes that the model has not seen."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from recipevis.backbone.judges import open_judge
from recipevis.kitchen import recipes
from recipevis.kitchen.drawing import rendering
from recipevis.model.networks import Backbone
from recipevis.sampling.pipeline import assemble
from recipevis.sampling.sampler import Sampler
from recipevis.training.trainer import new_conditioner
from scripts import choose_guidance as script
from tests.conftest import set_parameters


@pytest.fixture
def trained(tiny_backbone, root, tmp_path):
    """A folder with an untrained model and parameters with three training recipes."""
    backbone = Backbone(tiny_backbone)
    conditioner = new_conditioner(backbone, "attend_to_image", {"hidden": 4}, 3, seed=0)
    assemble(backbone, conditioner, backbone.unet, pixels=256, blank="white").save_pretrained(tmp_path / "model")
    shutil.copy(root / "params.yaml", tmp_path)
    set_parameters(tmp_path / "params.yaml", {"dataset.kitchen.training_videos": 3})
    return tmp_path


@pytest.fixture
def sampled(monkeypatch):
    """The arguments of each call of the sampler, which generates black images."""
    calls = []

    def generate(sampler, keys, prompts, previous, first):
        calls.append((first, prompts, previous))
        return [np.zeros((256, 256, 3), np.uint8)] * len(keys)

    monkeypatch.setattr(Sampler, "generate", generate)
    return calls


def test_a_row_for_each_combination(trained, tiny_backbone, capsys):
    script.main(trained / "model", tiny_backbone / "clip", trained / "params.yaml", 1, [1, 2], [-1], [1])
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[:4] == ["guidance", "image_guidance", "steps", "mode"]
    assert header.split()[4:] == ["psnr", "ssim", "encoder_l2", "counter", "vessel"]
    combinations = [tuple(row.split()[:4]) for row in rows]
    assert combinations == [(g, g, "1", mode) for g in ("1", "2") for mode in ("autoregressive", "teacher_forced")]


def test_scores_of_right_and_of_wrong_images(tiny_backbone):
    scenes = [step.done for step in recipes.recipe(0, "training-0003").steps]
    encoder = open_judge(tiny_backbone / "clip", "cpu")
    right = script._scores([rendering.picture(scene) for scene in scenes], scenes, encoder)
    assert right == {"psnr": 60, "ssim": 1, "encoder_l2": 0, "counter": 1, "vessel": 1}
    colours = {scene.counter for scene in scenes} | {scene.colour for scene in scenes}
    (other, *_) = [colour for colour in recipes.COLOURS if colour not in colours]
    repainted = [rendering.picture(replace(scene, counter=other)) for scene in scenes]
    wrong = script._scores(repainted, scenes, encoder)
    assert (wrong["counter"], wrong["vessel"]) == (0, 1)
    assert 5 < wrong["psnr"] < 30
    assert script.nearest_colour(repainted[-1], scenes[-1], "counter") == other


def test_the_recipes_follow_the_training_recipes(trained, tiny_backbone, sampled):
    script.main(trained / "model", tiny_backbone / "clip", trained / "params.yaml", 1, [1], [-1], [1])
    steps = recipes.recipe(0, "training-0003").steps
    assert [prompt for _, (prompt,), _ in sampled] == [step.sentence for step in steps] * 2
    autoregressive, teacher_forced = sampled[: len(steps)], sampled[len(steps) :]
    assert autoregressive[0][2] == teacher_forced[0][2] == [None]
    assert not autoregressive[1][2][0].any()
    assert np.array_equal(teacher_forced[1][2][0], rendering.picture(steps[0].done))
    for given, first in ((autoregressive, np.zeros((256, 256, 3))), (teacher_forced, rendering.picture(steps[0].done))):
        assert given[0][0] == [None]
        assert all(np.array_equal(call[0][0], first) for call in given[1:])
