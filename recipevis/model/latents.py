"""The shape of latents, and the way between the VAE's own and those that the UNet works on.

A VAE's configuration states how its latents are standardised: by `scaling_factor` alone (Stable Diffusion 1 and 2),
also by `shift_factor` (Stable Diffusion 3), or also by `latents_mean` and `latents_std`, a value a channel (some VAEs
of Stable Diffusion XL). diffusers' pipelines do the same with them.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class LatentScaling:
    """Scales the VAE's latents for the UNet, and back.

    Args:
        config: the VAE's configuration.
        device: of the latents. Those of another device work too, but a copy is made each time.

    Raises:
        ValueError: a value can't be used; the message names its key.
    """

    def __init__(self, config: Mapping[str, Any], device: str | torch.device = "cpu"):
        self._factor, channels = config["scaling_factor"], config["latent_channels"]
        if not _is_number(self._factor) or self._factor == 0:
            raise ValueError(f"scaling_factor = {self._factor!r}: must be a number other than 0")
        shift = config.get("shift_factor")
        mean, std = (config.get(key) for key in ("latents_mean", "latents_std"))
        for key, values, allowed in (("latents_mean", mean, _is_number), ("latents_std", std, _is_positive)):
            if values is not None and not (
                isinstance(values, list | tuple) and len(values) == channels and all(map(allowed, values))
            ):
                what = "positive numbers" if allowed is _is_positive else "numbers"
                raise ValueError(f"{key} = {values!r}: must be {channels} {what}, one for each latent channel")
        if (mean is None) != (std is None):
            raise ValueError("latents_mean and latents_std: one of them is missing; set both or none")
        if shift is not None and not _is_number(shift):
            raise ValueError(f"shift_factor = {shift!r}: must be a number or null")
        if shift and mean is not None:
            raise ValueError(f"shift_factor = {shift}: latents_mean is set, too; set one of them, the other to null")
        column = {"dtype": torch.float32, "device": device}
        # Null statistics are left out, not added as zeros and ones: the digits are those of the factor alone.
        self._mean = shift or None if mean is None else torch.tensor(mean, **column).view(1, -1, 1, 1)
        self._std = None if std is None else torch.tensor(std, **column).view(1, -1, 1, 1)

    def scale(self, latents: Tensor) -> Tensor:
        """The UNet's latents of the VAE's, both [b, 4, h, w]."""
        if self._mean is not None:
            latents = latents - _like(self._mean, latents)
        latents = latents * self._factor
        return latents if self._std is None else latents / _like(self._std, latents)

    def unscale(self, latents: Tensor) -> Tensor:
        """The VAE's latents of the UNet's, both [b, 4, h, w]."""
        if self._std is not None:
            latents = latents * _like(self._std, latents)
        latents = latents / self._factor
        return latents if self._mean is None else latents + _like(self._mean, latents)


def latent_shape(vae: dict, pixels: int) -> tuple[int, int, int]:
    """Shape of an image's latent, (channels, h, w).

    Args:
        vae: the VAE's configuration.
        pixels: height and width of the image.
    """
    side = pixels // 2 ** (len(vae["block_out_channels"]) - 1)  # each level but the last halves
    return vae["latent_channels"], side, side


def _like(value: float | Tensor, latents: Tensor) -> float | Tensor:
    return value.to(latents) if isinstance(value, Tensor) else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_positive(value: object) -> bool:
    return _is_number(value) and value > 0
