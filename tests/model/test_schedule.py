"""The scheduler's arithmetic: an oracle that knows x0 gets it back, for noise and for v prediction."""

import math

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from recipevis.config import SCHEDULERS
from recipevis.errors import InputError
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
    noisy = schedule.add_noise(scheduler, latents, noise, timesteps)
    wanted = schedule.target(scheduler, latents, noise, timesteps)
    recovered = schedule.predicted_original(scheduler, noisy, wanted, timesteps)
    torch.testing.assert_close(recovered, latents, rtol=1e-3, atol=2e-3)


def test_amplification_is_what_an_error_becomes(scheduler):
    random = torch.Generator().manual_seed(0)
    noisy, prediction = (torch.randn(3, 4, 2, 2, generator=random) for _ in range(2))
    timesteps = torch.tensor([20, 300, 900])
    before, after = (schedule.predicted_original(scheduler, noisy, prediction + error, timesteps) for error in (0, 0.1))

    def noise(latents):  # that x_t holds if x_0 is this
        ones = torch.ones_like(latents)
        signal, sigma = (
            schedule.add_noise(scheduler, *pair, timesteps) for pair in ((ones, 0 * ones), (0 * ones, ones))
        )
        return (noisy - signal * latents) / sigma

    measured = ((after - before).abs() / (noise(after) - noise(before)).abs()).amax((1, 2, 3))
    torch.testing.assert_close(schedule.amplification(scheduler, timesteps), measured, rtol=1e-3, atol=1e-3)


def test_a_limit_chooses_the_same_timesteps_whatever_is_predicted(tmp_path):
    """Each says how far pred x0 can be trusted, so the cycle loss is the same loss for noise and for v prediction."""
    chosen = []
    for kind in ("epsilon", "v_prediction", "sample"):
        DDPMScheduler(**SD | {"beta_end": 0.012, "prediction_type": kind}).save_pretrained(tmp_path / kind)
        by_step = schedule.amplification(schedule.load_scheduler(tmp_path / kind), torch.arange(1000))
        chosen.append(by_step <= 2)
    assert chosen[0].any()
    assert not chosen[0].all()
    assert torch.equal(chosen[0], chosen[1])
    assert torch.equal(chosen[0], chosen[2])


def test_pure_noise_says_nothing_of_x0(tmp_path):
    DDPMScheduler(**SCHEDULES["v_prediction"]).save_pretrained(tmp_path)
    assert schedule.amplification(schedule.load_scheduler(tmp_path), torch.tensor([999])).isinf()


def test_min_snr_weighs_the_error_of_x0(scheduler):
    """Hang et al., equation 7: the loss is min(SNR, gamma) |x0 - pred x0|^2, whatever the network predicts."""
    random = torch.Generator().manual_seed(0)
    latents, noise, answer = (torch.randn(3, 4, 2, 2, generator=random, dtype=torch.float64) for _ in range(3))
    timesteps, gamma = torch.tensor([50, 300, 700]), 5.0
    noisy = schedule.add_noise(scheduler, latents, noise, timesteps)
    predicted = schedule.predicted_original(scheduler, noisy, answer, timesteps)
    alphas = scheduler.alphas_cumprod[timesteps]
    snr = alphas / (1 - alphas)
    expected = snr.clamp(max=gamma) * (latents - predicted).square().flatten(1).mean(1)
    each = (schedule.target(scheduler, latents, noise, timesteps) - answer).square().flatten(1).mean(1)
    found = schedule.min_snr_weights(scheduler, timesteps, gamma) * each
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-6)
    assert snr.max() > gamma > snr.min()


def test_min_snr_for_v_is_the_papers_formula(tmp_path):
    """min(SNR, gamma) / (SNR + 1); it is 0 in pure noise."""
    DDPMScheduler(**SCHEDULES["v_prediction"]).save_pretrained(tmp_path)
    scheduler = schedule.load_scheduler(tmp_path)
    weights = schedule.min_snr_weights(scheduler, torch.arange(1000), 5.0).double()
    snr = scheduler.alphas_cumprod / (1 - scheduler.alphas_cumprod)
    torch.testing.assert_close(weights, snr.clamp(max=5) / (snr + 1), rtol=1e-4, atol=1e-6)
    assert weights[-1] == 0


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_sampling_scheduler_follows_the_backbones_noise(name, scheduler):
    made = schedule.sampling_scheduler(scheduler.config, name)
    assert not made.config.get("clip_sample")
    assert made.config.prediction_type == scheduler.config.prediction_type
    again = schedule.sampling_scheduler(made.config, "ddpm")  # a user may go back
    torch.testing.assert_close(again.alphas_cumprod.double(), scheduler.alphas_cumprod, rtol=1e-4, atol=1e-6)
    made.set_timesteps(5)
    assert len(made.timesteps) == 5


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


@pytest.mark.parametrize("name", SCHEDULES)
def test_coefficients_are_those_of_a_double_precision_schedule(name, tmp_path):
    """Computed by numpy: single-precision square roots depend on the CPU."""
    DDPMScheduler(**SCHEDULES[name]).save_pretrained(tmp_path)
    scheduler = schedule.load_scheduler(tmp_path)
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    signal = np.sqrt(np.cumprod(1 - betas))
    if name == "v_prediction":  # rescaled to end in pure noise (arXiv 2305.08891, algorithm 1)
        signal = (signal - signal[-1]) * signal[0] / (signal[0] - signal[-1])
    ones, zeros = torch.ones(1000, 1, 1, 1), torch.zeros(1000, 1, 1, 1)
    every = torch.arange(1000)
    np.testing.assert_allclose(schedule.add_noise(scheduler, ones, zeros, every).flatten(), signal, atol=2e-6)
    sigma = np.sqrt(1 - signal**2)
    np.testing.assert_allclose(schedule.add_noise(scheduler, zeros, ones, every).flatten(), sigma, atol=2e-6)
    assert scheduler.alphas_cumprod.dtype == torch.float64
