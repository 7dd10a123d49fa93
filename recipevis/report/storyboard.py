"""Drawn steps laid out as one captioned picture: a storyboard, or a contact sheet of recipes.

Texts are set in DejaVu Sans, which ships with matplotlib, so the picture does not depend on the machine's fonts;
scripts that it lacks (Chinese, Japanese, Korean, most emoji) show as boxes.
"""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

PAPER, INK, ACCENT, FAINT, LINE = "#faf8f4", "#2b2926", "#b4491f", "#7d7970", "#dcd8ce"
Box = tuple[int, int, int, int]  # left, top, right, bottom, pixels; right and bottom outside


@dataclass(frozen=True)
class Cell:
    """Where one step stands."""

    picture: Box
    number: Box
    lines: tuple[str, ...]  # the caption, wrapped
    boxes: tuple[Box, ...]  # of each line


@dataclass(frozen=True)
class Layout:
    """Where everything stands, before anything is drawn."""

    width: int
    height: int
    text_pixels: int  # size of the font
    cells: tuple[Cell, ...]


def compose(pictures: Sequence[np.ndarray], captions: Sequence[str]) -> Image.Image:
    """Lay out a recipe's steps in reading order, numbered from 1, each above its whole caption.

    Args:
        pictures: uint8 RGB [h, w, 3], all of one shape, at least one.
        captions: a sentence each; wrapped, never cut, words wider than a column broken.
    """
    height, width = pictures[0].shape[:2]
    layout = arrange(captions, width, height)
    canvas = Image.new("RGB", (layout.width, layout.height), PAPER)
    pen, font, bold = ImageDraw.Draw(canvas), _font(layout.text_pixels), _font(layout.text_pixels, bold=True)
    for index, (picture, cell) in enumerate(zip(pictures, layout.cells, strict=True), start=1):
        canvas.paste(Image.fromarray(picture), cell.picture[:2])
        left, top, right, bottom = cell.picture
        pen.rectangle((left - 1, top - 1, right, bottom), outline=LINE)
        pen.text(cell.number[:2], str(index), ACCENT, bold)
        for line, box in zip(cell.lines, cell.boxes, strict=True):
            pen.text(box[:2], line, INK, font)
    return canvas


def arrange(captions: Sequence[str], width: int, height: int) -> Layout:
    """Find the place of every picture, number and caption line.

    Up to five steps stand in one row; more of them in rows, about twice as wide as high.

    Args:
        captions: a sentence for each step.
        width: of a picture, pixels; small ones get columns wide enough to read.
        height: of a picture, pixels.
    """
    count = len(captions)
    columns = count if count <= 5 else math.ceil(math.sqrt(count * 1.6))
    column = max(width, 160)  # a caption needs some width, whatever the picture's
    text_pixels = max(12, round(column / 16))
    font = _font(text_pixels)
    line_height = sum(font.getmetrics()) + text_pixels // 4
    gap, margin = text_pixels, 2 * text_pixels
    indent = math.ceil(_font(text_pixels, bold=True).getlength(f"{count} "))
    wrapped = [wrap(caption, column - indent, font) for caption in captions]
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
        top += height + gap // 2 + max(1, *map(len, row), 1) * line_height + gap
    return Layout(2 * margin + columns * column + (columns - 1) * gap, top - gap + margin, text_pixels, tuple(cells))


def wrap(text: str, width: int, font: ImageFont.FreeTypeFont) -> list[str]:
    """Break a text into lines of at most `width` pixels: between words, inside a word only where it must be.

    Characters that can't be printed are left out; an accent is never parted from its letter.
    """
    words = "".join(letter if letter.isprintable() else " " for letter in text).split()
    lines = [""]
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if _right_edge(longer, font) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in _letters(word):
            if lines[-1] and _right_edge(lines[-1] + letter, font) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def _right_edge(text: str, font: ImageFont.FreeTypeFont) -> float:
    """Where a text's ink ends: an f at the end reaches beyond its advance."""
    return max(font.getlength(text), font.getbbox(text)[2])


def _letters(word: str) -> list[str]:
    letters: list[str] = []
    for character in word:
        if letters and unicodedata.combining(character):
            letters[-1] += character
        else:
            letters.append(character)
    return letters


@dataclass(frozen=True)
class Strip:
    """A recipe on a contact sheet: a true and a drawn picture a step, uint8 RGB [h, w, 3], None where there is none."""

    title: str
    true: Sequence[np.ndarray | None]
    drawn: Sequence[np.ndarray | None]


def contact_sheet(strips: Sequence[Strip], pixels: int = 128) -> Image.Image:
    """Recipes one below the other, the true frames above the drawn ones.

    Args:
        strips: the recipes.
        pixels: height and width of a picture on the sheet.
    """
    font, small = _font(13, bold=True), _font(11)
    gap, margin = 4, 16
    label = max(math.ceil(small.getlength(text)) for text in ("true", "drawn")) + 2 * gap
    steps = max((len(strip.true) for strip in strips), default=0)
    titles = [wrap(strip.title, max(steps * (pixels + gap), 4 * pixels), font) for strip in strips]
    line = sum(font.getmetrics()) + gap
    heights = [len(lines) * line + 2 * (pixels + gap) + margin for lines in titles]
    size = (2 * margin + label + max(steps * (pixels + gap), 4 * pixels), sum(heights) + margin)
    canvas = Image.new("RGB", size, PAPER)
    pen, top = ImageDraw.Draw(canvas), margin
    for strip, lines, height in zip(strips, titles, heights, strict=True):
        for number, text in enumerate(lines):
            pen.text((margin, top + number * line), text, INK, font)
        for number, (name, row) in enumerate((("true", strip.true), ("drawn", strip.drawn))):
            y = top + len(lines) * line + number * (pixels + gap)
            pen.text((margin, y + pixels // 2), name, FAINT, small, anchor="lm")
            for step, picture in enumerate(row):
                x = margin + label + step * (pixels + gap)
                if picture is None:
                    pen.rectangle((x, y, x + pixels - 1, y + pixels - 1), outline=LINE)
                    pen.line((x, y + pixels - 1, x + pixels - 1, y), LINE)
                else:
                    canvas.paste(Image.fromarray(picture).resize((pixels, pixels), Image.Resampling.LANCZOS), (x, y))
        top += height
    return canvas


@cache
def _font(pixels: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), pixels)
