"""Making and spoiling the folders of a backbone, for the tests beside this file."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from recipevis.backbone.base import make
from recipevis.config import BackboneConfig, load
from recipevis.errors import RecipeVisError
from tests.conftest import ROOT

UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"
CLIP = "clip/model.safetensors"
PIXELS = 32


def settings(**changes) -> BackboneConfig:
    """The demo's parameters `backbone`, some of them changed."""
    return load(ROOT / "params.yaml").backbone.model_copy(update=changes)


def from_folder(folder: Path, target: Path, pixels: int = PIXELS) -> Path:
    """Write the backbone of the source `folder`."""
    make(settings(source="folder", folder=str(folder)), target, pixels)
    return target


def change(path: Path, values: dict) -> None:
    """Set keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def rewrite(path: Path, how: Callable[[dict], dict]) -> None:
    """Change the tensors of a safetensors file."""
    save_file(how(load_file(path)), path, metadata={"format": "pt"})


def refused(folder: Path, target: Path, pixels: int = PIXELS) -> str:
    """The one line that refuses a folder."""
    with pytest.raises(RecipeVisError) as error:
        from_folder(folder, target, pixels)
    assert "\n" not in str(error.value)
    return str(error.value)
