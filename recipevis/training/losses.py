"""The loss of one batch (section 2, A.4)."""

from dataclasses import dataclass

from diffusers import DDPMScheduler
from torch import Tensor, nn, zeros_like

from recipevis.model import schedule
from recipevis.training.batches import Batch
from recipevis.training.cycle_loss import CycleLoss


@dataclass(frozen=True)
class Losses:
    """The terms of one step's loss, scalars."""

    denoising: Tensor
    cycle: Tensor  # not yet weighted


def losses(
    denoiser: nn.Module,
    batch: Batch,
    scheduler: DDPMScheduler,
    cycle: CycleLoss | None = None,
    weights: Tensor | None = None,
    min_snr_gamma: float | None = None,
) -> Losses:
    """Mean squared error of the prediction, and L_cyc, of one batch or a part of it.

    Args:
        denoiser: a `model.denoiser.Denoiser`.
        batch: on the denoiser's device.
        scheduler: the noise schedule.
        cycle: the cycle loss; None: none.
        weights: `cycle_loss.sample_weights` of these samples, [b].
        min_snr_gamma: weigh each sample by `schedule.min_snr_weights`; None: all alike.
    """
    noisy, prediction, target = predicted(denoiser, batch, scheduler)
    if min_snr_gamma is None:
        denoising = nn.functional.mse_loss(prediction, target)
    else:
        each = (prediction - target).square().flatten(1).mean(1)  # [b]
        denoising = (schedule.min_snr_weights(scheduler, batch.timesteps, min_snr_gamma) * each).mean()
    if cycle is None:
        return Losses(denoising, zeros_like(denoising))
    return Losses(denoising, cycle(noisy, prediction, batch.timesteps, batch.text_projected, weights))


def predicted(denoiser: nn.Module, batch: Batch, scheduler: DDPMScheduler) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy latents, the denoiser's prediction from them in fp32, and what it should be, [b, 4, h, w] each."""
    noisy = schedule.add_noise(scheduler, batch.latents, batch.noise, batch.timesteps)
    prediction = denoiser(noisy, batch.timesteps, batch.embeddings).float()
    return noisy, prediction, schedule.target(scheduler, batch.latents, batch.noise, batch.timesteps)
