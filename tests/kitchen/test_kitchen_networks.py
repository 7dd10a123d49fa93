"""What the shipped networks can do, on scenes that are not in their pretraining."""

from functools import cache

import numpy as np
import pytest
import torch

from recipevis import images
from recipevis.backbone.encoder import fetch_encoder
from recipevis.backbone.kitchen import NETWORKS
from recipevis.evaluation import metrics
from recipevis.kitchen import captions, recipes
from recipevis.kitchen.drawing import rendering
from recipevis.model.networks import Backbone, encode_sentences
from recipevis.model.schedule import load_scheduler
from recipevis.randomness import generator, numpy_generator
from scripts import pretrain_kitchen as pretraining
from scripts.choose_guidance import nearest_colour

SEED = 987654  # of the recipes here


@pytest.fixture(scope="module")
def kitchen() -> Backbone:
    return Backbone(NETWORKS / "backbone")


@cache
def unseen(count: int) -> list[recipes.Scene]:
    """Distinct scenes, one a recipe, none of which the VAE, the CLIPs or the UNet were trained on."""
    made = [recipes.recipe(SEED, f"unseen-{number:04d}") for number in range(3 * count)]
    scenes = {recipe.steps[number % len(recipe.steps)].done: None for number, recipe in enumerate(made)}
    seen = {
        step.done
        for seed in (pretraining.SEED, pretraining.SEED + 1)
        for number in range(1000)
        for step in recipes.recipe(seed, f"pretraining-{number:05d}").steps
    }
    return [scene for scene in scenes if scene not in seen][:count]


@pytest.fixture(scope="module")
def latents(kitchen) -> torch.Tensor:
    """The means of the latents of 40 unseen scenes, [40, 4, 32, 32]."""
    with torch.no_grad():
        encoded = [kitchen.vae.encode(images.to_vae([rendering.picture(scene)])) for scene in unseen(40)]
    return torch.cat([posterior.latent_dist.mean for posterior in encoded])


@torch.no_grad()
def test_the_autoencoder_keeps_the_picture(kitchen, latents):
    psnr = [
        metrics.psnr(images.from_vae(kitchen.vae.decode(latent[None]).sample)[0], rendering.picture(scene))
        for scene, latent in zip(unseen(40)[:16], latents[:16], strict=True)
    ]
    assert np.mean(psnr) >= 28


def test_scaled_latents_are_centred(kitchen, latents):
    scaled = latents * kitchen.vae.config.scaling_factor
    assert scaled.mean((0, 2, 3)).abs().max() < 0.2
    assert ((scaled.std((0, 2, 3)) - 1).abs() < 0.2).all()


@torch.no_grad()
def test_the_clip_that_measures_knows_the_caption(tmp_path):
    fetch_encoder("kitchen", None, tmp_path / "clip")
    encoder = Backbone(tmp_path)
    scenes = unseen(64 * 2)
    right = []
    for first in range(0, len(scenes), 64):
        some = scenes[first : first + 64]
        words = numpy_generator(SEED, "captions", first)
        tokens = encoder.clip_tokenizer(
            [captions.caption(scene, words) for scene in some],
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        ).input_ids
        pixels = encoder.processor([rendering.picture(scene) for scene in some], return_tensors="pt").pixel_values
        best = encoder.clip(input_ids=tokens, pixel_values=pixels).logits_per_image.argmax(1)
        right += (best == torch.arange(64)).tolist()
    assert np.mean(right) >= 0.9


@pytest.mark.slow
@torch.no_grad()
def test_text_to_image_gives_counter_and_vessel_their_named_colours(kitchen):
    """100 captions: the untouched UNet's images."""
    right, scheduler = [], load_scheduler(kitchen.folder / "scheduler")
    for first in range(0, 100, 20):
        scenes = unseen(100)[first : first + 20]
        words = numpy_generator(SEED, "colours", first)
        sentences = [captions.caption(scene, words) for scene in scenes]
        condition, _ = encode_sentences(kitchen.text_encoder, kitchen.tokenizer, sentences)
        own = generator(SEED, "colours", first)
        latents = torch.randn((len(scenes), 4, 32, 32), generator=own)
        scheduler.set_timesteps(20)
        for timestep in scheduler.timesteps:
            prediction = kitchen.unet(latents, timestep, encoder_hidden_states=condition).sample
            latents = scheduler.step(prediction, timestep, latents, generator=own).prev_sample
        for scene, latent in zip(scenes, latents, strict=True):
            generated = images.from_vae(kitchen.vae.decode(latent[None] / kitchen.vae.config.scaling_factor).sample)[0]
            right.append(nearest_colour(generated, scene, "counter") == scene.counter)
            right.append(nearest_colour(generated, scene, "colour") == scene.colour)
    assert np.mean(right) >= 0.9
