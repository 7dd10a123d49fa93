"""Encoders that measure, by kind: CLIP and SigLIP compare images with text, DINOv2 images with each other.

The kind is `model_type` in a folder's config.json. All of them turn images into vectors; what is done with the vectors
belongs in `evaluation`.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import transformers
from torch import Tensor

from recipevis.errors import InputError
from recipevis.model.configuration import read_configuration

transformers.utils.logging.disable_progress_bar()


class Judge(ABC):
    """An encoder of images, in fp32. Several threads may share one.

    Args:
        network: the network.
        processor: its image preprocessing, by Pillow on every machine.
        tokenizer: of an image-text encoder.
        batch_size: images or sentences in a forward pass.

    Attributes:
        network_class, processor_class: in transformers.
        has_text: whether it also encodes sentences.
    """

    network_class: ClassVar[str]
    processor_class: ClassVar[str]
    has_text: ClassVar[bool] = False

    def __init__(self, network: Any, processor: Any, tokenizer: Any = None, batch_size: int = 32):
        self.network, self.processor, self.tokenizer, self.batch_size = network, processor, tokenizer, batch_size
        self._lock = threading.Lock()  # a tokenizer is not thread-safe

    @torch.no_grad()
    def images(self, images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Vectors by their space, float32 [n, d], not normalised, of images uint8 RGB [h, w, 3]; one pass an image."""
        batches = []
        for batch in self._batches(images):
            pixels = self.processor(batch, return_tensors="pt").pixel_values
            batches.append(self._encode(pixels.to(self.network.device)))
        return {space: torch.cat([batch[space] for batch in batches]).cpu().numpy() for space in batches[0]}

    @abstractmethod
    def _encode(self, pixels: Tensor) -> dict[str, Tensor]:
        """Vectors by their space, [b, d], of preprocessed images [b, 3, h, w]."""

    def _batches(self, items: Sequence[Any]) -> list[list[Any]]:
        return [list(items[start : start + self.batch_size]) for start in range(0, len(items), self.batch_size)]


class ImageTextJudge(Judge):
    """An encoder of images and sentences into one space, `projected`; longer sentences than it reads are cut."""

    has_text = True

    @torch.no_grad()
    def sentences(self, sentences: Sequence[str]) -> np.ndarray:
        """Vectors in the space `projected`, float32 [n, d], not normalised."""
        vectors = []
        for batch in self._batches(sentences):
            with self._lock:
                tokens = self.tokenizer(batch, padding="max_length", truncation=True, return_tensors="pt").input_ids
            vectors.append(self._encode_tokens(tokens.to(self.network.device)))
        return torch.cat(vectors).cpu().numpy()

    @abstractmethod
    def _encode_tokens(self, tokens: Tensor) -> Tensor:
        """Vectors [b, d] of token ids [b, t]."""


class Clip(ImageTextJudge):
    """A CLIP, also one that OpenCLIP trained. Spaces: `pooled`, and `projected` as its contrastive loss sees it."""

    network_class, processor_class = "CLIPModel", "CLIPImageProcessorPil"

    def _encode(self, pixels: Tensor) -> dict[str, Tensor]:
        pooled = self.network.vision_model(pixels).pooler_output
        return {"pooled": pooled, "projected": self.network.visual_projection(pooled)}

    def _encode_tokens(self, tokens: Tensor) -> Tensor:
        return self.network.text_projection(self.network.text_model(tokens).pooler_output)


class Siglip(ImageTextJudge):
    """A SigLIP. It has no projection of images, so its two spaces are one."""

    network_class, processor_class = "SiglipModel", "SiglipImageProcessorPil"

    def _encode(self, pixels: Tensor) -> dict[str, Tensor]:
        pooled = self.network.vision_model(pixels).pooler_output
        return {"pooled": pooled, "projected": pooled}

    def _encode_tokens(self, tokens: Tensor) -> Tensor:
        return self.network.text_model(tokens).pooler_output


class Dinov2(Judge):
    """A DINOv2. Its space `pooled` is the normalised class token."""

    network_class, processor_class = "Dinov2Model", "BitImageProcessorPil"

    def _encode(self, pixels: Tensor) -> dict[str, Tensor]:
        return {"pooled": self.network(pixels).pooler_output}


IMAGE_TEXT: Mapping[str, type[Judge]] = {"clip": Clip, "siglip": Siglip}  # by `model_type`
IMAGE: Mapping[str, type[Judge]] = {"dinov2": Dinov2}


def kind_of(folder: Path, allowed: Mapping[str, type[Judge]]) -> type[Judge]:
    """The class of the encoder in a folder.

    Args:
        folder: with its config.json.
        allowed: `IMAGE_TEXT` or `IMAGE`, or both.

    Raises:
        InputError: config.json can't be read, or names another kind.
    """
    kind = read_configuration(folder).get("model_type")
    if kind not in allowed:
        raise InputError(f"{folder}: holds a model of type {kind!r}; must be {' or '.join(map(repr, allowed))}")
    return allowed[kind]


def open_judge(folder: Path, device: str | torch.device, batch_size: int = 32) -> Judge:
    """Load the encoder in a folder.

    Args:
        folder: in Hugging Face layout.
        device: where it runs.
        batch_size: images or sentences in a forward pass.
    """
    judge = kind_of(folder, {**IMAGE_TEXT, **IMAGE})
    network = getattr(transformers, judge.network_class).from_pretrained(folder, dtype=torch.float32)
    processor = getattr(transformers, judge.processor_class).from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder) if judge.has_text else None
    return judge(network.eval().requires_grad_(False).to(device), processor, tokenizer, batch_size)
