"""What the noise scheduler knows, asked in one place: training target, predicted x0, amplification.

Stable Diffusion v1-4 predicts the noise on a scaled-linear schedule; other backbones predict v. Everything here asks
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
    """The backbone's schedule as a DDPM scheduler (A.3), with clipping off: latents exceed [-1, 1].

    Raises:
        InputError: there is none, it can't be made, it predicts something unknown, or it predicts the noise and ends
            in pure noise, which gives no x0.
    """
    try:
        scheduler = DDPMScheduler.from_pretrained(folder, clip_sample=False, thresholding=False)
        signal = scheduler.alphas_cumprod[-1]
    except (OSError, ValueError, TypeError, LookupError, NotImplementedError) as error:
        raise InputError(f"{folder}: no readable noise schedule: {' '.join(str(error).split())}") from error
    make_exact(scheduler)
    kind = scheduler.config.prediction_type
    if kind not in ("epsilon", "v_prediction", "sample"):
        raise InputError(f"{folder}: prediction_type = {kind!r}; must be epsilon, v_prediction or sample")
    if kind == "epsilon" and signal == 0:
        raise InputError(f"{folder}: predicts the noise on a schedule that ends in pure noise; needs v_prediction")
    return scheduler


def make_exact(scheduler: DDPMScheduler) -> None:
    """Compute the schedule in double precision, in which it stays.

    MKL rounds single-precision square roots differently on Intel's and AMD's CPUs.
    """
    betas = scheduler.betas.double()
    if scheduler.config.rescale_betas_zero_snr:
        unscaled = DDPMScheduler.from_config(scheduler.config, rescale_betas_zero_snr=False)
        betas = rescale_zero_terminal_snr(unscaled.betas.double())
    scheduler.alphas_cumprod = torch.cumprod(1 - betas, dim=0)


def add_noise(scheduler: DDPMScheduler, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """x_t, [b, 4, h, w], in the latents' precision."""
    signal, other = _coefficients(scheduler, timesteps, latents)
    return signal * latents + other * noise


def target(scheduler: DDPMScheduler, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """What the UNet is to predict, [b, 4, h, w]: the noise, v, or x0."""
    kind = scheduler.config.prediction_type
    if kind == "v_prediction":
        signal, other = _coefficients(scheduler, timesteps, latents)
        return signal * noise - other * latents
    return {"epsilon": noise, "sample": latents}[kind]


def predicted_original(scheduler: DDPMScheduler, noisy: Tensor, prediction: Tensor, timesteps: Tensor) -> Tensor:
    """Pred x0 (A.4) from the UNet's prediction, [b, 4, h, w], differentiable in the prediction."""
    signal, noise = _coefficients(scheduler, timesteps, noisy)
    kind = scheduler.config.prediction_type
    if kind == "epsilon":
        return (noisy - noise * prediction) / signal
    if kind == "v_prediction":
        return signal * noisy - noise * prediction
    return prediction


def amplification(scheduler: DDPMScheduler, timesteps: Tensor) -> Tensor:
    """By how much pred x0 multiplies an error of the prediction, [b]: sqrt(1 - a) / sqrt(a) where the network
    predicts the noise, sqrt(1 - a) where it predicts v, 1 where it predicts x0."""
    signal, noise = _coefficients(scheduler, timesteps, timesteps)
    return {"epsilon": noise / signal, "v_prediction": noise, "sample": torch.ones_like(noise)}[
        scheduler.config.prediction_type
    ]


def _coefficients(scheduler: DDPMScheduler, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """sqrt(a) and sqrt(1 - a), each float32 [b, 1, ...] with the dimensions of `like`."""
    alphas = scheduler.alphas_cumprod
    signal, noise = (
        table.float().to(timesteps.device)[timesteps].view(-1, *[1] * (like.ndim - 1))
        for table in (alphas.sqrt(), (1 - alphas).sqrt())
    )
    return signal, noise
