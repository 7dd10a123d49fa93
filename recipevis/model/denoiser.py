"""Fuser and UNet together: the only place that calls the UNet."""

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, cat, nn

from recipevis.model.conditions import Conditioner, Conditions, StepEmbeddings


def predict(unet: UNet2DConditionModel, noisy: Tensor, timesteps: Tensor, conditions: Conditions) -> Tensor:
    """The UNet's prediction (noise, v or x0, as the schedule says), [b, 4, h, w].

    Args:
        unet: the UNet.
        noisy: noisy latents x_t, [b, 4, h, w].
        timesteps: int64, [b] or a scalar.
        conditions: of the same batch.
    """
    latents = noisy if conditions.latents is None else cat([noisy, conditions.latents], dim=1)
    return unet(latents, timesteps, encoder_hidden_states=conditions.tokens).sample


@torch.no_grad()
def widen(unet: UNet2DConditionModel, channels: int) -> None:
    """Give a UNet so many input channels, in place. The new ones have zero weights, so its predictions stay the same.

    A UNet that has as many stays as it is.

    Args:
        unet: the UNet.
        channels: of its input from now on, at least as many as it has.
    """
    old = unet.conv_in
    if channels == old.in_channels:
        return
    new = nn.Conv2d(channels, old.out_channels, old.kernel_size, padding=old.padding, device=old.weight.device)
    new.weight.zero_()
    new.weight[:, : old.in_channels] = old.weight
    new.bias.copy_(old.bias)
    unet.conv_in = new
    unet.register_to_config(in_channels=channels)


class Denoiser(nn.Module):
    """Conditioner and UNet: what is trained."""

    def __init__(self, conditioner: Conditioner, unet: UNet2DConditionModel):
        super().__init__()
        self.conditioner, self.unet = conditioner, unet

    def forward(self, noisy: Tensor, timesteps: Tensor, embeddings: StepEmbeddings) -> Tensor:
        """See `predict`; the conditions are made from the embeddings."""
        return predict(self.unet, noisy, timesteps, self.conditioner(embeddings))
