"""Reading a recipe file: what kind of file it is, and its steps."""

import codecs
import csv
import re
from pathlib import Path

from recipevis.cli.recipe import markdown, schema, text
from recipevis.data.sentences import forbidden, lines
from recipevis.errors import InputError

_LONGEST_BYTES = 10_000_000
_ADVICE = "give a text file with one sentence a line"
# First bytes of files that people confuse with text.
_SIGNATURES = {
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a zip archive, a Word document or an e-book",
    b"\x1f\x8b": "a gzip archive",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
    b"BM": "a picture",
    b"\xd0\xcf\x11\xe0": "an old Word document",
    b"{\\rtf": "a rich text document",
}
_SUFFIXES = {
    ".csv": "a CSV table",
    ".tsv": "a TSV table",
    ".html": "an HTML page",
    ".htm": "an HTML page",
    ".xhtml": "an HTML page",
    ".xml": "an XML file",
    ".yaml": "a YAML file",
    ".yml": "a YAML file",
    ".cook": "a Cooklang recipe",
    ".srt": "a file of subtitles",
    ".vtt": "a file of subtitles",
}
_BYTE_ORDER_MARKS = (  # UTF-32's begins with UTF-16's, so it comes first
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_PAGE = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?:(?!-->).)*-->\s*)*<(!doctype|html|head|body|script|svg|rss)\b", re.I | re.S
)
_COLUMNS = {
    *("id", "name", "title", "ingredients", "instructions", "directions", "steps", "method", "description"),
    *("step", "text", "sentence", "image", "link", "source", "url", "ner", "servings", "minutes", "category", "rating"),
}


def read_recipe(path: Path) -> list[str]:
    """The steps of a recipe file, a sentence each, in order; one or more.

    Reads plain text with one sentence a line (numbers, bullets, HTML tags and entities are removed), Markdown, and JSON
    with a schema.org Recipe. Where ingredients and steps have headings, only the steps are taken.

    Args:
        path: a file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark.

    Raises:
        InputError: the file can't be read, is of another kind, or has no step. One line that names the file.
    """
    content = _decoded(_content(path), path)
    if kind := _other_kind(path, content):
        raise InputError(f"{path}: is {kind}; {_ADVICE}")
    try:
        if schema.is_json(content, path.suffix):
            steps = schema.steps(content)
        elif markdown.is_markdown(content, path.suffix):
            steps = markdown.steps(content)
        else:
            steps = text.steps(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if not steps:
        raise InputError(f"{path}: {'has no steps' if content.strip() else 'empty'}; write one sentence a line")
    if all(re.fullmatch(r"https?://\S+", step) for step in steps):
        raise InputError(f"{path}: is only an address; {_ADVICE}")
    for number, step in enumerate(steps, start=1):
        if letter := forbidden(step):
            raise InputError(f"{path}: step {number} contains the character {letter!r}, which is not text; remove it")
    return steps


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_BYTES + 1)
    except (OSError, ValueError) as error:
        if address := re.match(r"(https?|ftp|file):/+(.*)", str(path)):
            shown = f"{address[1]}://{address[2]}"
            raise InputError(f"{shown}: is an address; save the recipe to a file, and give its name") from error
        if path.is_dir():
            raise InputError(f"{path}: is a folder; {_ADVICE}") from error
        raise InputError(f"{path}: can't be read: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > _LONGEST_BYTES:
        raise InputError(f"{path}: is larger than {_LONGEST_BYTES:,} bytes, so it is no recipe; {_ADVICE}")
    return content


def _decoded(content: bytes, path: Path) -> str:
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if content.startswith(mark)), "utf-8-sig")
    kinds = (kind for signature, kind in _SIGNATURES.items() if content.lstrip(b"\xef\xbb\xbf").startswith(signature))
    if encoding == "utf-8-sig" and (kind := next(kinds, None)) and not (kind == "a picture" and _is_text(content)):
        raise InputError(f"{path}: is {kind}; {_ADVICE}")
    try:
        decoded = content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding == "utf-8-sig" and b"\0" in content:
            raise InputError(f"{path}: is a binary file; {_ADVICE}") from error
        where = f"line {content[: error.start].count(10) + 1}"
        shown = encoding.removesuffix("-sig").upper()
        raise InputError(f"{path}: {where} is not {shown} text; save the file as UTF-8") from error
    if "\0" in decoded:
        raise InputError(f"{path}: is a binary file, or UTF-16 without a byte order mark; save it as UTF-8 text")
    return decoded


def _is_text(content: bytes) -> bool:
    """Whether bytes are UTF-8 without NUL: a text may begin with the letters BM or GIF8."""
    try:
        return "\0" not in content.decode()
    except UnicodeDecodeError:
        return False


def _other_kind(path: Path, content: str) -> str:
    """What else the file is; "" if it may be a recipe."""
    if kind := _SUFFIXES.get(path.suffix.lower()):
        return kind
    if page := _PAGE.match(content):
        return "an HTML page" if page[1].lower() not in ("svg", "rss") else "an XML file"
    if content.lstrip().startswith("<?xml"):
        return "an XML file"
    if _is_table(content):
        return "a table"
    if re.match(r"\s*WEBVTT\b|\s*1\s+\d\d:\d\d:\d\d[,.]\d+ --> ", content):
        return "a file of subtitles"
    return ""


def _is_table(content: str) -> bool:
    """Whether the first line names a table's columns, or a row holds a quoted list."""
    first = next((line for line in lines(content.lstrip("\ufeff")) if line.strip()), "")[:1000]
    for separator in ",;\t|":
        names = [name.strip().strip('"').lower() for name in next(csv.reader([first], delimiter=separator), [])]
        if len(names) > 1 and len(_COLUMNS.intersection(names)) > 1:
            return True
    return '"["' in content and '""' in content
