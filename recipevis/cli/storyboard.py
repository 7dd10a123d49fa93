"""A recipe's steps as one captioned image, several drawings of it below each other, or one slide a step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from recipevis.cli.fonts import CaptionFont
from recipevis.errors import InputError
from recipevis.report.text import ACCENT, FAINT, INK, LINE, PAPER, font, wrap

_LONGEST_SIDE = 65_500  # pixels; of a JPEG, and many programs show no longer PNG either
_LONGEST_CAPTION = 1_000_000  # characters; Pillow measures no longer text
_SLIDE = 384  # pixels; smaller images are enlarged on a slide, so that its text is sharp
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
    canvas, fonts = Image.new("RGB", (layout.width, layout.height), PAPER), _fonts(layout, captions)
    for index, (picture, cell) in enumerate(zip(pictures, layout.cells, strict=True), start=1):
        _paste(canvas, picture, cell.picture[:2])
        _write(canvas, index, cell, *fonts)
    return canvas


def contact_sheet(
    variants: Sequence[Sequence[np.ndarray]], captions: Sequence[str], labels: Sequence[str]
) -> Image.Image:
    """Lay out several drawings of a recipe, a row each, with the captions below the last row.

    Args:
        variants: the images of each drawing, uint8 RGB [h, w, 3], all of one shape.
        captions: a sentence per step.
        labels: what stands before each row.

    Raises:
        InputError: the picture would be too large, see `arrange_sheet`.
    """
    height, width = variants[0][0].shape[:2]
    layout = arrange_sheet(captions, width, height, labels)
    small, left = font(layout.text_pixels), _label_width(labels, layout.text_pixels)
    gap, margin = layout.text_pixels // 2, 2 * layout.text_pixels
    down = (len(variants) - 1) * (height + gap)
    canvas = Image.new("RGB", (layout.width, layout.height), PAPER)
    pen, fonts = ImageDraw.Draw(canvas), _fonts(layout, captions)
    for row, (label, pictures) in enumerate(zip(labels, variants, strict=True)):
        top = row * (height + gap)
        pen.text((margin, margin + top + height // 2), label, FAINT, small, anchor="lm")
        for picture, cell in zip(pictures, layout.cells, strict=True):
            _paste(canvas, picture, (cell.picture[0] + left, cell.picture[1] + top))
    for index, cell in enumerate(layout.cells, start=1):
        _write(canvas, index, cell, *fonts, (left, down))
    return canvas


def slides(pictures: Sequence[np.ndarray], captions: Sequence[str]) -> list[Image.Image]:
    """One slide a step, each image above its caption; all of one even width and height.

    Args:
        pictures: one or more images of one shape, uint8 RGB [h, w, 3].
        captions: a sentence per image.

    Raises:
        InputError: a caption is too long.
    """
    layout, scale = arrange_slides(captions, *pictures[0].shape[1::-1])
    height, width = (side * scale for side in pictures[0].shape[:2])
    size, margin = (layout.width, layout.height), 2 * layout.text_pixels
    made, fonts = [], _fonts(layout, captions)
    for index, (picture, cell) in enumerate(zip(pictures, layout.cells, strict=True), start=1):
        canvas, up = Image.new("RGB", size, PAPER), margin - cell.picture[1]
        large = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))
        _paste(canvas, large, (cell.picture[0], margin))
        _write(canvas, index, cell, *fonts, (0, up))
        made.append(canvas)
    return made


def arrange_slides(captions: Sequence[str], width: int, height: int) -> tuple[Layout, int]:
    """The places of all slides, below each other, with the width and height of one; how many times images are enlarged.

    Arguments as for `arrange`.

    Raises:
        InputError: a caption is too long.
    """
    scale = math.ceil(_SLIDE / width)
    layout = _one_strip(captions, width * scale, height * scale, columns=1)
    most = max(cell.boxes[-1][3] - cell.picture[1] for cell in layout.cells)
    size = [side + side % 2 for side in (layout.width, most + 4 * layout.text_pixels)]
    if not _fits(*size):
        raise InputError(f"a slide would have {size[0]:,} x {size[1]:,} pixels: give a recipe with shorter steps")
    return replace(layout, width=size[0], height=size[1]), scale


def _fonts(layout: Layout, captions: Sequence[str]) -> tuple[CaptionFont, ImageFont.FreeTypeFont]:
    """The fonts of captions and of numbers."""
    return CaptionFont(layout.text_pixels, captions), font(layout.text_pixels, bold=True)


def _paste(canvas: Image.Image, picture: np.ndarray, corner: tuple[int, int]) -> None:
    """An image with a thin frame; `corner` is its left and top."""
    left, top = corner
    height, width = picture.shape[:2]
    canvas.paste(Image.fromarray(picture), corner)
    ImageDraw.Draw(canvas).rectangle((left - 1, top - 1, left + width, top + height), outline=LINE)


def _write(
    canvas: Image.Image,
    number: int,
    cell: Cell,
    regular: CaptionFont,
    bold: ImageFont.FreeTypeFont,
    shift: tuple[int, int] = (0, 0),
) -> None:
    """The number and the caption of a step, moved by `shift` from the cell's place."""
    pen, (right, down) = ImageDraw.Draw(canvas), shift
    pen.text((cell.number[0] + right, cell.number[1] + down), str(number), ACCENT, bold)
    for line, box in zip(cell.lines, cell.boxes, strict=True):
        regular.draw(pen, (box[0] + right, box[1] + down), line, INK)


def arrange_sheet(captions: Sequence[str], width: int, height: int, labels: Sequence[str]) -> Layout:
    """The places of a contact sheet: of its first row and, so many rows too high, of the captions.

    Arguments and errors as for `arrange`; there is a row for each of the labels, and the places are those without the
    labels to the left. The width and height are those of the whole sheet.
    """
    layout = _one_strip(captions, width, height, columns=len(captions))
    size = (
        layout.width + _label_width(labels, layout.text_pixels),
        layout.height + (len(labels) - 1) * (height + layout.text_pixels // 2),
    )
    if not _fits(*size):
        raise InputError(
            f"the contact sheet would have {size[0]:,} x {size[1]:,} pixels: ask for fewer --variants, or give a "
            "recipe with fewer or shorter steps"
        )
    return replace(layout, width=size[0], height=size[1])


def _label_width(labels: Sequence[str], text_pixels: int) -> int:
    """The width of the labels of rows, and of the gap after them."""
    return math.ceil(max(map(font(text_pixels).getlength, labels))) + text_pixels // 2


def _one_strip(captions: Sequence[str], width: int, height: int, columns: int) -> Layout:
    """All steps in a row or in a column."""
    _check_lengths(captions)
    column, text_pixels = _column(width)
    return _layout(captions, width, height, text_pixels, CaptionFont(text_pixels, captions), column, columns)


def _column(width: int) -> tuple[int, int]:
    """Width of a column with images of this width, and its font size, pixels."""
    column = max(width, 160)
    return column, max(12, round(column / 16))


def _check_lengths(captions: Sequence[str]) -> None:
    for number, caption in enumerate(captions, start=1):
        if len(caption) > _LONGEST_CAPTION:
            most = f"a storyboard takes {_LONGEST_CAPTION:,}"
            raise InputError(f"step {number} has {len(caption):,} characters, {most}: split it into steps")


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
    count, (column, text_pixels) = len(captions), _column(width)
    regular = CaptionFont(text_pixels, captions)
    _check_lengths(captions)
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
