"""The condition of the UNet: fuser, null condition, dropout, guidance.

Shapes as in `fusers`. The null condition is an empty sentence and an all-zero image embedding, through the fuser
(for `baseline`: the encoded empty sentence).
"""

from dataclasses import dataclass, fields

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from recipevis.config import FUSERS
from recipevis.fusers.base import Shapes


@dataclass(frozen=True)
class Embedded:
    """A batch of sentences and previous images, embedded."""

    text: Tensor  # [b, t, e]
    text_pooled: Tensor  # [b, e]
    image: Tensor  # [b, p, v]
    image_pooled: Tensor  # [b, v]

    def to(self, where: torch.device | torch.dtype, non_blocking: bool = False) -> "Embedded":
        """The same on another device or of another type."""
        return Embedded(*(getattr(self, field.name).to(where, non_blocking=non_blocking) for field in fields(self)))

    def pin_memory(self) -> "Embedded":
        """The same in memory that a GPU can fetch from while it works."""
        return Embedded(*(getattr(self, field.name).pin_memory() for field in fields(self)))

    def without_text(self, dropped: Tensor, null: Tensor, null_pooled: Tensor) -> "Embedded":
        """The sentence replaced by the empty one, [t, e] and [e], where `dropped`, bool [b], is true."""
        return Embedded(
            torch.where(dropped[:, None, None], null, self.text),
            torch.where(dropped[:, None], null_pooled, self.text_pooled),
            self.image,
            self.image_pooled,
        )

    def without_image(self, dropped: Tensor) -> "Embedded":
        """The image embedding set to zero where `dropped`, bool [b], is true."""
        return Embedded(
            self.text,
            self.text_pooled,
            self.image.masked_fill(dropped[:, None, None], 0),
            self.image_pooled.masked_fill(dropped[:, None], 0),
        )


class Conditioner(ModelMixin, ConfigMixin):
    """A fuser in the layout that diffusers saves and loads.

    Args:
        fuser: a key of `fusers.FUSERS`.
        hidden: width of its hidden layer.
        residual: attention adds to its queries.
        text_tokens, text_width, image_tokens, image_width, condition_tokens, condition_width: see `Shapes`.
    """

    @register_to_config
    def __init__(
        self,
        fuser: str,
        hidden: int,
        residual: bool,
        text_tokens: int,
        text_width: int,
        image_tokens: int,
        image_width: int,
        condition_tokens: int,
        condition_width: int,
    ):
        super().__init__()
        shapes = Shapes(text_tokens, text_width, image_tokens, image_width, condition_tokens, condition_width)
        self.fusion = FUSERS[fuser](shapes, hidden, residual)
        # `baseline` has no weights, but diffusers saves no file without a tensor and asks one for the device
        self.register_buffer("marker", torch.zeros(()))

    @property
    def sees(self) -> tuple[bool, bool]:
        """Whether the fuser looks at the sentence, and at the previous image."""
        return self.fusion.sees_text, self.fusion.sees_image

    def forward(self, embedded: Embedded) -> Tensor:
        """Condition tokens [b, c, d]."""
        return self.fusion(embedded.text, embedded.text_pooled, embedded.image, embedded.image_pooled)


def dropped(draws: Tensor, text: float, image: float, both: float) -> tuple[Tensor, Tensor]:
    """Which samples lose their sentence and which their image, for classifier-free guidance.

    Args:
        draws: uniform numbers in [0, 1), [b].
        text, image, both: shares that lose the sentence alone, the image alone, both; their sum is at most 1.

    Returns:
        Two bool [b]: sentence lost, image lost.
    """
    only_text = draws < text
    only_image = (draws >= text) & (draws < text + image)
    lose_both = (draws >= text + image) & (draws < text + image + both)
    return only_text | lose_both, only_image | lose_both


@dataclass(frozen=True)
class GuidanceTerm:
    """One forward pass of guided sampling: what it sees, and the weight of its prediction."""

    text: bool
    image: bool
    weight: float


def guidance_terms(guidance: float, image_guidance: float, sees_text: bool, sees_image: bool) -> list[GuidanceTerm]:
    """The forward passes of e(0,0) + s_I [e(I,0) - e(0,0)] + s_T [e(I,T) - e(I,0)].

    Passes that see the same are one; those of weight zero are left out: with s_I = s_T two remain.

    Args:
        guidance: s_T, the scale of the sentence.
        image_guidance: s_I, the scale of the previous image; without effect where the fuser doesn't see it.
        sees_text, sees_image: what the fuser looks at.
    """
    weights: dict[tuple[bool, bool], float] = {}
    for text, image, weight in (
        (False, False, 1 - image_guidance),
        (False, True, image_guidance - guidance),
        (True, True, guidance),
    ):
        seen = (text and sees_text, image and sees_image)
        weights[seen] = weights.get(seen, 0) + weight
    return [GuidanceTerm(*seen, weight) for seen, weight in weights.items() if weight]
