"""The steps of a recipe in Markdown."""

import re
from collections.abc import Iterator
from dataclasses import replace

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from recipevis.cli.recipe import sections, text
from recipevis.cli.recipe.sections import Block
from recipevis.data.sentences import clean, lines

_SUFFIXES = (".md", ".markdown", ".mdown", ".mkd")
_FRONT_MATTER = re.compile(
    r"\ufeff?\s*(?:---[ \t]*\n.*?\n(?:---|\.\.\.)|\+\+\+[ \t]*\n.*?\n\+\+\+)[ \t]*(?:\n|$)", re.S
)
_KEY = re.compile(r"^\s*[\w-]+\s*[:=]", re.M)
_SIGN = re.compile(r"^(?: {0,3}#{1,6} +\S| {0,3}(?:```|~~~)|\[[^\]]+\]: |!\[[^\]]*\]\()|\*\*\w[^*\n]*\*\*", re.M)
_TASK = re.compile(r"^\[[ xX]\]\s+")
_WIKI_LINK = re.compile(r"!?\[\[(?:[^\[\]|]*\|)?([^\[\]|]+)\]\]")  # of Obsidian and other note books
_SENTENCE_END = re.compile(r"[.!?:…。！？][)\"'”’]*$")
_NUMBERED_HEADING = re.compile(r"(?:step\s*)?\d{1,3}\s*[.):–—-]\s*\S", re.I)


def is_markdown(content: str, suffix: str) -> bool:
    """Whether a file is Markdown: by its name, or because it has front matter, a heading or a fence."""
    content = "\n".join(lines(content))
    return suffix.lower() in _SUFFIXES or _front_matter(content) > 0 or bool(_SIGN.search(content))


def steps(content: str) -> list[str]:
    """The steps of a recipe in Markdown: the items of its list of steps, or the lines under the method's heading."""
    content = "\n".join(lines(content))
    content = _WIKI_LINK.sub(r"\1", content[_front_matter(content) :].lstrip("\ufeff"))
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    blocks = _without_titles(list(_blocks(SyntaxTreeNode(parser.parse(content)))))
    if any(block.kind != "line" for block in blocks):
        blocks = _unwrapped(sections.method(blocks))
    return text.without_numbers([block.text for block in blocks])


def _front_matter(content: str) -> int:
    """The length of the front matter: lines of keys between two lines `---` or `+++`, before all else."""
    found = _FRONT_MATTER.match(content)
    return found.end() if found and _KEY.search(found[0]) else 0


def _blocks(node: SyntaxTreeNode, paragraph: Iterator[int] | None = None) -> Iterator[Block]:
    """The blocks of a document in order. Code and tables are left out."""
    paragraph = paragraph or iter(range(1 << 30))
    for child in node.children:
        if child.type == "heading":
            yield from _heading(_inline(child), int(child.tag[1:]))
        elif child.type in ("paragraph", "html_block"):
            number = next(paragraph)
            for line in text.flat_lines(_inline(child) if child.type == "paragraph" else child.content):
                yield from sections.with_heading(line, number)
        elif child.type in ("ordered_list", "bullet_list"):
            yield from _items(child)
        elif child.type == "blockquote":
            yield from _blocks(child, paragraph)


def _heading(content: str, level: int) -> Iterator[Block]:
    title = clean(" ".join(text.flat_lines(content)))
    if _NUMBERED_HEADING.match(title):  # a step of its own, if no text stands below it
        yield Block("line", title, level)
    else:
        yield Block("heading", title, level)


def _without_titles(blocks: list[Block]) -> list[Block]:
    """Without numbered headings, `Step 1: Peeling`, that are only the title of the text below them."""
    return [
        block
        for block, below in zip(blocks, [*blocks[1:], Block("heading", "")], strict=True)
        if not block.level
        or block.kind == "heading"
        or below.level
        or below.kind == "heading"
        or _SENTENCE_END.search(block.text)
    ]


def _items(node: SyntaxTreeNode, kind: str = "") -> Iterator[Block]:
    """The items of a list, those of lists inside it too: each is one step, however many lines it has."""
    kind = kind or ("numbered" if node.type == "ordered_list" else "bullet")
    for item in node.children:
        own = [_inline(child) for child in item.children if child.type in ("paragraph", "heading")]
        if joined := _TASK.sub("", " ".join(line for part in own for line in text.flat_lines(part)), count=1):
            yield Block(kind, joined)
        for child in item.children:
            if child.type in ("ordered_list", "bullet_list"):
                yield from _items(child, kind)


def _inline(node: SyntaxTreeNode) -> str:
    """The text of a paragraph or heading: without emphasis and pictures, links as their text, its own line breaks."""
    result = ""
    for child in node.children:
        if child.type in ("text", "code_inline", "html_inline"):
            result += child.content
        elif child.type in ("softbreak", "hardbreak"):
            result += "\n"
        elif child.type != "image":
            result += _inline(child)
    return result


def _unwrapped(blocks: list[Block]) -> list[Block]:
    """Join a line that was wrapped in its paragraph: the one before has no full stop, and it begins in lower case.

    A paragraph without any full stop is one sentence a line.
    """
    stopped = {block.paragraph for block in blocks if _SENTENCE_END.search(block.text)}
    result: list[Block] = []
    for block in blocks:
        before = result[-1] if result else block
        same = result and before.kind == block.kind == "line" and before.paragraph == block.paragraph
        if same and block.paragraph in stopped and block.text[:1].islower() and not _SENTENCE_END.search(before.text):
            result[-1] = replace(before, text=f"{before.text} {block.text}")
        else:
            result.append(block)
    return result
