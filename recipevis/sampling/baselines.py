"""What is generated without any training: the untouched backbone's images, and the ground truth through the VAE."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from recipevis import images
from recipevis.data.tables.samples import UNTOUCHED_BACKBONE, UNTOUCHED_NATIVE, VAE_ROUND_TRIP
from recipevis.model.conditions import Conditioner
from recipevis.model.latents import LatentScaling
from recipevis.model.networks import Backbone
from recipevis.model.shapes import fuser_shapes
from recipevis.sampling.pipeline import RecipePipeline, assemble
from recipevis.sampling.rollout import batches, generate_batches
from recipevis.sampling.sampler import Sampler


def generate_baselines(table: pd.DataFrame, sampler: Sampler, batch_size: int, folder: Path) -> None:
    """Generate the untouched backbone's images, and the VAE's round trip, for every scored step.

    Args:
        table: see `plan.plan`.
        sampler: the untouched backbone, see `untouched_backbone`.
        batch_size, folder: see `rollout.generate_with_model`.
    """
    scored = table[table["scored"] == 1]

    def round_trip(rows: pd.DataFrame) -> np.ndarray:
        return _round_trip(sampler.pipeline, [images.read(path) for path in rows["image"]])

    chains = batches(UNTOUCHED_BACKBONE, scored, batch_size, _from_sentences(sampler))
    chains += batches(VAE_ROUND_TRIP, scored, batch_size, round_trip)
    generate_batches([[batch] for batch in chains], sampler.pipeline.device, folder, "baselines")


def generate_native(table: pd.DataFrame, sampler: Sampler, pixels: int, batch_size: int, folder: Path) -> None:
    """Generate the untouched backbone's images at its own size, scaled down, for the steps of the controls.

    Stable Diffusion v1 was trained at 512 pixels and generates worse images at 256.

    Args:
        table: see `plan.plan`.
        sampler: the untouched backbone at its own size, see `native_pixels`.
        pixels: height and width of a frame. If this is the backbone's own size, nothing is generated.
        batch_size, folder: see `rollout.generate_with_model`.
    """
    (folder / UNTOUCHED_NATIVE).mkdir(parents=True, exist_ok=True)
    if sampler.pipeline.config.pixels == pixels:
        return
    generate = _from_sentences(sampler)

    def scaled(rows: pd.DataFrame) -> list[np.ndarray]:
        small = (Image.fromarray(image).resize((pixels, pixels), Image.Resampling.LANCZOS) for image in generate(rows))
        return [np.asarray(image) for image in small]

    chains = batches(UNTOUCHED_NATIVE, table[table["control"] == 1], batch_size, scaled)
    generate_batches([[batch] for batch in chains], sampler.pipeline.device, folder, "native")


def untouched_backbone(backbone: Backbone, pixels: int, blank: str, scheduler: str) -> RecipePipeline:
    """The backbone as a pipeline that uses the sentence alone; arguments as for `assemble`."""
    shapes = fuser_shapes(backbone.folder, backbone.folder / "clip", condition_tokens=1)
    conditioner = Conditioner("baseline", {}, **asdict(shapes))
    pipeline = assemble(backbone, conditioner, backbone.unet, pixels, blank, scheduler)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def native_pixels(backbone: Backbone) -> int:
    """Height and width of the images that the backbone's UNet was trained on, as its configuration says."""
    return backbone.unet.config.sample_size * 2 ** (len(backbone.vae.config.block_out_channels) - 1)


def _from_sentences(sampler: Sampler):
    """A function that generates the images of rows from their sentences alone."""
    return lambda rows: sampler.generate(rows["sample_id"].tolist(), rows["sentence"].tolist())


@torch.no_grad()
def _round_trip(pipeline: RecipePipeline, truth: list[np.ndarray]) -> np.ndarray:
    """Images through the VAE and back, uint8 [b, h, w, 3]: the upper bound for any latent model."""
    scaling = LatentScaling(pipeline.vae.config, pipeline.device)
    latents = pipeline.vae.encode(images.to_vae(truth).to(pipeline.device)).latent_dist.mean
    return images.from_vae(pipeline.decode(scaling.scale(latents)))
