"""Fonts for captions in any script: DejaVu Sans, and other fonts of this machine for the characters that it lacks."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import ImageDraw, ImageFont, features

from recipevis.data.sentences import is_variation_selector
from recipevis.report import text

_UNUSUAL = ("bold", "italic", "oblique", "black", "heavy", "light", "thin", "condensed", "mono")  # taken last
_ADVICE = "Debian has fonts-noto-cjk for Chinese, Japanese and Korean, fonts-noto-core, and fonts-symbola for emoji"


@dataclass(frozen=True)
class Face:
    """One font in a file, which may hold several."""

    path: Path
    index: int


class CaptionFont:
    """The font of captions in one size: DejaVu Sans, and other fonts for the characters that it lacks.

    Measures like a font of Pillow, so `report.text.wrap` takes it. Texts without such characters look as with DejaVu
    Sans alone.

    Args:
        pixels: font size.
        texts: all captions; their characters choose the fonts.
    """

    def __init__(self, pixels: int, texts: Iterable[str]):
        self._regular = text.font(pixels)
        self._faces = other_faces(frozenset("".join(texts)))
        self._fonts = {face: ImageFont.truetype(face.path, pixels, face.index) for face in set(self._faces.values())}
        # From the top of a line to its baseline: DejaVu's ascent, or more for glyphs that are higher.
        self._top, descent = self._regular.getmetrics()
        for letter, face in self._faces.items():
            _, top, _, bottom = self._fonts[face].getbbox(letter, anchor="ls")
            self._top, descent = max(self._top, -int(top)), max(descent, int(bottom))
        self.line_height = self._top + descent + pixels // 4

    def getlength(self, line: str) -> float:
        """The width of a line, pixels."""
        return sum(font.getlength(part) for part, font in self._runs(line))

    def getbbox(self, line: str) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the smallest box with the ink of a line, from the top of the line, pixels."""
        left, boxes = 0.0, []
        for part, font in self._runs(line):
            box = font.getbbox(part, anchor="ls")
            boxes.append((left + box[0], self._top + box[1], left + box[2], self._top + box[3]))
            left += font.getlength(part)
        lefts, tops, rights, bottoms = zip(*boxes or [(0, 0, 0, 0)], strict=True)
        return min(lefts), min(tops), max(rights), max(bottoms)

    def draw(self, pen: ImageDraw.ImageDraw, place: tuple[int, int], line: str, colour: str) -> None:
        """Draw a line; `place` is its left and top, pixels."""
        left, top = place
        for part, font in self._runs(line):
            pen.text((left, top + self._top), part, colour, font, anchor="ls")
            left += font.getlength(part)

    def _runs(self, line: str) -> list[tuple[str, ImageFont.FreeTypeFont]]:
        """The pieces of a line that share a font. A letter and its accents, and an emoji, are in one piece."""
        if not any(letter in self._faces for letter in line):
            return [(line, self._regular)] if line else []
        runs: list[tuple[str, ImageFont.FreeTypeFont]] = []
        for letter in text.letters(line):
            font = runs[-1][1] if runs and letter.isspace() else self._font_of(letter)
            if runs and runs[-1][1] is font:
                runs[-1] = (runs[-1][0] + letter, font)
            else:
                runs.append((letter, font))
        return runs

    def _font_of(self, letter: str) -> ImageFont.FreeTypeFont:
        """The font with all characters of a letter, or else with its first."""
        needed = [character for character in letter if _is_seen(character)]
        faces = [self._faces.get(character) for character in needed]
        whole = (face for face in faces if face and all(_has(face, character) for character in needed))
        face = next(whole, faces[0] if faces else None)
        return self._fonts[face] if face else self._regular


def warnings(texts: Iterable[str]) -> list[str]:
    """What a storyboard can't show as it should, a line each: characters that no font here has, text from the right."""
    letters = frozenset("".join(texts))
    found = []
    missing = sorted(_lacking(letters) - other_faces(letters).keys())
    if missing:
        shown = " ".join(missing[:40]) + (f" and {len(missing) - 40} more" if len(missing) > 40 else "")
        found.append(f"no font on this machine has {shown}; the storyboard shows boxes for them. {_ADVICE}")
    from_right = any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in letters)
    if from_right and not features.check("raqm"):
        found.append("the storyboard shows text from right to left in the wrong order: Pillow here lacks libraqm")
    return found


@cache
def other_faces(letters: frozenset[str]) -> dict[str, Face]:
    """A font for each character that DejaVu Sans lacks and another font has; as few fonts as suffice.

    Args:
        letters: the characters of all texts.
    """
    missing, found = set(_lacking(letters)), {}
    covered = {face: missing & characters(face) for face in faces()} if missing else {}
    while missing:
        face = max(covered, key=lambda face: len(covered[face] & missing), default=None)  # the first of equals
        chosen = {letter for letter in covered.pop(face) & missing if _has_ink(face, letter)} if face else set()
        found |= dict.fromkeys(sorted(chosen), face)
        missing -= chosen
        if not any(rest & missing for rest in covered.values()):
            break
    return found


@cache
def faces() -> tuple[Face, ...]:
    """All fonts that are searched: matplotlib's and the system's; upright ones of normal weight first."""
    own = Path(matplotlib.get_data_path(), "fonts", "ttf")
    paths = {path for pattern in ("DejaVu*.ttf", "STIXGeneral*.ttf") for path in own.glob(pattern)}
    # Fonts of last resort have a box for every character.
    paths |= {path for path in map(Path, font_manager.findSystemFonts()) if "lastresort" not in path.name.lower()}

    def rank(path: Path) -> tuple[bool, str]:
        return any(word in path.name.lower() for word in _UNUSUAL), str(path)

    return tuple(Face(path, index) for path in sorted(paths, key=rank) for index in range(_count(path)))


@cache
def characters(face: Face) -> frozenset[str]:
    """The characters that a font has; none if matplotlib can't read it."""
    try:
        return frozenset(map(chr, FT2Font(face.path, face_index=face.index).get_charmap()))
    except (RuntimeError, OSError, ValueError):
        return frozenset()


def _count(path: Path) -> int:
    """How many fonts a file holds."""
    try:
        return FT2Font(path).num_faces
    except (RuntimeError, OSError):
        return 0  # the user can't help a damaged file in the system's folders


def _lacking(letters: Iterable[str]) -> set[str]:
    """The characters that are seen and that DejaVu Sans lacks."""
    default = characters(Face(Path(text.font(16).path), 0))
    return {letter for letter in letters if _is_seen(letter) and letter not in default}


def _is_seen(letter: str) -> bool:
    """Whether a character needs a glyph: spaces, joiners and the like need none."""
    return unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zs", "Zl", "Zp") and not is_variation_selector(
        letter
    )


def _has(face: Face, letter: str) -> bool:
    return letter in characters(face)


@cache
def _has_ink(face: Face, letter: str) -> bool:
    """Whether Pillow can draw a character of a font: it can't scale bitmaps, and leaves coloured glyphs blank."""
    try:
        left, top, right, bottom = ImageFont.truetype(face.path, 32, face.index).getbbox(letter)
    except OSError:
        return False
    return right > left and bottom > top
