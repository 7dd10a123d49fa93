"""The scheduler's arithmetic: an oracle that knows x0 gets it back, for noise and for v prediction."""

import math

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

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
