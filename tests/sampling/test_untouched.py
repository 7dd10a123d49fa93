"""What is generated without training."""

import numpy as np
import torch
from PIL import Image

from recipevis import images
from recipevis.model.networks import Backbone
from recipevis.sampling import baselines
from recipevis.sampling.plan import plan
from recipevis.sampling.sampler import Sampler


def test_baselines(recipes, triplets, tiny_backbone, tmp_path):
    """The untouched backbone sees no image; the round trip equals the VAE's own answer."""
    backbone, table = Backbone(tiny_backbone), plan(recipes, triplets, None)
    sampler = Sampler(baselines.untouched_backbone(backbone, 32, "white", "ddpm"), 0, 2, 1.0)
    baselines.generate_baselines(table, sampler, 16, tmp_path / "samples")
    scored = table[table["scored"] == 1]
    for name in ("untouched_backbone", "vae_round_trip"):
        there = sorted(path.stem for path in (tmp_path / "samples" / name).iterdir())
        assert there == sorted(scored["sample_id"])
    row = scored.iloc[1]
    with torch.no_grad():
        latents = backbone.vae.encode(images.to_vae([images.read(row["image"])])).latent_dist.mean
        decoded = images.from_vae(backbone.vae.decode(latents).sample)[0]
    saved = images.read(tmp_path / "samples" / "vae_round_trip" / f"{row['sample_id']}.png").astype(int)
    assert np.abs(saved - decoded).max() <= 1
    alone = sampler.generate([row["sample_id"]], [row["sentence"]], [None])[0].astype(int)
    saved = images.read(tmp_path / "samples" / "untouched_backbone" / f"{row['sample_id']}.png")
    assert np.abs(alone - saved).max() <= 1  # another batch size may round differently


def test_the_untouched_backbone_at_its_own_size(recipes, triplets, tiny_backbone, tmp_path):
    """Generated at 64 pixels, as the UNet's configuration says, and scaled down; for the controls' steps alone."""
    backbone, table = Backbone(tiny_backbone), plan(recipes, triplets, None)
    table.loc[table["video_id"] == "a", "control"] = 0
    pixels = baselines.native_pixels(backbone)
    assert pixels == 64
    sampler = Sampler(baselines.untouched_backbone(backbone, pixels, "white", "ddpm"), 0, 2, 1.0)
    baselines.generate_native(table, sampler, 32, 16, tmp_path)
    there = {path.stem: images.read(path) for path in (tmp_path / "untouched_native").iterdir()}
    assert there.keys() == set(table[table["control"] == 1]["sample_id"])
    row = table[table["sample_id"] == "b_01"].iloc[0]
    large = sampler.generate([row["sample_id"]], [row["sentence"]])[0]
    small = np.asarray(Image.fromarray(large).resize((32, 32), Image.Resampling.LANCZOS)).astype(int)
    assert large.shape == (64, 64, 3)
    assert np.abs(small - there["b_01"]).max() <= 1


def test_nothing_is_generated_at_the_frames_own_size(recipes, triplets, tiny_backbone, tmp_path):
    sampler = Sampler(baselines.untouched_backbone(Backbone(tiny_backbone), 64, "white", "ddpm"), 0, 2, 1.0)
    baselines.generate_native(plan(recipes, triplets, None), sampler, 64, 16, tmp_path)
    assert not list((tmp_path / "untouched_native").iterdir())
