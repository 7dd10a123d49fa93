"""What every source of a backbone shares: its interface, and the copying of a part.

A source is one file in this folder with one subclass of `Source` in it. Its name is the file's, and the value of the
parameter `backbone.source`. These files import no heavy package at their top, so that `recipevis doctor` starts fast.
"""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

from recipevis.config import BackboneConfig
from recipevis.core import files
from recipevis.core.findings import Finding
from recipevis.core.plugins import class_in
from recipevis.errors import InputError

DIFFUSION_PARTS = ("tokenizer", "text_encoder", "vae", "unet", "scheduler")
CONFIGURATIONS = ("*.json", "*.txt")


class Licences(NamedTuple):
    """The licences that a trained model inherits from its backbone."""

    model: str  # the licence of the trained model, as the hub's key
    stable_diffusion: str
    clip: str


class Source(ABC):
    """Base class of the sources.

    Args:
        settings: the parameters `backbone`.

    Attributes:
        untrained: whether the networks have random weights.
        on_hub: whether `origin` names repositories on the Hugging Face hub.
        example: a recipe in words that the text encoder knows, for the model card.
    """

    untrained: ClassVar[bool] = False
    on_hub: ClassVar[bool] = False
    example: ClassVar[tuple[str, ...]] = ("chop the onions", "fry the onions in the pan")

    def __init__(self, settings: BackboneConfig):
        self.settings = settings

    @abstractmethod
    def origin(self) -> dict[str, str]:
        """The content of `backbone.json`: `source`, `stable_diffusion` and `clip`."""

    @abstractmethod
    def write(self, target: Path) -> None:
        """Write the networks into `target`, in the layout that `model.networks` describes.

        Raises:
            InputError: they aren't there, or a part holds no safetensors file.
        """

    @abstractmethod
    def configurations(self) -> tuple[Path, Path] | None:
        """The folders of Stable Diffusion's and CLIP's configuration files; None: they are not fetched yet."""

    @abstractmethod
    def check(self) -> Finding:
        """Whether the networks are there."""

    @classmethod
    @abstractmethod
    def licences(cls, origin: Mapping[str, str]) -> Licences:
        """The licences, by the content of `backbone.json`."""


def source_class(name: str) -> type[Source]:
    """The class of a source; `name` is a value of `backbone.source`."""
    return class_in(f"recipevis.backbone.{name}", Source)


def source_of(settings: BackboneConfig) -> Source:
    """The source that the parameters `backbone` name."""
    return source_class(settings.source)(settings)


def make(settings: BackboneConfig, target: Path) -> None:
    """Write the backbone that the parameters `backbone` name into `target`, check it, and write `backbone.json`.

    Raises:
        InputError: a network isn't there, isn't whole or isn't a safetensors file, or two parts don't fit.
    """
    from recipevis.backbone import checks

    source = source_of(settings)
    source.write(target)
    checks.check_backbone(target)
    files.write_json(target / "backbone.json", source.origin())


def copy_diffusion(source: Path, target: Path) -> None:
    """Copy the parts of a Stable Diffusion folder that the project uses; the safety checker, for one, is left out.

    Raises:
        InputError: a part is missing or holds no safetensors file.
    """
    for part in DIFFUSION_PARTS:
        weights = None if part in ("tokenizer", "scheduler") else "diffusion_pytorch_model"
        _copy(source / part, target / part, "model" if part == "text_encoder" else weights)


def copy_clip(source: Path, target: Path) -> None:
    """Copy a CLIP folder; raises as `copy_diffusion`."""
    _copy(source, target, "model")


def _copy(source: Path, target: Path, weights: str | None) -> None:
    """Copy a part's configuration files and, if it has weights, its safetensors file or shards."""
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; expected a part of a model in Hugging Face layout")
    found = [file for pattern in CONFIGURATIONS for file in sorted(source.glob(pattern))]
    if weights:
        whole, shards = source / f"{weights}.safetensors", f"{weights}-?????-of-?????.safetensors"
        tensors = [whole] if whole.exists() else sorted(source.glob(shards))
        if not tensors:
            raise InputError(f"{source}: holds no {weights}.safetensors; pickled weights are refused")
        found += tensors
    shutil.rmtree(target, ignore_errors=True)  # an interrupted run may have left files that the source doesn't have
    target.mkdir(parents=True, exist_ok=True)
    for file in found:
        shutil.copyfile(file, target / file.name)
