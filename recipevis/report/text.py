"""Text on images: the font and line breaking.

The font is DejaVu Sans, which ships with matplotlib, so an image doesn't depend on the machine's fonts. It lacks some
scripts (Chinese, Japanese, Korean) and most emoji, which show as boxes.
"""

import unicodedata
from functools import cache
from pathlib import Path

import matplotlib
from PIL import ImageFont

PAPER, INK, ACCENT, FAINT, LINE = "#faf8f4", "#2b2926", "#b4491f", "#7d7970", "#dcd8ce"


@cache
def font(pixels: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans in a size."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), pixels)


def wrap(text: str, width: int, font: ImageFont.FreeTypeFont) -> list[str]:
    """Break a text into lines of at most `width` pixels, inside a word only if the word alone is too wide.

    Drops characters that can't be printed. Keeps an accent with its letter.
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
    """Where a text's ink ends: the ink of a last f extends beyond its advance width."""
    return max(font.getlength(text), font.getbbox(text)[2])


def _letters(word: str) -> list[str]:
    letters: list[str] = []
    for character in word:
        if letters and unicodedata.combining(character):
            letters[-1] += character
        else:
            letters.append(character)
    return letters
