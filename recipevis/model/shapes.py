"""Sizes that follow from the backbone's `config.json` files, without loading a weight."""

import json
from pathlib import Path

from transformers import CLIPConfig, CLIPTextConfig

from recipevis.errors import InputError
from recipevis.fusers.base import Shapes


class Configuration(dict):
    """A configuration file. A missing key is an error in the user's file, so it raises `InputError`."""

    def __init__(self, path: Path, values: dict):
        super().__init__(values)
        self._path = path

    def __missing__(self, key: str):
        raise InputError(f"{self._path}: {key!r} is missing")


def read_configuration(folder: Path, name: str = "config.json") -> Configuration:
    """Read the configuration of one part of a model.

    Raises:
        InputError: the file is missing or not a JSON object.
    """
    try:
        values = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / name}: not a readable configuration: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{folder / name}: not a readable configuration: not an object")
    return Configuration(folder / name, values)


def clip_configuration(folder: Path) -> CLIPConfig:
    """The configuration of a whole CLIP model; older formats are understood."""
    return CLIPConfig.from_dict(read_configuration(folder))


def check_fit(diffusion: Path, clip: Path) -> None:
    """Check that the parts of a backbone fit each other.

    Args:
        diffusion: folder with `unet/`, `vae/`, `text_encoder/` and `tokenizer/`.
        clip: folder of the whole CLIP model.

    Raises:
        InputError: two parts do not fit; the message has both numbers.
    """
    unet, vae, text = (read_configuration(diffusion / part) for part in ("unet", "vae", "text_encoder"))
    length, clip_length = (
        read_configuration(tokenizer, "tokenizer_config.json")["model_max_length"]
        for tokenizer in (diffusion / "tokenizer", clip)
    )
    text, positions = CLIPTextConfig.from_dict(text), clip_configuration(clip).text_config.max_position_embeddings
    for what, ours, whose, theirs in (
        ("the UNet's cross-attention width", unet["cross_attention_dim"], "the text encoder's width", text.hidden_size),
        ("the UNet's input channels", unet["in_channels"], "the VAE's latent channels", vae["latent_channels"]),
        ("the tokenizer's length", length, "the text encoder's positions", text.max_position_embeddings),
        ("the length of CLIP's tokenizer", clip_length, "CLIP's text positions", positions),
    ):
        if ours != theirs:
            raise InputError(f"{diffusion}: {what}, {ours}, does not fit {whose}, {theirs}")


def fuser_shapes(diffusion: Path, clip: Path, condition_tokens: int) -> Shapes:
    """The sizes that a fuser works between.

    Args:
        diffusion, clip: as in `check_fit`.
        condition_tokens: number of condition tokens, c.

    Raises:
        InputError: a configuration can't be read.
    """
    text = CLIPTextConfig.from_dict(read_configuration(diffusion / "text_encoder"))
    vision = clip_configuration(clip).vision_config
    return Shapes(
        text_tokens=text.max_position_embeddings,
        text_width=text.hidden_size,
        image_tokens=(vision.image_size // vision.patch_size) ** 2 + 1,  # square patches and the class token
        image_width=vision.hidden_size,
        condition_tokens=condition_tokens,
        condition_width=read_configuration(diffusion / "unet")["cross_attention_dim"],
    )


def latent_shape(vae: dict, pixels: int) -> tuple[int, int, int]:
    """Shape of an image's latent, (channels, h, w).

    Args:
        vae: the VAE's configuration.
        pixels: height and width of the image.
    """
    side = pixels // 2 ** (len(vae["block_out_channels"]) - 1)  # each level but the last halves
    return vae["latent_channels"], side, side
