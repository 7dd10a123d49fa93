"""The noise schedule: noisy latents, training target, predicted x0, error amplification.

Stable Diffusion v1-4 predicts the noise on a scaled-linear schedule; other backbones predict v. Everything here follows
the scheduler's own configuration. Legend: a = cumulative alpha-bar at the sample's timestep; x_t = sqrt(a) x_0 +
sqrt(1 - a) noise; v = sqrt(a) noise - sqrt(1 - a) x_0.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_ddpm import rescale_zero_terminal_snr
from torch import Tensor

from recipevis.errors import InputError

Scheduler = DDPMScheduler | DDIMScheduler | DPMSolverMultistepScheduler


def load_scheduler(folder: Path) -> DDPMScheduler:
    """Load the backbone's schedule as a DDPM scheduler (A.3), with clipping off since latents exceed [-1, 1].

    Raises:
        InputError: it is missing or unreadable, its prediction type is unknown, or it predicts the noise and ends in
            pure noise, where x0 can't be predicted.
    """
    try:
        scheduler = DDPMScheduler.from_pretrained(folder, clip_sample=False, thresholding=False)
        signal = scheduler.alphas_cumprod[-1]
    except (OSError, ValueError, TypeError, LookupError, NotImplementedError) as error:
        raise InputError(f"{folder}: not a readable noise schedule: {' '.join(str(error).split())}") from error
    make_exact(scheduler)
    kind = scheduler.config.prediction_type
    if kind not in ("epsilon", "v_prediction", "sample"):
        raise InputError(f"{folder}: prediction_type = {kind!r}; must be epsilon, v_prediction or sample")
    if kind == "epsilon" and signal == 0:
        raise InputError(f"{folder}: prediction_type is epsilon, but the schedule ends in pure noise: use v_prediction")
    return scheduler


def sampling_scheduler(config: Mapping[str, Any], name: str) -> Scheduler:
    """The scheduler that draws images on a noise schedule.

    Args:
        config: of a scheduler on that schedule.
        name: `ddpm` (A.3), `ddim` (Song et al., 2021; it adds no noise) or `dpm-solver++` (Lu et al., 2022; of the
            second order, it needs fewer steps and adds no noise).
    """
    unclipped = {"clip_sample": False, "thresholding": False}
    if name == "dpm-solver++":
        return DPMSolverMultistepScheduler.from_config(
            config, algorithm_type="dpmsolver++", variance_type=None, **unclipped
        )
    return {"ddpm": DDPMScheduler, "ddim": DDIMScheduler}[name].from_config(config, **unclipped)


def make_exact(scheduler: DDPMScheduler | DDIMScheduler) -> None:
    """Replace the scheduler's cumulative alphas by double-precision ones, on the CPU.

    MKL rounds single-precision square roots differently on Intel and AMD CPUs, so the digits of a run would differ.
    """
    betas = scheduler.betas.double()
    if scheduler.config.rescale_betas_zero_snr:
        unscaled = DDPMScheduler.from_config(scheduler.config, rescale_betas_zero_snr=False)
        betas = rescale_zero_terminal_snr(unscaled.betas.double())
    scheduler.alphas_cumprod = torch.cumprod(1 - betas, dim=0)
    scheduler.coefficients = {}  # sqrt(a) and sqrt(1 - a) by device: to copy them at each step would synchronise a GPU


def add_noise(scheduler: DDPMScheduler, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """Noisy latents x_t, [b, 4, h, w], float32."""
    signal, sigma = _coefficients(scheduler, timesteps, latents.ndim)
    return signal * latents + sigma * noise


def target(scheduler: DDPMScheduler, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """The UNet's training target, [b, 4, h, w]: the noise, v, or x0."""
    kind = scheduler.config.prediction_type
    if kind == "v_prediction":
        signal, sigma = _coefficients(scheduler, timesteps, latents.ndim)
        return signal * noise - sigma * latents
    return {"epsilon": noise, "sample": latents}[kind]


def predicted_original(scheduler: DDPMScheduler, noisy: Tensor, prediction: Tensor, timesteps: Tensor) -> Tensor:
    """Predicted x0 (A.4), [b, 4, h, w], differentiable in the UNet's prediction."""
    signal, sigma = _coefficients(scheduler, timesteps, noisy.ndim)
    kind = scheduler.config.prediction_type
    if kind == "epsilon":
        return (noisy - sigma * prediction) / signal
    if kind == "v_prediction":
        return signal * noisy - sigma * prediction
    return prediction


def amplification(scheduler: DDPMScheduler, timesteps: Tensor) -> Tensor:
    """The error of predicted x0 over the error of the predicted noise, [b]; infinite in pure noise.

    It is sqrt(1 - a) / sqrt(a), whatever the network predicts: an error e of v is an error -sqrt(1 - a) e of x0 and an
    error sqrt(a) e of the noise.
    """
    signal, sigma = _coefficients(scheduler, timesteps, 1)
    return sigma / signal


def min_snr_weights(scheduler: DDPMScheduler, timesteps: Tensor, gamma: float) -> Tensor:
    """The weight of each sample in the denoising loss by min-SNR-gamma (Hang et al., 2023, section 3.4), [b].

    With SNR = a / (1 - a), predicted x0 has the weight min(SNR, gamma). The same error in terms of the noise is SNR
    times, in terms of v SNR + 1 times as large, so the weight is divided by that.
    """
    signal, sigma = _coefficients(scheduler, timesteps, 1)
    snr = (signal / sigma).square()
    divisor = {"epsilon": snr, "v_prediction": snr + 1, "sample": torch.ones_like(snr)}
    return snr.clamp(max=gamma) / divisor[scheduler.config.prediction_type]


def _coefficients(scheduler: DDPMScheduler, timesteps: Tensor, dimensions: int) -> tuple[Tensor, Tensor]:
    """sqrt(a) and sqrt(1 - a), each float32 [b, 1, ...] with so many dimensions, on the timesteps' device."""
    device = timesteps.device
    if device not in scheduler.coefficients:
        alphas = scheduler.alphas_cumprod
        scheduler.coefficients[device] = tuple(x.sqrt().float().to(device) for x in (alphas, 1 - alphas))
    signal, sigma = (table[timesteps].view(-1, *[1] * (dimensions - 1)) for table in scheduler.coefficients[device])
    return signal, sigma
