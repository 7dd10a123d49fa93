"""Sampling in bf16, and all guidance terms in one forward pass, against the sampler's loop written by hand."""

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
from recipevis.errors import ParameterError
from recipevis.evaluation import metrics
from recipevis.kitchen import recipes
from recipevis.kitchen.drawing import rendering
from recipevis.model.conditions import StepEmbeddings
from recipevis.model.networks import Backbone, encode_images, encode_sentences
from recipevis.sampling.pipeline import assemble
from recipevis.sampling.sampler import Sampler
from recipevis.training.trainer import new_conditioner, new_trainer

SENTENCES = ["add salt", "stir"]
CALL = {"num_inference_steps": 3, "guidance_scale": 3.0, "image_guidance_scale": 1.5, "output_type": "latent"}


@pytest.fixture
def pictures() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8))


def seeded() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in (1, 2)]


@torch.no_grad()
def by_hand(pipeline, pictures, precision):
    """Each guidance term of each step in a forward pass and an autocast of its own; latents [2, 4, 4, 4]."""
    cast = {"device_type": "cpu", "dtype": torch.bfloat16, "enabled": precision == "bf16"}
    empty, blank = [""] * 2, torch.zeros(())
    text, no_text = (encode_sentences(pipeline.text_encoder, pipeline.tokenizer, s) for s in (SENTENCES, empty))
    image = encode_images(pipeline.image_encoder, pipeline.image_processor, pictures)
    no_image = [value * blank for value in image]
    given = [(no_text, no_image), (no_text, image), (text, image)]
    with torch.autocast(**cast):
        tokens = [pipeline.conditioner(StepEmbeddings(*t, *i)).tokens for t, i in given]
    random, scheduler = seeded(), pipeline.scheduler
    latents = torch.cat([torch.randn(1, 4, 4, 4, generator=one) for one in random])
    scheduler.set_timesteps(3)
    for timestep in scheduler.timesteps:
        with torch.autocast(**cast):
            nothing, with_image, both = (
                pipeline.unet(latents, timestep, encoder_hidden_states=t).sample.float() for t in tokens
            )
        prediction = nothing + 1.5 * (with_image - nothing) + 3.0 * (both - with_image)
        latents = scheduler.step(prediction, timestep, latents, generator=random).prev_sample
    return latents


def test_the_guidance_terms_of_one_pass_are_those_of_three(pipeline, pictures):
    generated = pipeline(SENTENCES, pictures, seeded(), **CALL).images
    torch.testing.assert_close(generated, by_hand(pipeline, pictures, "fp32"), rtol=1e-4, atol=1e-4)


def test_bf16_is_autocast_of_fuser_and_unet_alone(pipeline, pictures):
    """Encoders, latents, noise and the scheduler's arithmetic stay fp32, so only these networks' rounding differs."""
    generated = pipeline(SENTENCES, pictures, seeded(), precision="bf16", **CALL).images
    fp32, bf16 = (by_hand(pipeline, pictures, precision) for precision in ("fp32", "bf16"))
    assert generated.dtype == torch.float32
    rounding = (bf16 - fp32).abs().max()
    assert rounding > 1e-4
    assert (generated - bf16).abs().max() < rounding / 2


def test_the_sampler_hands_its_precision_on(pipeline, pictures):
    pipeline.register_to_config(num_inference_steps=3, guidance_scale=3.0)
    images_of = {
        precision: np.array(Sampler(pipeline, 0, precision=precision).generate(["a", "b"], SENTENCES, pictures))
        for precision in ("fp32", "bf16")
    }
    difference = np.abs(images_of["fp32"].astype(int) - images_of["bf16"])
    assert 0 < difference.max() <= 8  # grey levels


def test_an_unknown_precision_is_refused(pipeline):
    with pytest.raises(ParameterError, match=r"sample\.precision = 'fp16': must be fp32 or bf16"):
        pipeline("stir", precision="fp16")


def triplets(folder: Path, subset: str, count: int) -> pd.DataFrame:
    """The steps of some recipes as the demo has them; the image before a first step is blank."""
    rows = []
    for number in range(count):
        before = ""
        for step, made in enumerate(recipes.recipe(0, f"{subset}-{number:04d}").steps):
            path = folder / f"{subset}_{number}_{step}.png"
            Image.fromarray(rendering.picture(made.done)).save(path)
            rows.append((subset, made.sentence, str(path), before))
            before = str(path)
    return pd.DataFrame(rows, columns=["subset", "sentence", "image", "previous_image"])


@pytest.mark.slow
def test_bf16_changes_no_psnr_of_the_kitchen(root, tmp_path):
    """The mean PSNR of a trained model's images by less than 0.01 dB."""
    backbone, parameters = Backbone(kitchen.NETWORKS / "backbone"), load(root / "params.yaml")
    pixels, blank = parameters.frames.pixels, parameters.frames.blank
    table = pd.concat([triplets(tmp_path, "training", 12), triplets(tmp_path, "validation", 6)], ignore_index=True)
    nothing_before = images.blank(pixels, blank)
    paths = [*table["image"], *table["previous_image"]]
    writer.embed(table["sentence"], paths, backbone, nothing_before, 8, tmp_path / "cache")
    settings = parameters.train.model_copy(update={"steps": 60, "validation_images": 8})
    conditioner = new_conditioner(backbone, "attend_to_image", {"hidden": parameters.fuser_hidden}, 3, seed=0)
    AcceleratorState._reset_state()
    cache = Embeddings(tmp_path / "cache")
    trainer = new_trainer(backbone, conditioner, table, cache, settings, parameters.cycle, pixels, seed=0)
    trainer.run(tmp_path / "work")

    shown = table[table["subset"] == "validation"]
    pipeline, settings = assemble(backbone, conditioner, backbone.unet, pixels, blank), parameters.sample
    pipeline.set_progress_bar_config(disable=True)
    previous = [images.read(path) if path else nothing_before for path in shown["previous_image"]]
    truth = [images.read(path) for path in shown["image"]]
    keys, means = [str(row) for row in shown.index], {}
    for precision in ("fp32", "bf16"):
        sampler = Sampler(pipeline, 0, settings.steps, settings.guidance, precision=precision)
        generated = sampler.generate(keys, shown["sentence"].tolist(), previous)
        means[precision] = np.mean([metrics.psnr(*pair) for pair in zip(generated, truth, strict=True)])
    print(f"{len(truth)} images: {means['fp32']:.4f} dB in fp32, {means['bf16']:.4f} dB in bf16")
    assert means["fp32"] != means["bf16"]
    assert abs(means["fp32"] - means["bf16"]) < 0.01
