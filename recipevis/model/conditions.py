"""What the UNet is conditioned on: embeddings of a sentence and a previous image, the null condition, the fuser.

Shapes as in `fusers.base`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from recipevis.fusers.base import Shapes, fuser_class, make_fuser


@dataclass(frozen=True)
class StepEmbeddings:
    """A batch of encoded sentences and previous images."""

    text: Tensor  # [b, t, e]
    text_pooled: Tensor  # [b, e]
    image: Tensor  # [b, p, v]
    image_pooled: Tensor  # [b, v]
    # Scaled means of the VAE's latents of the previous image and of the recipe's first, [b, 4, h, w]; None: not given.
    latent: Tensor | None = None
    first_latent: Tensor | None = None

    def to(self, where: torch.device | torch.dtype, non_blocking: bool = False) -> "StepEmbeddings":
        """The same on another device or of another dtype."""
        return self._each(lambda tensor: tensor.to(where, non_blocking=non_blocking))

    def pin_memory(self) -> "StepEmbeddings":
        """The same in pinned memory."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "StepEmbeddings":
        values = (getattr(self, field.name) for field in fields(self))
        return StepEmbeddings(*(None if value is None else change(value) for value in values))

    def with_null(
        self, text_dropped: Tensor, image_dropped: Tensor, null_text: Tensor, null_text_pooled: Tensor
    ) -> "StepEmbeddings":
        """Replace dropped sentences and images by the null condition.

        The null condition is the empty sentence, and zeros for the image's embedding and the latents (the paper does
        not say).

        Args:
            text_dropped, image_dropped: which to replace, bool [b].
            null_text: text tokens of the empty sentence, [t, e].
            null_text_pooled: its pooled text, [e].
        """
        return StepEmbeddings(
            torch.where(text_dropped[:, None, None], null_text, self.text),
            torch.where(text_dropped[:, None], null_text_pooled, self.text_pooled),
            self.image.masked_fill(image_dropped[:, None, None], 0),
            self.image_pooled.masked_fill(image_dropped[:, None], 0),
            *(
                None if latent is None else latent.masked_fill(image_dropped[:, None, None, None], 0)
                for latent in (self.latent, self.first_latent)
            ),
        )


@dataclass(frozen=True)
class Conditions:
    """Everything that `denoiser.predict` gives the UNet beside the noisy latents and the timestep.

    Attributes:
        tokens: condition tokens for cross-attention, [b, c, d].
        latents: extra input channels, concatenated to the noisy latents, [b, n, h, w]; None: none.
    """

    tokens: Tensor
    latents: Tensor | None = None


class Conditioner(ModelMixin, ConfigMixin):
    """A fuser as a model that diffusers saves and loads.

    Args:
        fuser: one of `config.FUSERS`.
        options: values of the fuser's options.
        text_tokens, text_width, image_tokens, image_width, condition_tokens, condition_width: see `Shapes`.
        condition: the fuser's tokens `replace` the sentence's, as in the paper, or `append`: they follow them.
        previous_latent: whether the previous image's latent joins the noisy latents, as in InstructPix2Pix (Brooks et
            al., 2023, section 3.2). The UNet needs as many more input channels.
        first_latent: whether the latent of the recipe's first image follows it.

    Raises:
        ValueError: the fuser can't be made at these shapes, or its tokens can't follow the sentence's.
    """

    @register_to_config
    def __init__(
        self,
        fuser: str,
        options: Mapping[str, Any],
        text_tokens: int,
        text_width: int,
        image_tokens: int,
        image_width: int,
        condition_tokens: int,
        condition_width: int,
        condition: str = "replace",
        previous_latent: bool = False,
        first_latent: bool = False,
    ):
        super().__init__()
        if condition == "append" and not fuser_class(fuser).has_tokens:
            raise ValueError(f"condition: append needs tokens to append, and the fuser {fuser} has none of its own")
        if condition == "append" and text_width != condition_width:
            raise ValueError(
                f"condition: append needs a text width ({text_width}) equal to the condition width ({condition_width})"
            )
        shapes = Shapes(text_tokens, text_width, image_tokens, image_width, condition_tokens, condition_width)
        self.fusion = make_fuser(fuser, shapes, options)
        # `baseline` has no weights, but diffusers needs a tensor to save a file and to tell the device
        self.register_buffer("marker", torch.zeros(()))

    @property
    def uses_text(self) -> bool:
        """Whether the model uses the sentence."""
        return self.config.condition == "append" or fuser_class(self.config.fuser).uses_text

    @property
    def uses_image(self) -> bool:
        """Whether the model uses the previous image, in the fuser or as a latent; the first latent comes with it."""
        return self.config.previous_latent or fuser_class(self.config.fuser).uses_image

    def input_channels(self, latent_channels: int) -> int:
        """How many input channels the UNet has, with so many channels of a latent."""
        return latent_channels * (1 + self.config.previous_latent + self.config.first_latent)

    def forward(self, embeddings: StepEmbeddings) -> Conditions:
        """The conditions of a batch."""
        tokens = self.fusion(embeddings.text, embeddings.text_pooled, embeddings.image, embeddings.image_pooled)
        if self.config.condition == "append":
            tokens = torch.cat([embeddings.text, tokens.to(embeddings.text.dtype)], dim=1)  # [b, t + c, d]
        latents = [embeddings.latent] * self.config.previous_latent + [
            embeddings.first_latent
        ] * self.config.first_latent
        return Conditions(tokens, torch.cat(latents, dim=1) if latents else None)
