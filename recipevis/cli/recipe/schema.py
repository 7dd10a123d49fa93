"""The steps of a schema.org Recipe in JSON, as recipe sites embed it and recipe managers export it.

See https://schema.org/Recipe and https://developers.google.com/search/docs/appearance/structured-data/recipe.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from recipevis.cli.recipe import text
from recipevis.data.sentences import clean, lines
from recipevis.errors import InputError

_SUFFIXES = (".json", ".jsonld", ".jsonl", ".ndjson")


def is_json(content: str, suffix: str) -> bool:
    """Whether a file is JSON, by its name or its content."""
    start = content.lstrip("\ufeff \t\r\n")
    if suffix.lower() in _SUFFIXES or re.match(r'\{\s*"|\[\s*[{"\[]', start):
        return True
    if not start.startswith(("{", "[")):
        return False
    try:
        json.loads(start)
    except (ValueError, RecursionError):
        return False
    return True


def steps(content: str) -> list[str]:
    """The steps of the one recipe in a JSON file.

    Raises:
        InputError: it is not JSON, or does not have exactly one recipe with instructions. The file is not named.
    """
    found: dict[tuple[str, ...], str] = {}  # a page may have the same recipe twice
    try:
        recipes = list(_recipes(_parsed(content)))
        for recipe in recipes:
            if own := tuple(text.without_numbers(list(_instructions(_value(recipe, "recipeInstructions"))))):
                found[own] = " ".join(_texts(_value(recipe, "name"))) or "a recipe without a name"
    except RecursionError as error:
        raise InputError("JSON that is nested too deeply; give a text file with one sentence a line") from error
    if len(found) > 1:
        raise InputError(f"has {len(found)} recipes ({', '.join(found.values())}); give a file with one")
    if not found:
        what = "its recipe has no recipeInstructions" if recipes else "JSON without a schema.org Recipe"
        raise InputError(f"{what}; give a text file with one sentence a line")
    return list(next(iter(found)))


def _parsed(content: str) -> Any:
    content = content.strip("\ufeff \t\r\n")
    try:
        return json.loads(content, strict=False)  # plugins of web sites write line ends inside texts
    except ValueError as error:
        try:  # one object a line
            return [json.loads(line) for line in lines(content) if line.strip()]
        except ValueError:
            raise InputError(f"not JSON: {error}; give a text file with one sentence a line") from error


def _value(entry: dict[str, Any], name: str) -> Any:
    """The value of a property, whose key may be written with a prefix or as an address."""
    return next((value for key, value in entry.items() if _local(key) == name), None)


def _local(name: Any) -> str:
    """`Recipe` for `schema:Recipe` and `https://schema.org/Recipe`."""
    return re.split(r"[/:#]", name)[-1] if isinstance(name, str) else ""


def _types(entry: dict[str, Any]) -> set[str]:
    value = entry.get("@type", entry.get("type"))
    return {_local(name) for name in (value if isinstance(value, list) else [value])}


def _recipes(value: Any) -> Iterator[dict[str, Any]]:
    """Every recipe in a value: itself, in a list, in `@graph`, or as the main entity of a page."""
    if isinstance(value, dict):
        if "Recipe" in _types(value) or _value(value, "recipeInstructions"):
            yield value
            return
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _recipes(inner)


def _instructions(value: Any) -> Iterator[str]:
    """The steps in the value of `recipeInstructions`, in order."""
    if isinstance(value, str):
        yield from text.flat_lines(value)
    elif isinstance(value, list):
        for inner in _in_order(value):
            yield from _instructions(inner)
    elif isinstance(value, dict):
        if "HowToTip" in _types(value):
            return
        elements = _value(value, "itemListElement") or value.get("@list") or _value(value, "steps")
        own = _texts(value.get("@value")) or _texts(_value(value, "text"))
        if own and not _types(value) & {"HowToSection", "ItemList"}:
            yield " ".join(own)
        elif elements:
            yield from _instructions(elements if isinstance(elements, list) else [elements])
        elif isinstance(item := _value(value, "item"), dict | list):
            yield from _instructions(item)
        elif own := own or _texts(_value(value, "name")) or _texts(_value(value, "description")):
            yield " ".join(own)


def _in_order(items: list[Any]) -> list[Any]:
    """List items by their `position`, if all have one."""
    positions = [_value(item, "position") if isinstance(item, dict) else None for item in items]
    try:
        return [item for _, item in sorted(zip(map(float, positions), items, strict=True), key=lambda pair: pair[0])]
    except (TypeError, ValueError):
        return items


def _texts(value: Any) -> list[str]:
    """The lines of a text, which may be in a list or in an object with `@value`."""
    if isinstance(value, dict):
        value = value.get("@value")
    if isinstance(value, list):
        return [line for inner in value for line in _texts(inner)]
    return [clean(line) for line in text.flat_lines(value)] if isinstance(value, str) else []
