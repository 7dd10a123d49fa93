"""What is trained, fuser and UNet, and the loss of one batch (section 2, A.4)."""

from dataclasses import dataclass

from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn, zeros_like

from recipevis.model import schedule
from recipevis.model.conditions import Conditioner, Embedded
from recipevis.model.cycle_loss import CycleLoss
from recipevis.training.batches import Batch


class Denoiser(nn.Module):
    """Fuser and UNet: the part that is trained."""

    def __init__(self, conditioner: Conditioner, unet: UNet2DConditionModel):
        super().__init__()
        self.conditioner, self.unet = conditioner, unet

    def forward(self, noisy: Tensor, timesteps: Tensor, embedded: Embedded) -> Tensor:
        """The UNet's prediction [b, 4, h, w] for noisy latents [b, 4, h, w] at timesteps [b]."""
        return self.unet(noisy, timesteps, encoder_hidden_states=self.conditioner(embedded)).sample


@dataclass(frozen=True)
class Losses:
    """The pieces of one step's loss, scalars."""

    denoising: Tensor
    cycle: Tensor  # not yet weighted


def losses(
    denoiser: nn.Module,
    batch: Batch,
    scheduler: DDPMScheduler,
    cycle: CycleLoss | None = None,
    weights: Tensor | None = None,
) -> Losses:
    """Mean squared error of the prediction, and L_cyc, of one batch or a part of it.

    Args:
        denoiser: `Denoiser`.
        batch: on the denoiser's device.
        scheduler: the backbone's noise schedule.
        cycle: the cycle loss; None: left out.
        weights: `cycle.sample_weights` of these samples, [b].
    """
    noisy = schedule.add_noise(scheduler, batch.latents, batch.noise, batch.timesteps)
    prediction = denoiser(noisy, batch.timesteps, batch.embedded).float()
    wanted = schedule.target(scheduler, batch.latents, batch.noise, batch.timesteps)
    denoising = nn.functional.mse_loss(prediction, wanted)
    if cycle is None:
        return Losses(denoising, zeros_like(denoising))
    return Losses(denoising, cycle(noisy, prediction, batch.timesteps, batch.text_projected, weights))
