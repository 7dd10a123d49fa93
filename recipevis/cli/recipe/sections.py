"""Which part of a recipe is the method: what stands under its heading, or else what is not under another's."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

_METHOD = re.compile(
    r"(?:the |cooking |baking |preparation |recipe )?"
    r"(?:directions?|instructions?|methods?|steps?|preparation|procedure|process)(?: steps| method)?(?: for .*)?"
    r"|how to (?:make|cook|prepare|bake)\b.*|what to do"
    r"|zubereitung|préparation|preparación|elaboración|preparazione|procedimento|preparo|modo de preparo|bereiding"
    r"|做法|步骤|作り方|만드는 법",
    re.I,
)
_OTHER = re.compile(
    r"(?:the )?(?:ingredients?(?: list)?|shopping list|(?:what )?you(?:'ll| will)? need|equipment|tools|utensils"
    r"|(?:recipe )?notes?|tips?(?: (?:and|&) (?:tricks|notes))?|nutrition(?:al)?(?: (?:facts|information))?"
    r"|storage|substitutions|variations|comments|reviews|source|credits|tags|description)(?: for .*)?"
    r"|zutaten|ingrédients|ingredientes|ingredienti|ingrediënten|材料|食材|재료",
    re.I,
)
_AMOUNT = re.compile(r"[\d½⅓⅔¼¾⅛]")
_LONGEST_HEADING = 200  # characters; a longer line is a sentence
_PSEUDO_LEVEL = 7  # of a heading that is only a line; Markdown's levels are 1 to 6


@dataclass(frozen=True)
class Block:
    """A piece of a recipe.

    Attributes:
        kind: a heading, an item of a numbered or of another list, or a line of text.
        text: without its marks.
        level: of a heading, 1 to 7; of a numbered heading that is a step, too.
        paragraph: number of the paragraph; an empty line ends it.
        indented: whether the line begins with a space.
    """

    kind: Literal["heading", "numbered", "bullet", "line"]
    text: str
    level: int = 0
    paragraph: int = 0
    indented: bool = False


def role(heading: str) -> str:
    """`method`, `other` or, for a heading that says neither, ""."""
    if len(heading) > _LONGEST_HEADING:
        return ""
    name = re.sub(r"\(.*?\)", "", heading).strip(" \t#*_:：—–-=.•").replace("’", "'")
    name = re.sub(r"\s+", " ", name)
    return "method" if _METHOD.fullmatch(name) else "other" if _OTHER.fullmatch(name) else ""


def with_heading(line: str, paragraph: int) -> list[Block]:
    """A line of text as a block, or as a heading if it says `Ingredients` or `Method:`; also `Method: 1. Peel ...`."""
    if role(line):
        return [Block("heading", line, _PSEUDO_LEVEL, paragraph)]
    name, colon, rest = line.partition(":")
    if colon and role(name) == "method" and re.match(r"\s*(?:1\s?[.):]|step 1\b|\(1\))", rest, re.I):
        return [Block("heading", name, _PSEUDO_LEVEL, paragraph), Block("line", rest.strip(), 0, paragraph)]
    return [Block("line", line, 0, paragraph)]


def method(blocks: Sequence[Block]) -> list[Block]:
    """The blocks of the method of a recipe in Markdown, in order.

    Without a heading for the method, a numbered list is taken before another list, and any list before text.
    """
    roles = _roles(blocks)
    if chosen := [block for block, name in roles if name == "method"]:
        return chosen
    rest = [block for block, name in roles if name != "other"]
    if numbered := [block for block in rest if block.kind == "numbered"]:
        return numbered
    bullets, text = ([block for block in rest if block.kind == kind] for kind in ("bullet", "line"))
    amounts = sum(bool(_AMOUNT.match(block.text)) for block in bullets)
    return bullets if bullets and not (text and 2 * amounts >= len(bullets)) else text


def plain_method(blocks: Sequence[Block]) -> list[Block]:
    """The lines of the method of a plain text: all of them, if it has no headings.

    Under another heading, such as Ingredients, only the first paragraph is left out if the method has no heading.
    """
    roles = _roles(blocks)
    if chosen := [block for block, name in roles if name == "method"]:
        return chosen
    result: list[Block] = []
    skipped: int | None = None  # the paragraph under another heading
    waiting = False
    for block in blocks:
        if block.kind == "heading":
            waiting, skipped = True, None
        elif waiting:
            waiting, skipped = False, block.paragraph
        if block.kind != "heading" and block.paragraph != skipped:
            result.append(block)
    return result


def _roles(blocks: Sequence[Block]) -> list[tuple[Block, str]]:
    """Each block that is no heading, with the role of the heading that it stands under."""
    current, level, result = "", 0, []
    for block in blocks:
        if block.kind != "heading":
            result.append((block, current))
        elif role(block.text):
            current, level = role(block.text), block.level
        elif block.level <= level:
            current, level = "", 0
    return result
