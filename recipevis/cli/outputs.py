"""The file that `recipevis generate` writes, by its ending: a picture, a film, a page, or a recipe with images."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recipevis.core import files
from recipevis.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

SHEETS = (".png", ".jpg", ".jpeg", ".webp", ".html")  # these show several variants
FORMATS = (*SHEETS, ".gif", ".mp4", ".json")
# Of formats with a limit: the name, the longest side in pixels, and what has a higher limit.
_SIDES = {".webp": ("a WebP", 16_383, ".png"), ".mp4": ("an MP4", 16_384, ".gif")}
_RATE = 10  # pictures a second of a film: each step is shown for a second


@dataclass(frozen=True)
class Drawing:
    """A recipe that was drawn.

    Attributes:
        title: of the page and of the recipe.
        sentences: of the steps.
        variants: the images of each drawing, uint8 RGB [h, w, 3] each, one a step; all of one shape.
        labels: of the drawings.
    """

    title: str
    sentences: Sequence[str]
    variants: Sequence[Sequence[np.ndarray]]
    labels: Sequence[str]


def check_size(suffix: str, sentences: Sequence[str], pixels: int, labels: Sequence[str]) -> None:
    """Refuse a recipe whose picture would be too large, before it is drawn.

    Args:
        suffix: the ending of the file.
        sentences: of the steps.
        pixels: height and width of an image.
        labels: of the drawings.

    Raises:
        InputError: it would be too large.
    """
    from recipevis.cli import storyboard

    if suffix in (".html", ".json"):
        return
    if suffix not in SHEETS:
        layout, _ = storyboard.arrange_slides(sentences, pixels, pixels)
    elif len(labels) > 1:
        layout = storyboard.arrange_sheet(sentences, pixels, pixels, labels)
    else:
        layout = storyboard.arrange(sentences, pixels, pixels)
    name, most, other = _SIDES.get(suffix, ("", math.inf, ""))
    if max(layout.width, layout.height) > most:
        size = f"{layout.width:,} x {layout.height:,} pixels"
        raise InputError(f"the picture would have {size}, {name} has at most {most:,} a side: choose {other}")


def write(path: Path, drawing: Drawing) -> None:
    """Write a drawing whole or not at all, in the format of the file's ending.

    Raises:
        InputError: the file can't be written, or a caption is too long for a film.
    """
    writer: Callable[[Path, Drawing], None] = {
        ".gif": _gif,
        ".mp4": _mp4,
        ".html": _html,
        ".json": _json,
    }.get(path.suffix.lower(), _picture)
    try:
        with files.replacing(path) as temporary:
            writer(temporary, drawing)
    except OSError as error:
        raise InputError(f"{path}: can't be written: {error.strerror or error}") from error


def _picture(path: Path, drawing: Drawing) -> None:
    from recipevis.cli import storyboard

    if len(drawing.variants) > 1:
        board = storyboard.contact_sheet(drawing.variants, drawing.sentences, drawing.labels)
    else:
        board = storyboard.compose(drawing.variants[0], drawing.sentences)
    board.save(path, **({"quality": 90} if path.suffix.lower() == ".webp" else {}))


def _slides(drawing: Drawing) -> list[Image.Image]:
    from recipevis.cli import storyboard

    return storyboard.slides(drawing.variants[0], drawing.sentences)


def _gif(path: Path, drawing: Drawing) -> None:
    first, *others = _slides(drawing)
    first.save(path, save_all=True, append_images=others, duration=1000, loop=0)


def _mp4(path: Path, drawing: Drawing) -> None:
    import numpy as np

    from recipevis.data import ffmpeg

    shown = [np.asarray(slide) for slide in _slides(drawing) for _ in range(_RATE)]
    ffmpeg.write(path, shown, _RATE, key_every=_RATE)


def _html(path: Path, drawing: Drawing) -> None:
    from recipevis.report import templates

    height, width = drawing.variants[0][0].shape[:2]
    steps = [
        {"sentence": sentence, "pictures": list(zip(drawing.labels, map(data_address, pictures), strict=True))}
        for sentence, *pictures in zip(drawing.sentences, *drawing.variants, strict=True)
    ]
    template = Path(__file__).with_name("page.html")
    page = templates.render(template, title=drawing.title, steps=steps, width=width, height=height)
    path.write_text(page, encoding="utf-8")


def _json(path: Path, drawing: Drawing) -> None:
    """A schema.org Recipe, whose images are in the file itself."""
    images = [data_address(picture) for picture in drawing.variants[0]]
    steps = [
        {"@type": "HowToStep", "position": number, "text": sentence, "image": image}
        for number, (sentence, image) in enumerate(zip(drawing.sentences, images, strict=True), start=1)
    ]
    recipe = {
        "@context": "https://schema.org",
        "@type": "Recipe",
        "name": drawing.title,
        "image": images[-1],
        "recipeInstructions": steps,
    }
    path.write_text(json.dumps(recipe, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def data_address(picture: np.ndarray) -> str:
    """An image as a `data:` address."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="jpeg", quality=92, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
