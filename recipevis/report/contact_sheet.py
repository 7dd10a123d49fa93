"""The contact sheet: whole recipes, the ground truth above the generated images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image, ImageDraw

from recipevis.core import files
from recipevis.evaluation.rows import MODES
from recipevis.report.text import FAINT, INK, LINE, PAPER, font, wrap

GROUND_TRUTH = "ground truth"
_GENERATED = "generated"
_GAP, _MARGIN = 4, 16  # pixels


@dataclass(frozen=True)
class Strip:
    """One recipe: the files of the ground truth and of the generated image of each step, None if there is none."""

    title: str
    truth: Sequence[Path | None]
    generated: Sequence[Path | None]


def write(path: Path, samples: pd.DataFrame, folder: Path, strips: int) -> None:
    """Write the contact sheet of the first recipes as PNG.

    Args:
        path: where it goes.
        samples: `samples/samples.csv`.
        folder: the folder of the generated images.
        strips: how many recipes to show.
    """
    sheet = [
        Strip(
            title(video, steps),
            [Path(image) if image else None for image in steps.image],
            [folder / MODES[0] / f"{sample}.png" for sample in steps.sample_id],
        )
        for video, steps in list(samples.groupby("video_id", sort=False))[:strips]
    ]
    with files.replacing(path) as temporary:
        compose(sheet).save(temporary, format="png")


def title(video: str, steps: pd.DataFrame) -> str:
    """The heading of a recipe.

    Args:
        video: its id.
        steps: its rows of `samples.csv`.
    """
    count = f"{len(steps)} step" if len(steps) == 1 else f"{len(steps)} steps"
    return f"Recipe type {steps.recipe_type.iloc[0]}, video {video}, {count}"


def compose(strips: Sequence[Strip], pixels: int = 128) -> Image.Image:
    """Lay out recipes one below the other.

    Args:
        strips: the recipes.
        pixels: height and width of an image on the sheet.
    """
    bold, small = font(13, bold=True), font(11)
    label = max(math.ceil(small.getlength(text)) for text in (GROUND_TRUTH, _GENERATED)) + 2 * _GAP
    steps = max((len(strip.truth) for strip in strips), default=0)
    width = max(steps * (pixels + _GAP), 4 * pixels)
    titles = [wrap(strip.title, width, bold) for strip in strips]
    line = sum(bold.getmetrics()) + _GAP
    heights = [len(lines) * line + 2 * (pixels + _GAP) + _MARGIN for lines in titles]
    canvas = Image.new("RGB", (2 * _MARGIN + label + width, sum(heights) + _MARGIN), PAPER)
    pen, top = ImageDraw.Draw(canvas), _MARGIN
    for strip, lines, height in zip(strips, titles, heights, strict=True):
        for number, text in enumerate(lines):
            pen.text((_MARGIN, top + number * line), text, INK, bold)
        for number, (name, row) in enumerate(((GROUND_TRUTH, strip.truth), (_GENERATED, strip.generated))):
            y = top + len(lines) * line + number * (pixels + _GAP)
            pen.text((_MARGIN, y + pixels // 2), name, FAINT, small, anchor="lm")
            for step, file in enumerate(row):
                x = _MARGIN + label + step * (pixels + _GAP)
                if file is None:
                    pen.rectangle((x, y, x + pixels - 1, y + pixels - 1), outline=LINE)
                    pen.line((x, y + pixels - 1, x + pixels - 1, y), LINE)
                else:
                    with Image.open(file) as image:
                        tile = image.convert("RGB").resize((pixels, pixels), Image.Resampling.LANCZOS)
                    canvas.paste(tile, (x, y))
        top += height
    return canvas
