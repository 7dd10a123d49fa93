"""Read the `config.json` files of a model in Hugging Face layout."""

import json
from pathlib import Path

from transformers import CLIPConfig, CLIPTextConfig, PreTrainedConfig

from recipevis.errors import InputError


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
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{folder / name}: not a readable configuration: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{folder / name}: not a readable configuration: not an object")
    return Configuration(folder / name, values)


def clip_configuration(folder: Path) -> CLIPConfig:
    """The configuration of a whole CLIP model; older formats are understood. Raises as `read_configuration`."""
    return _parsed(folder, CLIPConfig)


def text_configuration(folder: Path) -> CLIPTextConfig:
    """The configuration of a text encoder. Raises as `read_configuration`."""
    return _parsed(folder, CLIPTextConfig)


def _parsed(folder: Path, kind: type[PreTrainedConfig]) -> PreTrainedConfig:
    values = read_configuration(folder)
    try:
        return kind.from_dict(values)
    except Exception as error:  # the classes raise many kinds for values that they can't use
        reason = " ".join(str(error).split())
        raise InputError(f"{folder / 'config.json'}: not a readable configuration: {reason}") from error
