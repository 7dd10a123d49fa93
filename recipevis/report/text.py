"""Text on images: the font and line breaking.

The font is DejaVu Sans, which ships with matplotlib, so an image doesn't depend on the machine's fonts. It lacks some
scripts (Chinese, Japanese, Korean) and most emoji, which show as boxes; a storyboard takes other fonts for these.
"""

import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

import matplotlib
from PIL import ImageFont

PAPER, INK, ACCENT, FAINT, LINE = "#faf8f4", "#2b2926", "#b4491f", "#7d7970", "#dcd8ce"


_SHAPING = "\u200c\u200d\u200e\u200f"  # joiners and direction marks: invisible, but they change the letters around them


class Measure(Protocol):
    """What `wrap` asks a font."""

    def getlength(self, text: str) -> float:
        """The width of a text, pixels."""

    def getbbox(self, text: str) -> tuple[float, float, float, float]:
        """The place of a text's ink: left, top, right, bottom."""


@cache
def font(pixels: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans in a size."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), pixels)


def wrap(text: str, width: int, font: Measure) -> list[str]:
    """Break a text into lines of at most `width` pixels, inside a word only if the word alone is too wide.

    Drops characters that can't be printed. Keeps an accent with its letter, and an emoji of several characters whole.
    """
    words = "".join(letter if letter.isprintable() or _is_part(letter) else " " for letter in text).split()
    lines, done = [""], 0
    while done < len(words):
        fitting = _count_fitting(words, done, lines[-1], width, font)
        if fitting:
            lines[-1] = " ".join([lines[-1], *words[done : done + fitting]]).strip()
            done += fitting
            lines += [""] if done < len(words) else []
            continue
        if lines[-1]:
            lines.append("")
        for letter in letters(words[done]):
            if lines[-1] and _right_edge(lines[-1] + letter, font) > width:
                lines.append("")
            lines[-1] += letter
        done += 1
    return lines


def _count_fitting(words: Sequence[str], done: int, line: str, width: int, font: Measure) -> int:
    """How many words from number `done` on fit on a line that begins with `line`; measures only some of them."""

    def is_wider(count: int) -> bool:
        return _right_edge(" ".join([line, *words[done : done + count]]).strip(), font) > width

    most, left = 1, len(words) - done
    while most < left and not is_wider(most):
        most *= 2
    return bisect_left(range(1, min(most, left) + 1), True, key=is_wider)


def _right_edge(text: str, font: Measure) -> float:
    """Where a text's ink ends: the ink of a last f extends beyond its advance width."""
    return max(font.getlength(text), font.getbbox(text)[2])


def _is_part(character: str) -> bool:
    """Whether a character belongs to the one before it: an accent, a joiner, a skin tone, the form of a symbol."""
    if unicodedata.category(character) in ("Mn", "Mc", "Me") or character in _SHAPING:
        return True
    return "\U0001f3fb" <= character <= "\U0001f3ff" or "\U000e0020" <= character <= "\U000e007f"


def letters(text: str) -> list[str]:
    """What a reader sees as one letter or emoji each; together they are the text."""
    found: list[str] = []
    for character in text:
        before = found[-1] if found else ""
        of_emoji = before.endswith("\u200d") and unicodedata.category(character) == "So"
        of_flag = len(before) == 1 and all("\U0001f1e6" <= each <= "\U0001f1ff" for each in (before, character))
        if before and (_is_part(character) or of_emoji or of_flag):
            found[-1] += character
        else:
            found.append(character)
    return found
