"""Cleaning text: which characters a sentence keeps, and what ends a line."""

import re
import unicodedata

_LINE_END = re.compile(r"\r\n|\n|\r")

# Python's `str.splitlines` ends a line at these, too; in a sentence they only separate words.
_SEPARATORS = re.compile(" *[\x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\u2029]+ *")
_ZERO_WIDTH = (
    *(0x00AD, 0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x200B, 0x3164, 0xFEFF, 0xFFA0, 0xFFFC),
    *range(0x2060, 0x2066),  # word joiner and invisible operators
    *range(0x206A, 0x2070),  # deprecated format characters
    *range(0xFFF9, 0xFFFC),  # annotations between lines
    *range(0xFFFE, 0x110000, 0x10000),  # the last two of each plane are no characters
    *range(0xFFFF, 0x110000, 0x10000),
)
_NOTHING = dict.fromkeys(_ZERO_WIDTH)
_DIRECTIONS = dict.fromkeys((0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
_NON_JOINER, _JOINER = "\u200c", "\u200d"
_MONGOLIAN_SELECTORS = "\u180b\u180c\u180d\u180e\u180f"
# Scripts in which a joiner changes a word: Arabic and its neighbours, Mongolian, and the scripts of India and around.
_JOINED = ((0x0600, 0x109F), (0x1700, 0x18AF), (0x1900, 0x1CFF), (0xA800, 0xABFF), (0xFB50, 0xFDFF), (0x10A00, 0x11FFF))
_INDIC = (0x0900, 0x0DFF)  # here a joiner also ends a word


def lines(text: str) -> list[str]:
    """Split a text at LF, CR LF and CR, and nowhere else."""
    return _LINE_END.split(text)


def clean(text: str) -> str:
    """A sentence without the characters that can't be seen and mean nothing, and without outer whitespace.

    Zero-width characters, byte order marks, soft hyphens and the like are removed; separators such as NEL and VT become
    spaces. What changes a word or a picture is kept: joiners inside Persian or Hindi words and inside emoji, variation
    selectors after symbols, direction marks in a text that is written from right to left. All else stays as it is.
    """
    if text.isascii() and text.isprintable():
        return text.strip()
    text = _SEPARATORS.sub(" ", text.translate(_NOTHING))
    if not any(letter.isalpha() and unicodedata.bidirectional(letter) in ("R", "AL") for letter in text):
        text = text.translate(_DIRECTIONS)
    while (cleaned := _without_stray_marks(text)) != text:  # a mark may have stood beside one that is gone now
        text = cleaned
    return text.strip()


def forbidden(text: str) -> str:
    """The first character that CSV or UTF-8 would not keep: a control character or a lone surrogate; "" if none."""
    return next((c for c in text if c not in "\t\n" and unicodedata.category(c) in ("Cc", "Cs")), "")


def _without_stray_marks(text: str) -> str:
    kept: list[str] = []
    for index, letter in enumerate(text):
        if _means_something(letter, kept, text[index + 1 : index + 2]):
            kept.append(letter)
    return "".join(kept)


def _means_something(letter: str, before: list[str], after: str) -> bool:
    """Whether a character changes what is seen, between the kept characters before it and the one after it."""
    last = before[-1] if before else ""
    if letter in (_JOINER, _NON_JOINER):
        if _joins(last) and _joins(after):
            return True
        if letter == _NON_JOINER or not last:
            return False
        return (_is_symbol(last) and _is_symbol(after)) or _INDIC[0] <= ord(last) <= _INDIC[1]
    if is_variation_selector(letter):
        return last >= "\u0900" or (last != "" and last in "©®") or (after == "\u20e3" and last.isascii())
    if letter in _MONGOLIAN_SELECTORS:
        return "\u1800" <= last <= "\u18af"
    if "\U000e0000" <= letter <= "\U000e007f":  # tags: only in a flag such as Scotland's
        return last == "\U0001f3f4" or "\U000e0000" <= last <= "\U000e007f"
    return True


def is_variation_selector(letter: str) -> bool:
    """Whether a character only chooses the form of the one before it."""
    return "\ufe00" <= letter <= "\ufe0f" or "\U000e0100" <= letter <= "\U000e01ef"


def _joins(letter: str) -> bool:
    """Whether a letter or mark belongs to a script in which joiners mean something."""
    return letter != "" and unicodedata.category(letter)[0] in "LM" and any(a <= ord(letter) <= b for a, b in _JOINED)


def _is_symbol(letter: str) -> bool:
    """Whether a character can be a part of an emoji: a symbol, a skin tone, a variation selector after one."""
    return letter != "" and (unicodedata.category(letter) in ("So", "Sk", "Sm") or is_variation_selector(letter))
