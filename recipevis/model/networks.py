"""The backbone's networks, read from `models/backbone/` in Hugging Face layout, and the two encoders.

    tokenizer/ text_encoder/ vae/ unet/ scheduler/   as in a Stable Diffusion v1 repository
    clip/                                            a whole CLIPModel with its preprocessor and tokenizer
    backbone.json                                    where it came from

The stage `backbone` writes the folder. Nothing here depends on where it came from.
"""

import json
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import SafetensorError
from torch import Tensor
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTextModel, CLIPTokenizer, CLIPVisionModel

# What `from_pretrained` raises for a folder that is incomplete, damaged or of another kind.
LOADING_ERRORS = (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError)

_TOKENIZER_LOCK = threading.Lock()  # a tokenizer is not thread-safe

transformers.utils.logging.disable_progress_bar()
diffusers.utils.logging.disable_progress_bar()


class Backbone:
    """The networks of a backbone folder, each loaded in fp32 at first use.

    Args:
        folder: a folder in the layout above.
        device: where the networks go.
    """

    def __init__(self, folder: Path, device: str | torch.device = "cpu"):
        self.folder, self.device = folder, torch.device(device)

    @cached_property
    def tokenizer(self) -> CLIPTokenizer:
        """The text encoder's tokenizer."""
        return CLIPTokenizer.from_pretrained(self.folder / "tokenizer")

    @cached_property
    def clip_tokenizer(self) -> CLIPTokenizer:
        """The tokenizer of the whole CLIP."""
        return CLIPTokenizer.from_pretrained(self.folder / "clip")

    @cached_property
    def processor(self) -> CLIPImageProcessorPil:
        """CLIP's image preprocessing, by Pillow on every machine (the library's default differs)."""
        return CLIPImageProcessorPil.from_pretrained(self.folder / "clip")

    @cached_property
    def text_encoder(self) -> CLIPTextModel:
        """Stable Diffusion's text encoder, frozen."""
        return self._frozen(CLIPTextModel.from_pretrained(self.folder / "text_encoder", dtype=torch.float32))

    @cached_property
    def clip(self) -> CLIPModel:
        """The whole CLIP, frozen. Its vision tower is the image encoder."""
        return self._frozen(CLIPModel.from_pretrained(self.folder / "clip", dtype=torch.float32))

    @cached_property
    def vae(self) -> AutoencoderKL:
        """The autoencoder, frozen."""
        return self._frozen(AutoencoderKL.from_pretrained(self.folder / "vae", torch_dtype=torch.float32))

    @cached_property
    def unet(self) -> UNet2DConditionModel:
        """The UNet, trainable."""
        return UNet2DConditionModel.from_pretrained(self.folder / "unet", torch_dtype=torch.float32).to(self.device)

    @property
    def origin(self) -> dict:
        """The content of `backbone.json`: the source, and what identifies the networks."""
        return json.loads((self.folder / "backbone.json").read_text(encoding="utf-8"))

    def _frozen(self, network: torch.nn.Module) -> torch.nn.Module:
        return network.requires_grad_(False).eval().to(self.device)


@torch.no_grad()
def encode_sentences(
    encoder: CLIPTextModel, tokenizer: CLIPTokenizer, sentences: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Encode sentences, padded and truncated to t tokens; the padding is not masked, as in Stable Diffusion.

    Returns:
        text tokens [b, t, e] and pooled text [b, e], the output at the end-of-text token.
    """
    with _TOKENIZER_LOCK:
        tokens = tokenizer(list(sentences), padding="max_length", truncation=True, return_tensors="pt").input_ids
    encoded = encoder(tokens.to(encoder.device))
    return encoded.last_hidden_state, encoded.pooler_output


@torch.no_grad()
def encode_images(
    encoder: CLIPVisionModel, processor: CLIPImageProcessorPil, images: Sequence[np.ndarray]
) -> tuple[Tensor, Tensor]:
    """Encode uint8 RGB images [h, w, 3].

    Returns:
        image tokens [b, p, v], class token first, and pooled images [b, v].
    """
    pixels = processor(list(images), return_tensors="pt").pixel_values
    encoded = encoder(pixels.to(encoder.device))
    return encoded.last_hidden_state, encoded.pooler_output
