"""The scheduler's arithmetic: an oracle that knows x0 gets it back, for noise and for v prediction."""

import math
from types import SimpleNamespace

import pytest
import torch
from diffusers import DDPMScheduler

from recipevis.errors import InputError
from recipevis.images import from_vae
from recipevis.model import schedule

SD = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
SCHEDULES = {
    "epsilon": dict(SD, prediction_type="epsilon"),
    "v_prediction": dict(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    ),
    "sample": dict(SD, prediction_type="sample"),
}


@pytest.fixture(params=SCHEDULES)
def scheduler(request, tmp_path) -> DDPMScheduler:
    # written with clipping on, as DDPMScheduler's default is: loading must turn it off
    DDPMScheduler(**SCHEDULES[request.param], clip_sample=True).save_pretrained(tmp_path)
    return schedule.load_scheduler(tmp_path)


def test_clipping_is_off(scheduler):
    assert not scheduler.config.clip_sample
    assert not scheduler.config.thresholding


def test_pred_x0_inverts_the_target(scheduler):
    random = torch.Generator().manual_seed(0)
    latents, noise = (5 * torch.randn(4, 4, 2, 2, generator=random, dtype=torch.float64) for _ in range(2))
    timesteps = torch.tensor([0, 10, 500, 990])
    noisy = scheduler.add_noise(latents, noise, timesteps)
    wanted = schedule.target(scheduler, latents, noise, timesteps)
    recovered = schedule.predicted_original(scheduler, noisy, wanted, timesteps)
    torch.testing.assert_close(recovered, latents, rtol=1e-3, atol=2e-3)


def test_amplification_is_what_an_error_becomes(scheduler):
    random = torch.Generator().manual_seed(0)
    noisy, prediction = (torch.randn(3, 4, 2, 2, generator=random) for _ in range(2))
    timesteps = torch.tensor([1, 300, 900])
    error = 0.1
    before, after = (
        schedule.predicted_original(scheduler, noisy, prediction + shift, timesteps) for shift in (0, error)
    )
    measured = ((after - before).abs() / error).amax((1, 2, 3))
    torch.testing.assert_close(schedule.amplification(scheduler, timesteps), measured, rtol=1e-4, atol=1e-4)


def test_the_limit_of_two_ends_at_step_562_of_stable_diffusions_schedule(tmp_path):
    DDPMScheduler(**SCHEDULES["epsilon"]).save_pretrained(tmp_path)
    by_step = schedule.amplification(schedule.load_scheduler(tmp_path), torch.arange(1000))
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alphas = torch.cumprod(1 - betas, 0)
    assert torch.nonzero(by_step <= 2).max() == torch.nonzero(((1 - alphas) / alphas).sqrt() <= 2).max() == 562
    assert by_step[981] == pytest.approx(math.sqrt((1 - alphas[981]) / alphas[981]), rel=1e-3)


def test_a_noise_prediction_that_starts_from_pure_noise_is_refused(tmp_path):
    DDPMScheduler(rescale_betas_zero_snr=True, prediction_type="epsilon").save_pretrained(tmp_path)
    with pytest.raises(InputError, match="pure noise"):
        schedule.load_scheduler(tmp_path)


@pytest.mark.parametrize("latent_scale", [1.0, 8.0])
def test_an_oracle_that_knows_x0_gets_it_back_through_the_sampler(scheduler, tiny_backbone, latent_scale):
    """The whole of `RecipePipeline.__call__` with a UNet that answers from x0; latents of 8 would be clipped."""
    from recipevis.model.networks import Backbone
    from recipevis.sampling.pipeline import assemble
    from recipevis.training.trainer import new_conditioner

    backbone = Backbone(tiny_backbone)
    backbone.scheduler = scheduler
    conditioner = new_conditioner(backbone, "attend_to_image", 4, True, 3, seed=0)
    pipeline = assemble(backbone, conditioner, backbone.unet, pixels=32, blank="white")
    original = latent_scale * torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(3))

    def oracle(noisy, timestep, encoder_hidden_states):
        # from x_t and x0: the noise is (x_t - sqrt(a) x0) / sqrt(1 - a); then whatever the schedule asks for
        alpha = scheduler.alphas_cumprod[timestep]
        noise = (noisy - alpha.sqrt() * original) / (1 - alpha).sqrt()
        answer = {
            "epsilon": noise,
            "v_prediction": alpha.sqrt() * noise - (1 - alpha).sqrt() * original,
            "sample": original.expand_as(noisy),
        }
        return SimpleNamespace(sample=answer[scheduler.config.prediction_type])

    seen = []
    pipeline.unet.forward = oracle
    pipeline.decode = lambda latents: seen.append(latents) or from_vae(latents[:, :3])
    try:
        pipeline(["stir"], [pipeline.blank_image], [torch.Generator().manual_seed(1)], steps=20, guidance=3)
    finally:
        del pipeline.unet.forward
    torch.testing.assert_close(seen[0], original, rtol=2e-2, atol=5e-2)
