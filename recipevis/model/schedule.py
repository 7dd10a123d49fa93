"""The noise schedule: noisy latents, training target, predicted x0, error amplification.

Stable Diffusion v1-4 predicts the noise on a scaled-linear schedule; other backbones predict v. Everything here follows
the scheduler's own configuration. Legend: a = cumulative alpha-bar at the sample's timestep; x_t = sqrt(a) x_0 +
sqrt(1 - a) noise; v = sqrt(a) noise - sqrt(1 - a) x_0.
"""

from pathlib import Path

import torch
from diffusers import DDPMScheduler
from diffusers.schedulers.scheduling_ddpm import rescale_zero_terminal_snr
from torch import Tensor

from recipevis.errors import InputError


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


def make_exact(scheduler: DDPMScheduler) -> None:
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
    """The factor by which predicted x0 multiplies an error of the prediction, [b].

    It is sqrt(1 - a) / sqrt(a) where the network predicts the noise, sqrt(1 - a) where it predicts v, 1 where it
    predicts x0.
    """
    signal, sigma = _coefficients(scheduler, timesteps, 1)
    return {"epsilon": sigma / signal, "v_prediction": sigma, "sample": torch.ones_like(sigma)}[
        scheduler.config.prediction_type
    ]


def _coefficients(scheduler: DDPMScheduler, timesteps: Tensor, dimensions: int) -> tuple[Tensor, Tensor]:
    """sqrt(a) and sqrt(1 - a), each float32 [b, 1, ...] with so many dimensions, on the timesteps' device."""
    device = timesteps.device
    if device not in scheduler.coefficients:
        alphas = scheduler.alphas_cumprod
        scheduler.coefficients[device] = tuple(x.sqrt().float().to(device) for x in (alphas, 1 - alphas))
    signal, sigma = (table[timesteps].view(-1, *[1] * (dimensions - 1)) for table in scheduler.coefficients[device])
    return signal, sigma
