"""CLIP's image preprocessing as a differentiable function, for the cycle loss."""

from collections.abc import Sequence

import torch


def clamp_straight_through(values: torch.Tensor) -> torch.Tensor:
    """Clamp to [0, 1]; the gradient passes as if nothing had been clamped."""
    return values + (values.clamp(0, 1) - values).detach()


def round_straight_through(values: torch.Tensor) -> torch.Tensor:
    """Round [0, 1] to the nearest of 256 grey levels; the gradient passes as if nothing had been rounded."""
    return values + ((values * 255).round() / 255 - values).detach()


def _bicubic_matrix(source: int, target: int) -> torch.Tensor:
    """Pillow's bicubic resampling of one axis as a matrix, float32 [target, source] (a = -0.5, widened to shrink)."""
    scale = source / target
    stretch = max(scale, 1.0)
    centres = (torch.arange(target, dtype=torch.float64) + 0.5) * scale  # [target]
    x = ((torch.arange(source, dtype=torch.float64) + 0.5)[None] - centres[:, None]).abs() / stretch
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
    return (weights / weights.sum(1, keepdim=True)).float()


class ClipPreprocessing(torch.nn.Module):
    """CLIP's preprocessing of square images as a differentiable function, equal to Pillow's up to rounding.

    Bicubic resampling along the rows, then along the columns, each clamped and rounded to 256 levels as Pillow's
    are, with a straight-through gradient; then CLIP's mean and standard deviation.

    Args:
        source: height and width of the images, pixels.
        target: height and width that CLIP takes, pixels.
        mean: CLIP's mean a channel, of values in [0, 1].
        std: CLIP's standard deviation a channel.
    """

    def __init__(self, source: int, target: int, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.register_buffer("matrix", _bicubic_matrix(source, target), persistent=False)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, unit: torch.Tensor) -> torch.Tensor:
        """[b, 3, source, source] in [0, 1] to [b, 3, target, target], standardised."""
        with torch.autocast(unit.device.type, enabled=False):  # bf16 has fewer steps than grey levels
            pixels = round_straight_through(unit.float())
            pixels = round_straight_through(clamp_straight_through(pixels @ self.matrix.T))  # rows
            pixels = round_straight_through(clamp_straight_through(self.matrix @ pixels))  # columns
            return (pixels - self.mean) / self.std
