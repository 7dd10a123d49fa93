"""Sizes that follow from the backbone's `config.json` files, without loading a weight."""

from pathlib import Path

from recipevis.fusers.base import Shapes
from recipevis.model.configuration import clip_configuration, read_configuration, text_configuration


def fuser_shapes(diffusion: Path, clip: Path, condition_tokens: int) -> Shapes:
    """The sizes that a fuser works between.

    Args:
        diffusion, clip: as in `check_fit`.
        condition_tokens: number of condition tokens, c.

    Raises:
        InputError: a configuration can't be read.
    """
    text = text_configuration(diffusion / "text_encoder")
    vision = clip_configuration(clip).vision_config
    return Shapes(
        text_tokens=text.max_position_embeddings,
        text_width=text.hidden_size,
        image_tokens=(vision.image_size // vision.patch_size) ** 2 + 1,  # square patches and the class token
        image_width=vision.hidden_size,
        condition_tokens=condition_tokens,
        condition_width=read_configuration(diffusion / "unet")["cross_attention_dim"],
    )
