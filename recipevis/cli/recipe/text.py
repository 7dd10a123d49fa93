"""The steps of a recipe in plain text: without numbers, bullets and HTML, and without the ingredients if they have a
heading.
"""

import html
import re
import unicodedata
from dataclasses import dataclass, replace

from recipevis.cli.recipe import sections
from recipevis.cli.recipe.sections import Block
from recipevis.data.sentences import clean, lines

_LINE_TAGS = "address|article|aside|blockquote|br|dd|div|dl|dt|fieldset|figure|footer|form|h[1-6]|header|hr|li|main|"
_LINE_TAGS += "nav|ol|p|pre|section|table|tbody|td|th|thead|tr|ul"
_OTHER_TAGS = "a|abbr|acronym|b|bdi|bdo|big|center|cite|code|del|dfn|em|font|i|img|ins|kbd|label|mark|picture|q|s|samp|"
_OTHER_TAGS += "small|source|span|strike|strong|sub|sup|time|tt|u|var|wbr"
_HIDDEN = tuple(  # its end, and the whole
    (re.compile(end, re.I), re.compile(f"{begins}.*?{end}", re.I | re.S))
    for begins, end in ((r"<script\b", r"</script\s*>"), (r"<style\b", r"</style\s*>"), ("<!--", "-->"))
)
_LINE_TAG = re.compile(rf"</?(?:{_LINE_TAGS})(?:\s[^<>]*)?/?>", re.I)
_OTHER_TAG = re.compile(rf"</?(?:{_OTHER_TAGS})(?:\s[^<>]*)?/?>", re.I)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]\w{1,30});|&(?:amp|deg|frac(?:12|14|34)|nbsp|quot)\b")
_JOINT = re.compile(r"(?<=[.!?…。！？])[ \t]*\ufeff")  # where one file ends and the next begins

_BULLETS = "•◦▪▫‣⁃∙●○■□▢☐☑☒✓✔➢➤►▸·"
_BULLET = re.compile(rf"(?:[-*+–—]\s+|[{_BULLETS}]\s*)(?:\[[ xX]?\]\s*)?|\[[ xX]\]\s+")
_RULE = re.compile(r"[\s\-=_*~#+.•·─━═—–]{2,}")
_NAMES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_STEP_WORD = "step|schritt|étape|etape|paso|passo|etapa|stap|steg|krok|шаг"
_STEP = re.compile(
    rf"(?:{_STEP_WORD})\s*[#№]?\s*(\d{{1,3}}|{'|'.join(_NAMES)})\s*(?:(?:of|/)\s*\d{{1,3}}\s*)?(?:[.):：–—-]+\s*|$)"
    r"|(?:步骤|步驟|手順)\s*(\d{1,3})[\s.):：、．]*",
    re.I,
)
_NUMBER = re.compile(r"[(（\[]?(\d{1,3})\s?(?:[.):\]]+|[、．）：]+)(?:\s+|(?=[^\W\d_])|$)")
_KEYCAP = re.compile(r"((?:\d\ufe0f?\u20e3)+|🔟)\s*")
_BARE = re.compile(r"[(#]?(\d{1,3})[.):]*")
_CAPITAL = re.compile(r"(\d{1,3})\s+(?=[^\W\d_])")
_WEAK = (  # what may be a quantity or a word
    _BARE,
    re.compile(r"(\d{1,3})\s*[-–—]\s+"),
    re.compile(r"#(\d{1,3})[.):]*\s+"),
    re.compile(r"\(?([a-z])[.)]\s+", re.I),
    re.compile(r"\(?([ivx]{1,5})[.)]\s+", re.I),
    _CAPITAL,
)
# A number inside a line that may begin a step: after a sentence or a space, with a mark, before a letter.
_INNER_NUMBER = re.compile(
    r"(?:(?<=[\s.!?;,…)\]\"'”’])|(?<=[。！？；]))(?<!\d\.)"
    rf"(?:(?:(?:{_STEP_WORD})\s*)?([1-9][0-9]{{0,3}})\s?[.):、．]|([①-⑳]))\s*(?=[^\W\d_])",
    re.I,
)
_SENTENCE_END = re.compile(r"[.!?:…。！？][)\"'”’]*$")


@dataclass(frozen=True)
class _Line:
    """A line, and what is known so far about the number before it."""

    text: str
    number: int | None = None  # that it began with
    listed: bool = False  # it had a number or a bullet
    indented: bool = False
    paragraph: int = 0


def steps(content: str) -> list[str]:
    """The steps of a plain text: one a line, or one a number."""
    rows: list[Block] = []
    paragraph = 0
    for line in lines(without_html(_JOINT.sub("\n", content))):
        cleaned = clean(line)
        if not cleaned or _RULE.fullmatch(cleaned):
            paragraph += 1
            continue
        rows += [replace(block, indented=line[:1].isspace()) for block in sections.with_heading(cleaned, paragraph)]
    return _steps(sections.plain_method(rows))


def without_numbers(sentences: list[str]) -> list[str]:
    """Sentences that are steps already, without the numbers and bullets before them."""
    return _steps([Block("line", sentence, paragraph=index) for index, sentence in enumerate(sentences)])


def flat_lines(content: str) -> list[str]:
    """The lines of a text that may have HTML in it; none is empty."""
    return [cleaned for line in lines(without_html(content)) if (cleaned := clean(line))]


def without_html(content: str) -> str:
    """Remove tags and comments, and decode entities, also those that were encoded twice.

    Only HTML's own tags are removed: `<5 minutes>` stays. A tag of a paragraph or list item ends the line.
    """
    for _ in range(2):
        content = _without_hidden(content)
        content = _OTHER_TAG.sub("", _LINE_TAG.sub("\n", content))
        content = _ENTITY.sub(lambda found: html.unescape(found[0]), content)
    return content.replace("\xa0", " ")


def _without_hidden(content: str) -> str:
    """Remove comments, scripts and styles. One without an end stays.

    Nothing is sought after the last end: each beginning there would be followed to the end of the text.
    """
    for end, whole in _HIDDEN:
        last = max((found.end() for found in end.finditer(content)), default=0)
        content = whole.sub("", content[:last]) + content[last:]
    return content


def _steps(blocks: list[Block]) -> list[str]:
    rows = [_Line(block.text, indented=block.indented, paragraph=block.paragraph) for block in blocks]
    rows = [part for row in rows for part in _split_bullets(row)]
    rows = _numbered(_split_numbers(rows))
    if not any(row.number is not None for row in rows):
        rows = _weakly_numbered(rows)
    return [text for row in _joined(_without_title(rows)) if (text := clean(row.text))]


def _split_bullets(row: _Line) -> list[_Line]:
    """Without its bullet; a line with several is cut at each."""
    bullet = _BULLET.match(row.text)
    if not bullet:
        return [row]
    rest = row.text[bullet.end() :]
    parts = re.split(rf"\s*{re.escape(bullet[0].strip())}\s*", rest) if bullet[0][0] in _BULLETS else [rest]
    return [replace(row, text=part.strip(), listed=True) for part in parts if part.strip()]


def _strong_number(text: str) -> tuple[int, str] | None:
    """The number that a line begins with, and the rest; only a number that counts by its marks: `1.`, `Step 3:`."""
    for pattern in (_STEP, _NUMBER, _KEYCAP):
        if found := pattern.match(text):
            return _number(found[found.lastindex or 1]), text[found.end() :]
    if text and unicodedata.category(text[0]) == "No" and "①" <= text[0] <= "⓿":
        return int(unicodedata.numeric(text[0])), text[1:].lstrip()
    return None


def _number(text: str) -> int:
    """The value of `3`, `three`, `c`, `iii` or of a keycap."""
    name = text.lower()
    if name in _NAMES:
        return _NAMES.index(name) + 1
    if text == "🔟":
        return 10
    if digits := "".join(letter for letter in text if letter.isdigit()):
        return int(digits)
    if set(name) <= set("ivx") and name != "":
        values = [{"i": 1, "v": 5, "x": 10}[letter] for letter in name]
        return sum(-a if a < b else a for a, b in zip(values, [*values[1:], 0], strict=True))
    return ord(name) - ord("a") + 1


def _split_numbers(rows: list[_Line]) -> list[_Line]:
    """Cut a line at the numbers inside it, if these go on from the one that it begins with."""
    result = []
    begins = [_strong_number(row.text) for row in rows]
    for row, first, later in zip(rows, begins, _later(begins), strict=True):
        number, cuts = first[0] if first else 0, [0]
        for found in _INNER_NUMBER.finditer(row.text, 1) if first else ():
            if 1 < (later or 0) <= number + 1:  # a number that a later line begins with is that line's
                break
            if (int(found[1]) if found[1] else ord(found[2]) - ord("①") + 1) == number + 1:
                number += 1
                cuts.append(found.start())
        result += [
            replace(row, text=row.text[cut:end].strip()) for cut, end in zip(cuts, [*cuts[1:], None], strict=True)
        ]
    return result


def _later(found: list[tuple[int, str] | None]) -> list[int | None]:
    """For each line, the number that the next numbered line begins with."""
    result, later = [], None
    for begins in reversed(found):
        result.append(later)
        later = begins[0] if begins else later
    return result[::-1]


def _numbered(rows: list[_Line]) -> list[_Line]:
    """Remove the numbers that count the lines: each is one more than the last, or 1 again."""
    found = [_strong_number(row.text) for row in rows]
    last, result = None, []
    for row, begins, later in zip(rows, found, _later(found), strict=True):
        if begins:
            number, rest = begins
            is_first = last is None and (later in (None, number + 1) and number < 100)
            if number in (0, 1) or (last is not None and number == last + 1) or is_first or _STEP.match(row.text):
                last = number
                row = replace(row, text=rest.strip(), number=number, listed=True)
        result.append(row)
    return result


def _weakly_numbered(rows: list[_Line]) -> list[_Line]:
    """Remove numbers that may be quantities or words, if they run from 1 without a gap: `1`, `1 - Peel`, `a) Peel`."""
    for pattern in _WEAK:
        match = pattern.fullmatch if pattern is _BARE else pattern.match
        found = [match(row.text) for row in rows]
        numbers = [_number(begins[1]) for begins in found if begins]
        if not rows or not found[0] or numbers != list(range(1, len(numbers) + 1)):
            continue
        if len(numbers) < (1 if pattern is _BARE and len(rows) > 1 else 2):
            continue
        if pattern is _CAPITAL and not all(
            begins and row.text[begins.end()].isupper() for begins, row in zip(found, rows, strict=True)
        ):
            continue
        return [
            replace(row, text=row.text[begins.end() :], number=number, listed=True)
            if begins and (number := _number(begins[1]))
            else row
            for begins, row in zip(found, rows, strict=True)
        ]
    return rows


def _without_title(rows: list[_Line]) -> list[_Line]:
    """Without what stands before number 1 of a list and is no sentence: a title, `Serves 4`, the ingredients."""
    if sum(row.number is not None for row in rows) < 2:
        return rows
    first = next(index for index, row in enumerate(rows) if row.number is not None)
    if rows[first].number != 1:
        return rows
    return [row for index, row in enumerate(rows) if index >= first or row.text.endswith((".", "!", "?", "。"))]


def _joined(rows: list[_Line]) -> list[_Line]:
    """Join what belongs to one step: the lines after a number that stands alone, and wrapped lines of a list."""
    result: list[list[_Line]] = []  # the lines of each step
    alone = False  # the last number had a line of its own
    for row in rows:
        if row.listed or not result:
            alone = row.number is not None and not row.text
            result.append([row])
            continue
        first, before = result[-1][0], result[-1][-1]
        starts_low = row.text[:1].islower() and not _SENTENCE_END.search(before.text)
        wrapped = first.listed and row.paragraph == first.paragraph and (row.indented or starts_low)
        if alone or wrapped:
            result[-1].append(row)
        else:
            result.append([row])
    return [replace(step[0], text=" ".join(row.text for row in step).strip()) for step in result]
