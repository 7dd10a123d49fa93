"""Scaled latents against the arithmetic of diffusers' own pipelines, written out here channel by channel."""

import pytest
import torch

from recipevis.model.latents import LatentScaling
from recipevis.model.networks import Backbone
from recipevis.sampling.pipeline import assemble, load_pipeline
from recipevis.training.trainer import new_conditioner

PLAIN = {"latent_channels": 4, "scaling_factor": 0.18215}
MEAN, STD = [1.0, 2.0, 3.0, 4.0], [2.0, 0.5, 4.0, 8.0]


@pytest.fixture
def latents() -> torch.Tensor:
    return torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("zero", [{}, {"shift_factor": None, "latents_mean": None, "latents_std": None}])
def test_without_statistics_only_the_factor_counts_to_the_bit(latents, zero):
    scaling = LatentScaling(PLAIN | zero)
    assert torch.equal(scaling.scale(latents), latents * 0.18215)
    assert torch.equal(scaling.unscale(latents), latents / 0.18215)


def test_the_shift_is_that_of_stable_diffusion_3(latents):
    scaling = LatentScaling(PLAIN | {"shift_factor": 0.0609})
    assert torch.equal(scaling.scale(latents), (latents - 0.0609) * 0.18215)
    assert torch.equal(scaling.unscale(latents), latents / 0.18215 + 0.0609)


def test_the_statistics_are_those_of_a_channel(latents):
    scaling = LatentScaling(PLAIN | {"latents_mean": MEAN, "latents_std": STD})
    scaled, back = scaling.scale(latents), scaling.unscale(latents)
    for channel, (mean, std) in enumerate(zip(MEAN, STD, strict=True)):
        one = latents[:, channel].double()
        torch.testing.assert_close(scaled[:, channel].double(), (one - mean) * 0.18215 / std, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(back[:, channel].double(), one * std / 0.18215 + mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(scaling.unscale(scaled), latents)
    assert scaling.scale(latents.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"scaling_factor": None}, "scaling_factor"),
        ({"scaling_factor": 0}, "scaling_factor"),
        ({"shift_factor": "small"}, "shift_factor"),
        ({"latents_mean": MEAN}, "latents_std"),
        ({"latents_std": STD}, "latents_mean"),
        ({"latents_mean": MEAN[:3], "latents_std": STD}, "latents_mean"),
        ({"latents_mean": MEAN, "latents_std": [1.0, 0.0, 1.0, 1.0]}, "latents_std"),
        ({"latents_mean": 1.0, "latents_std": STD}, "latents_mean"),
        ({"latents_mean": MEAN, "latents_std": STD, "shift_factor": 0.1}, "shift_factor"),
    ],
    ids=str,
)
def test_values_that_can_not_be_used_are_named(values, named):
    with pytest.raises(ValueError, match=named):
        LatentScaling(PLAIN | values)


@pytest.mark.parametrize("values", [{"latents_mean": MEAN, "latents_std": STD}, {"shift_factor": 0.5}], ids=str)
def test_a_saved_pipeline_decodes_with_the_statistics(tiny_backbone, tmp_path, latents, values):
    backbone = Backbone(tiny_backbone)
    backbone.vae.register_to_config(**values)
    conditioner = new_conditioner(backbone, "attend_to_image", {"hidden": 4}, condition_tokens=3, seed=0)
    assemble(backbone, conditioner, backbone.unet, pixels=32, blank="white").save_pretrained(tmp_path / "model")
    pipeline = load_pipeline(tmp_path / "model", "cpu")
    own = LatentScaling(PLAIN | values).unscale(latents)
    with torch.no_grad():
        torch.testing.assert_close(pipeline.decode(latents), backbone.vae.decode(own).sample)
        assert not torch.allclose(pipeline.decode(latents), backbone.vae.decode(latents / 0.18215).sample)
