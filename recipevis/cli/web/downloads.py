"""A drawn recipe as a file: a storyboard, a film, or schema.org's JSON."""

import base64
import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from recipevis.cli import storyboard
from recipevis.data import ffmpeg


def png(pictures: Sequence[np.ndarray], sentences: Sequence[str]) -> bytes:
    """The storyboard, see `storyboard.compose`."""
    return _encoded(storyboard.compose(pictures, sentences))


def mp4(pictures: Sequence[np.ndarray], sentences: Sequence[str]) -> bytes:
    """A film in H.264 that shows each picture for a second; an odd last row or column is left out.

    Args:
        pictures: uint8 RGB [h, w, 3], all of one shape.
        sentences: not shown.
    """
    height, width = (side // 2 * 2 for side in pictures[0].shape[:2])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.mp4"
        ffmpeg.write(path, [picture[:height, :width] for picture in pictures], rate=1)
        return path.read_bytes()


def recipe_json(pictures: Sequence[np.ndarray], sentences: Sequence[str]) -> bytes:
    """A schema.org Recipe whose steps carry their pictures as data addresses."""
    steps = [
        {
            "@type": "HowToStep",
            "position": number,
            "text": sentence,
            "image": data_address(picture),
        }
        for number, (picture, sentence) in enumerate(zip(pictures, sentences, strict=True), start=1)
    ]
    recipe = {"@context": "https://schema.org", "@type": "Recipe", "name": "Recipe", "recipeInstructions": steps}
    return json.dumps(recipe, ensure_ascii=False, indent=1).encode()


def data_address(picture: np.ndarray) -> str:
    """A picture, uint8 [h, w, 3], as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(_encoded(Image.fromarray(picture))).decode()


def _encoded(picture: Image.Image) -> bytes:
    target = io.BytesIO()
    picture.save(target, "PNG")
    return target.getvalue()


FILES = {"storyboard.png": png, "recipe.mp4": mp4, "recipe.json": recipe_json}
