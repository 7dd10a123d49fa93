"""A recipe's steps as one captioned image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from recipevis.cli.fonts import CaptionFont
from recipevis.errors import InputError
from recipevis.report.text import ACCENT, INK, LINE, PAPER, font, wrap

_LONGEST_SIDE = 65_500  # pixels; of a JPEG, and many programs show no longer PNG either
_LONGEST_CAPTION = 1_000_000  # characters; Pillow measures no longer text
_MOST_PIXELS = 2 * Image.MAX_IMAGE_PIXELS  # Pillow opens no larger picture

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom are outside


@dataclass(frozen=True)
class Cell:
    """The places of one step."""

    picture: Box
    number: Box
    lines: tuple[str, ...]  # the caption, wrapped
    boxes: tuple[Box, ...]  # of the lines


@dataclass(frozen=True)
class Layout:
    """The places of all steps."""

    width: int
    height: int
    text_pixels: int  # font size
    cells: tuple[Cell, ...]


def compose(pictures: Sequence[np.ndarray], captions: Sequence[str]) -> Image.Image:
    """Lay out a recipe's steps in reading order, numbered from 1, each image above its caption.

    Args:
        pictures: one or more images of one shape, uint8 RGB [h, w, 3].
        captions: a sentence per image; long ones are wrapped, never cut.

    Raises:
        InputError: the picture would be too large, see `arrange`.
    """
    height, width = pictures[0].shape[:2]
    layout = arrange(captions, width, height)
    canvas = Image.new("RGB", (layout.width, layout.height), PAPER)
    pen = ImageDraw.Draw(canvas)
    regular, bold = CaptionFont(layout.text_pixels, captions), font(layout.text_pixels, bold=True)
    for index, (picture, cell) in enumerate(zip(pictures, layout.cells, strict=True), start=1):
        canvas.paste(Image.fromarray(picture), cell.picture[:2])
        left, top, right, bottom = cell.picture
        pen.rectangle((left - 1, top - 1, right, bottom), outline=LINE)
        pen.text(cell.number[:2], str(index), ACCENT, bold)
        for line, box in zip(cell.lines, cell.boxes, strict=True):
            regular.draw(pen, box[:2], line, INK)
    return canvas


def arrange(captions: Sequence[str], width: int, height: int) -> Layout:
    """Find the place of every image, number and caption line.

    Up to five steps share one row. More steps fill rows, so that the whole is about twice as wide as high. A caption
    that would make the picture too high gets a wider column.

    Args:
        captions: a sentence per step.
        width: of an image, pixels; narrow images get columns wide enough for a caption.
        height: of an image, pixels.

    Raises:
        InputError: the picture would have a side above 65,500 pixels, or more pixels than Pillow opens; or a caption
            has more than a million characters.
    """
    count, column = len(captions), max(width, 160)
    text_pixels = max(12, round(column / 16))
    regular = CaptionFont(text_pixels, captions)
    for number, caption in enumerate(captions, start=1):
        if len(caption) > _LONGEST_CAPTION:
            most = f"a storyboard takes {_LONGEST_CAPTION:,}"
            raise InputError(f"step {number} has {len(caption):,} characters, {most}: split it into steps")
    lengths = [regular.getlength(" ".join(caption.split())) for caption in captions]
    columns, widest = count if count <= 5 else math.ceil(math.sqrt(count * 1.6)), column
    while True:
        # At least so many pixels; it takes long to wrap what won't fit.
        least = max(height * math.ceil(count / columns), max(lengths) / widest * regular.line_height)
        size = columns * widest, math.ceil(least)
        if _fits(*size) and (widest == column or size[1] <= 4 * size[0]):
            layout = _layout(captions, width, height, text_pixels, regular, widest, columns)
            size = layout.width, layout.height
            if _fits(*size) and (widest == column or size[1] <= 4 * size[0]):
                return layout
        if size[1] <= size[0] or widest > _LONGEST_SIDE // 2:
            raise InputError(
                f"the storyboard would have {size[0]:,} x {size[1]:,} pixels, must have {_LONGEST_SIDE:,} a side and "
                f"{_MOST_PIXELS:,} in all, or fewer: give a recipe with fewer or shorter steps"
            )
        widest *= 2


def _fits(width: int, height: int) -> bool:
    return max(width, height) <= _LONGEST_SIDE and width * height <= _MOST_PIXELS


def _layout(
    captions: Sequence[str], width: int, height: int, text_pixels: int, regular: CaptionFont, column: int, columns: int
) -> Layout:
    """The layout with `columns` columns, each `column` pixels wide."""
    count = len(captions)
    line_height = regular.line_height
    gap, margin = text_pixels, 2 * text_pixels
    indent = math.ceil(font(text_pixels, bold=True).getlength(f"{count} "))
    wrapped = [wrap(caption, column - indent, regular) for caption in captions]
    cells, top = [], margin
    for start in range(0, count, columns):
        row = wrapped[start : start + columns]
        for index, lines in enumerate(row):
            left, text_top = margin + index * (column + gap), top + height + gap // 2
            tops = [text_top + number * line_height for number in range(len(lines))]
            boxes = tuple((left + indent, y, left + column, y + line_height) for y in tops)
            picture_left = left + (column - width) // 2
            picture = (picture_left, top, picture_left + width, top + height)
            number = (left, text_top, left + indent, text_top + line_height)
            cells.append(Cell(picture, number, tuple(lines), boxes))
        top += height + gap // 2 + max(1, *map(len, row)) * line_height + gap
    return Layout(2 * margin + columns * column + (columns - 1) * gap, top - gap + margin, text_pixels, tuple(cells))
