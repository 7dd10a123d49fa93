"""The safety checker turns what it flags black, and nothing else."""

import json

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPImageProcessorPil

from recipevis.errors import InputError
from recipevis.model.networks import Backbone
from recipevis.sampling.pipeline import assemble
from recipevis.sampling.recipe import draw_recipe
from recipevis.sampling.safety import SafetyChecker
from recipevis.training.trainer import new_conditioner


@pytest.fixture
def make(tmp_path):
    """A function: a folder with a tiny checker that flags every picture, or none."""

    def folder(flags: bool):
        vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
        vision |= {"image_size": 32, "patch_size": 16}
        config = CLIPConfig(vision_config=vision, projection_dim=4)
        checker = StableDiffusionSafetyChecker(config)
        with torch.no_grad():  # a picture is flagged where its similarity with a concept is above the concept's weight
            checker.concept_embeds_weights.fill_(-2 if flags else 2)
            checker.special_care_embeds_weights.fill_(2)
        checker.save_pretrained(tmp_path / "safety_checker")
        size = {"height": 32, "width": 32}
        processor = CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False)
        processor.save_pretrained(tmp_path / "feature_extractor")
        return tmp_path

    return folder


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(1, 256, (40, 50, 3), np.uint8)


def test_what_is_flagged_is_black(make, picture):
    before = picture.copy()
    shown = SafetyChecker(make(True))(picture)
    assert shown.shape == picture.shape
    assert shown.dtype == np.uint8
    assert not shown.any()
    assert np.array_equal(picture, before)  # the next step is still drawn from what the model drew


def test_other_pictures_stay(make, picture):
    assert np.array_equal(SafetyChecker(make(False))(picture), picture)


def test_a_recipe_is_shown_through_it(make, tiny_backbone):
    backbone = Backbone(tiny_backbone)
    conditioner = new_conditioner(backbone, "attend_to_image", {"hidden": 4}, 3, seed=0)
    pipeline = assemble(backbone, conditioner, backbone.unet, 32, "white", num_inference_steps=2, guidance_scale=1)
    checker = SafetyChecker(make(True))
    shown = list(draw_recipe(pipeline, ["add oil", "fry"], safety_checker=checker))
    assert [np.asarray(image).any() for image in shown] == [False, False]
    assert all(np.asarray(image).any() for image in draw_recipe(pipeline, ["add oil", "fry"]))


@pytest.mark.parametrize("part", ["safety_checker", "feature_extractor"])
def test_a_part_that_is_missing_is_named(make, part):
    folder = make(True)
    (folder / part).rename(folder / "gone")
    with pytest.raises(InputError, match=part):
        SafetyChecker(folder)


def test_a_broken_one_is_refused_in_one_line(make):
    folder = make(True)
    (folder / "safety_checker/config.json").write_text(json.dumps({}))
    (folder / "safety_checker/model.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError) as caught:
        SafetyChecker(folder)
    assert "\n" not in str(caught.value)
