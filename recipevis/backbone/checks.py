"""Checks of a backbone: whether its parts are whole and fit each other."""

from pathlib import Path

import diffusers
import numpy as np
import transformers
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import SafetensorError
from transformers import (
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    PreTrainedModel,
)

from recipevis.errors import InputError
from recipevis.model.configuration import clip_configuration, read_configuration
from recipevis.model.schedule import load_scheduler

transformers.utils.logging.disable_progress_bar()
diffusers.utils.logging.disable_progress_bar()

_NETWORKS = {"text_encoder": CLIPTextModel, "vae": AutoencoderKL, "unet": UNet2DConditionModel}


def check_backbone(folder: Path) -> None:
    """Check that the parts of a backbone are whole and fit each other.

    Raises:
        InputError: two parts don't fit, a part is not whole or can't be loaded.
    """
    check_fit(folder, folder / "clip")
    load_scheduler(folder / "scheduler")
    _check_tokenizer(folder / "tokenizer")
    for part, network in _NETWORKS.items():
        _check_weights(folder / part, network)
    check_clip(folder / "clip")


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


def check_clip(folder: Path) -> None:
    """Check that a folder holds a whole CLIP. A model of another family would load with random weights.

    Raises:
        InputError: it doesn't.
    """
    kind = read_configuration(folder)["model_type"]
    if kind != "clip":
        raise InputError(f"{folder}: holds a model of type {kind!r}; must be 'clip'")
    _check_preprocessing(folder, clip_configuration(folder).vision_config.image_size)
    _check_tokenizer(folder)
    _check_weights(folder, CLIPModel)


def _check_preprocessing(folder: Path, size: int) -> None:
    """Check that the preprocessor makes images of the size that the vision tower takes."""
    read_configuration(folder, "preprocessor_config.json")
    try:
        processor = CLIPImageProcessorPil.from_pretrained(folder)
        height, width = processor(np.zeros((size, size, 3), np.uint8)).pixel_values[0].shape[1:]
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{folder / 'preprocessor_config.json'}: can't prepare an image: {reason}") from error
    if (height, width) != (size, size):
        raise InputError(f"{folder}: the preprocessor's images, {width}x{height}, do not fit CLIP's, {size}x{size}")


def _check_tokenizer(folder: Path) -> None:
    """Check that the tokenizer's files are there: without them transformers makes one that knows no word."""
    forms = (("tokenizer.json",), ("vocab.json", "merges.txt"))
    if not any(all((folder / name).is_file() for name in names) for names in forms):
        raise InputError(f"{folder}: holds no tokenizer; needs tokenizer.json, or vocab.json and merges.txt")
    try:
        CLIPTokenizer.from_pretrained(folder)
    except Exception as error:  # the library raises just this class for a broken vocabulary
        raise InputError(f"{folder}: not a readable tokenizer: {' '.join(str(error).split())[:300]}") from error


def _check_weights(folder: Path, network: type) -> None:
    """Load a network once: a missing weight would be a random one, another one each time."""
    # transformers names a weight of another shape only in its report, diffusers in its error
    lenient = {"ignore_mismatched_sizes": True} if issubclass(network, PreTrainedModel) else {}
    try:
        _, report = network.from_pretrained(folder, output_loading_info=True, **lenient)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{folder}: weights can't be loaded: {' '.join(str(error).split())[:300]}") from error
    for fault in ("missing_keys", "mismatched_keys"):
        if report[fault]:
            first = min(key if isinstance(key, str) else key[0] for key in report[fault])  # mismatched: with shapes
            raise InputError(f"{folder}: {len(report[fault])} weights are {fault.removesuffix('_keys')}: {first}, ...")
