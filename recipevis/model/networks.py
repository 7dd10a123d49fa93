"""The frozen and the initial networks, in Hugging Face layout: `models/backbone/`, read by everything after it.

    tokenizer/ text_encoder/ vae/ unet/ scheduler/   as in a Stable Diffusion v1 repository
    clip/                                            a whole CLIPModel, its preprocessor and tokenizer
    backbone.json                                    where it came from

`backbone_sources` makes it: from the hub, from folders, or at random; nothing downstream knows which.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionModel,
)

from recipevis.errors import InputError
from recipevis.fusers.base import Shapes
from recipevis.images import ClipPreprocessing
from recipevis.model.schedule import load_scheduler
from recipevis.model.shapes import image_tokens

_TOKENIZING = threading.Lock()  # a tokenizer can't be used by two threads at once

transformers.utils.logging.disable_progress_bar()
diffusers.utils.logging.disable_progress_bar()


class Backbone:
    """The networks of a backbone folder, each loaded in fp32 when first asked for.

    Args:
        folder: a folder as this module writes it.
        device: where the networks go.
    """

    def __init__(self, folder: Path, device: str | torch.device = "cpu"):
        self.folder, self.device = folder, torch.device(device)

    @cached_property
    def tokenizer(self) -> CLIPTokenizer:
        """Of the text encoder."""
        return CLIPTokenizer.from_pretrained(self.folder / "tokenizer")

    @cached_property
    def clip_tokenizer(self) -> CLIPTokenizer:
        """Of the whole CLIP."""
        return CLIPTokenizer.from_pretrained(self.folder / "clip")

    @cached_property
    def processor(self) -> CLIPImageProcessorPil:
        """CLIP's image preprocessing, the Pillow one by name: the default differs between machines."""
        return CLIPImageProcessorPil.from_pretrained(self.folder / "clip")

    @cached_property
    def text_encoder(self) -> CLIPTextModel:
        """Stable Diffusion's text encoder, frozen."""
        return self._frozen(CLIPTextModel.from_pretrained(self.folder / "text_encoder", dtype=torch.float32))

    @cached_property
    def clip(self) -> CLIPModel:
        """The whole CLIP, frozen; its vision tower is the image encoder."""
        return self._frozen(CLIPModel.from_pretrained(self.folder / "clip", dtype=torch.float32))

    @cached_property
    def vae(self) -> AutoencoderKL:
        """The autoencoder, frozen."""
        return self._frozen(AutoencoderKL.from_pretrained(self.folder / "vae", torch_dtype=torch.float32))

    @cached_property
    def unet(self) -> UNet2DConditionModel:
        """The UNet, trainable."""
        return UNet2DConditionModel.from_pretrained(self.folder / "unet", torch_dtype=torch.float32).to(self.device)

    @cached_property
    def scheduler(self) -> DDPMScheduler:
        """The noise schedule."""
        return load_scheduler(self.folder / "scheduler")

    @property
    def origin(self) -> dict:
        """`backbone.json`: the source, and what identifies it."""
        return json.loads((self.folder / "backbone.json").read_text(encoding="utf-8"))

    def shapes(self, condition_tokens: int) -> Shapes:
        """The sizes that a fuser works between, from the configurations; no weights are read."""
        return check_fit(self.folder, self.folder / "clip", condition_tokens)

    def latent_shape(self, pixels: int) -> tuple[int, int, int]:
        """Of the latent of a picture of `pixels` height and width, (4, h, w), from the VAE's configuration."""
        vae = configuration(self.folder / "vae")
        side = pixels // 2 ** (len(vae["block_out_channels"]) - 1)  # each level but the last halves
        return vae["latent_channels"], side, side

    def differentiable_preprocessing(self, pixels: int) -> ClipPreprocessing:
        """CLIP's preprocessing of square images of `pixels`, with a gradient."""
        size, processor = clip_configuration(self.folder / "clip").vision_config.image_size, self.processor
        return ClipPreprocessing(pixels, size, processor.image_mean, processor.image_std).to(self.device)

    def _frozen(self, network: torch.nn.Module) -> torch.nn.Module:
        return network.requires_grad_(False).eval().to(self.device)


@torch.no_grad()
def encode_sentences(
    encoder: CLIPTextModel, tokenizer: CLIPTokenizer, sentences: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Text tokens [b, t, e] and pooled text [b, e] (the end-of-text token's), padded and truncated to t.

    The padding isn't masked, as in Stable Diffusion.
    """
    with _TOKENIZING:
        tokens = tokenizer(list(sentences), padding="max_length", truncation=True, return_tensors="pt").input_ids
    encoded = encoder(tokens.to(encoder.device))
    return encoded.last_hidden_state, encoded.pooler_output


@torch.no_grad()
def encode_images(
    encoder: CLIPVisionModel, processor: CLIPImageProcessorPil, pictures: Sequence[np.ndarray]
) -> tuple[Tensor, Tensor]:
    """Image tokens [b, p, v], the class token first, and pooled images [b, v], of uint8 RGB pictures [h, w, 3]."""
    pixels = processor(list(pictures), return_tensors="pt").pixel_values
    encoded = encoder(pixels.to(encoder.device))
    return encoded.last_hidden_state, encoded.pooler_output


class ClipImages:
    """A CLIP that measures: pooled vectors of pictures.

    Args:
        folder: a whole CLIPModel with its preprocessor.
        device: where it runs.
        batch_size: pictures a forward pass.
    """

    def __init__(self, folder: Path, device: str | torch.device, batch_size: int = 32):
        self._encoder = CLIPModel.from_pretrained(folder, dtype=torch.float32).vision_model.eval().to(device)
        self._processor = CLIPImageProcessorPil.from_pretrained(folder)
        self._batch_size = batch_size

    def pooled(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """The vision tower's pooled outputs, not normalised, float32 [n, v], of uint8 RGB pictures [h, w, 3]."""
        batches = [pictures[i : i + self._batch_size] for i in range(0, len(pictures), self._batch_size)]
        return np.concatenate([encode_images(self._encoder, self._processor, b)[1].cpu().numpy() for b in batches])


def clip_images(folders: Mapping[str, Path], device: str | torch.device) -> dict[str, ClipImages]:
    """The CLIPs of those folders that hold one, by name: `models/encoder/` may hold none."""
    return {name: ClipImages(path, device) for name, path in folders.items() if (path / "config.json").exists()}


def configuration(folder: Path, name: str = "config.json") -> dict:
    """A part's configuration.

    Raises:
        InputError: there is none, or it is no JSON object.
    """
    try:
        values = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / name}: no readable configuration: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{folder / name}: no readable configuration: not an object")
    return _Configuration(folder / name, values)


class _Configuration(dict):
    """A key that is missing is the user's error, not ours."""

    def __init__(self, path: Path, values: dict):
        super().__init__(values)
        self._path = path

    def __missing__(self, key: str):
        raise InputError(f"{self._path}: {key!r} is missing")


def clip_configuration(folder: Path) -> CLIPConfig:
    """The configuration of a whole CLIP, older forms of it included."""
    return CLIPConfig.from_dict(configuration(folder))


def check_fit(diffusion: Path, clip: Path, condition_tokens: int) -> Shapes:
    """The sizes of a backbone, from its configurations.

    Raises:
        InputError: two parts don't fit; both numbers are named.
    """
    unet, vae, text = (configuration(diffusion / part) for part in ("unet", "vae", "text_encoder"))
    length, clip_length = (
        configuration(tokenizer, "tokenizer_config.json")["model_max_length"]
        for tokenizer in (diffusion / "tokenizer", clip)
    )
    whole = clip_configuration(clip)
    text = CLIPTextConfig.from_dict(text)
    vision, positions = whole.vision_config, whole.text_config.max_position_embeddings
    for what, ours, whose, theirs in (
        ("the UNet's cross-attention width", unet["cross_attention_dim"], "the text encoder's width", text.hidden_size),
        ("the UNet's input channels", unet["in_channels"], "the VAE's latent channels", vae["latent_channels"]),
        ("the tokenizer's length", length, "the text encoder's positions", text.max_position_embeddings),
        ("the length of CLIP's tokenizer", clip_length, "CLIP's text positions", positions),
    ):
        if ours != theirs:
            raise InputError(f"{diffusion}: {what}, {ours}, does not fit {whose}, {theirs}")
    return Shapes(
        text_tokens=length,
        text_width=text.hidden_size,
        image_tokens=image_tokens(vision.image_size, vision.patch_size),
        image_width=vision.hidden_size,
        condition_tokens=condition_tokens,
        condition_width=unet["cross_attention_dim"],
    )
