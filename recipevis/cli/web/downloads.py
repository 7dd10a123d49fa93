"""A drawn recipe as the content of a file."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recipevis.cli import outputs
from recipevis.errors import InputError

FILES = ("storyboard.png", "recipe.mp4", "recipe.json")  # what the page offers, see `outputs.write`


def content(name: str, pictures: Sequence[np.ndarray], sentences: Sequence[str]) -> bytes:
    """The content of a file, in the format of its name's ending.

    Args:
        name: see `outputs.FORMATS`.
        pictures: uint8 RGB [h, w, 3], all of one shape.
        sentences: one a picture.

    Raises:
        InputError: it can't be made. The message names no folder.
    """
    with tempfile.TemporaryDirectory(prefix="recipevis-") as folder:
        path = Path(folder) / name
        try:
            outputs.write(path, outputs.Drawing("Recipe", sentences, [pictures], [""]))
        except InputError as error:
            raise InputError(str(error).replace(str(path), name)) from None
        return path.read_bytes()
