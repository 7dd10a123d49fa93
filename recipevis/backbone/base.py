"""What every source of a backbone shares: its interface, and the copying of a part.

A source is one file in this folder with one subclass of `Source` in it. Its name is the file's, and the value of the
parameter `backbone.source`. These files import no heavy package at their top, so that `recipevis doctor` starts fast.
"""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

from recipevis.backbone import weights
from recipevis.config import BackboneConfig
from recipevis.core import files
from recipevis.core.findings import Finding
from recipevis.core.plugins import class_in
from recipevis.errors import InputError, RecipeVisError

DIFFUSION_PARTS = ("tokenizer", "text_encoder", "vae", "unet", "scheduler")
# `model_index.json`: diffusers and other trainers open a backbone as a Stable Diffusion.
_PIPELINE = {
    "_class_name": "StableDiffusionPipeline",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDPMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


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

    def places(self) -> tuple[str, str]:
        """Stable Diffusion and CLIP in the words of the user's parameters, for messages."""
        origin = self.origin()
        return origin["stable_diffusion"], origin["clip"]

    @abstractmethod
    def write(self, target: Path) -> None:
        """Write the networks into `target`, in the layout that `model.networks` describes.

        Raises:
            InputError: they aren't there, or a part lacks a file or holds weights that can't be used.
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


def make(settings: BackboneConfig, target: Path, pixels: int = 256) -> None:
    """Write the backbone that the parameters `backbone` name into `target`, check it, and write `backbone.json`.

    Args:
        settings: the parameters `backbone`.
        target: the folder to write.
        pixels: height and width of a frame, `frames.pixels`; each network runs once on a picture of this size.

    Raises:
        InputError: a network isn't there, isn't whole or isn't a safetensors file, two parts don't fit, or a network
            fails. Nothing is left in `target` then.
        ParameterError: frames of this size don't fit the VAE.
    """
    from recipevis.backbone import checks

    source = source_of(settings)
    try:
        source.write(target)
        checks.check_backbone(target, pixels)
    except RecipeVisError as error:
        shutil.rmtree(target, ignore_errors=True)  # gigabytes that nobody can use
        diffusion, clip = source.places()  # the user doesn't know the copy
        text = str(error).replace(str(target / "clip"), clip).replace(str(target), diffusion)
        raise type(error)(text) from error
    files.write_json(target / "backbone.json", source.origin())
    files.write_json(target / "model_index.json", _PIPELINE)


def parts_of(diffusion: Path, clip: Path) -> dict[str, Path]:
    """The folder of each part that is used of a Stable Diffusion folder, and of a CLIP folder."""
    return {part: diffusion / part for part in DIFFUSION_PARTS} | {"clip": clip}


def copy_backbone(diffusion: Path, clip: Path, target: Path) -> None:
    """Copy what the project uses of a Stable Diffusion folder and a CLIP folder; the safety checker, for one, is not.

    Raises:
        InputError: a part or a file of it is missing, or its weights can't be used; nothing is written then.
    """
    _copy({part: (folder, target / part) for part, folder in parts_of(diffusion, clip).items()})


def copy_part(part: str, source: Path, target: Path) -> None:
    """Copy a single part, named as in `weights`; raises as `copy_backbone`."""
    _copy({part: (source, target)})


def _copy(folders: Mapping[str, tuple[Path, Path]]) -> None:
    """Copy parts, each from its first folder into its second. All are looked at before one is copied."""
    plans = {part: weights.plan(part, source) for part, (source, _) in folders.items()}
    for part, (chosen, copied, index) in plans.items():
        source, target = folders[part]
        shutil.rmtree(target, ignore_errors=True)  # an interrupted run may have left files that the source doesn't have
        target.mkdir(parents=True)
        for name, new in copied.items():
            try:
                shutil.copyfile(source / name, target / new)
            except PermissionError as error:
                raise InputError(f"{source / name}: may not be read; change its permissions") from error
        weights.widen(target)
        if index:
            files.write_json(target / chosen.index, index)
        if chosen and chosen.variant:
            print(f"{source}: the {chosen.variant} weights are used, since there are no others")
