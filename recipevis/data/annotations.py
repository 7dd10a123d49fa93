"""Annotations: read YouCook2's JSON and check all of it.

YouCook2's form is `{"database": {<video id>: {"subset", "duration", "recipe_type", "annotations": [{"segment":
[start, end], "sentence"}, ...], ...}}}`. The key is the video's id; `video_url` is not read, since it is wrong for two
videos.
"""

import bz2
import gzip
import io
import json
import lzma
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import requests

from recipevis.config import DatasetConfig
from recipevis.core import files
from recipevis.data import sentences, survivors
from recipevis.data.sources.base import source_class
from recipevis.data.tables.recipes import SUBSETS, Recipe, Step
from recipevis.errors import InputError

_LONGEST_S = 1e9  # thirty years
_TIMEOUT_S = (20, 60)  # to connect; between two parts of the answer
_COMPRESSED = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress, b"\xfd7zXZ": lzma.decompress}  # by their start
# What else the standard library raises for damaged archives, encrypted ones, and those of an unknown method.
_OTHER_FAULTS = (OSError, RuntimeError, ValueError, LookupError, struct.error)


def load(dataset: DatasetConfig) -> list[Recipe]:
    """The recipes that the parameters `dataset` name: the source's own, or those in the file `dataset.annotations`.

    With `dataset.only`, those with a sample in that file.

    Raises:
        InputError: a file can't be read, or is malformed.
    """
    source = source_class(dataset.source)
    own = source.annotations(dataset)
    name = dataset.annotations if own is None else f"the annotations of the source {dataset.source!r}"
    content = fetch(name) if own is None else json.dumps(own).encode()
    only = survivors.read_samples(dataset.only) if dataset.only else None
    recipes = parse(content, name, source.id_pattern(dataset), dataset.limit)
    return recipes if only is None else survivors.keep_recipes(recipes, only, dataset.only)


def fetch(address: str) -> bytes:
    """Read or download an annotation file.

    Args:
        address: a URL or a path, relative to the project's root.

    Raises:
        InputError: the file can't be read.
    """
    try:
        if re.match("https?://", address, re.IGNORECASE):
            answer = requests.get(address, timeout=_TIMEOUT_S)
            answer.raise_for_status()
            return answer.content
        return files.user_path(address).read_bytes()
    except requests.RequestException as error:
        raise InputError(f"{address}: can't be downloaded: {' '.join(str(error).split())}") from error
    except (OSError, ValueError) as error:  # ValueError: not a name that a file can have
        raise InputError(f"{address}: can't be read: {getattr(error, 'strerror', None) or error}") from error


def parse(content: bytes, name: str, video_ids: re.Pattern, limit: int | None = None) -> list[Recipe]:
    """Check an annotation file in YouCook2's form; the recipes in the file's order.

    Args:
        content: JSON, also compressed (gzip, bzip2, xz), or a tar or zip archive with one JSON file in it.
        name: the file's name in error messages.
        video_ids: an id must match this, see `Source.id_pattern`.
        limit: keep only the first so many videos of each subset; None: all.

    Raises:
        InputError: one line with the file, the video, the step and what is wrong.
    """
    database = _database(content, name)
    recipes = []
    for video_id, entry in database.items():
        if not video_ids.fullmatch(video_id):
            raise InputError(f"{name}: video id {video_id!r}: must match {video_ids.pattern}")
        where = f"{name}: video {video_id}"
        subset = _get(entry, "subset", str, where)
        if subset == "testing" and not entry.get("annotations"):
            continue  # YouCook2 doesn't publish the annotations of its test split
        if subset not in SUBSETS:
            raise InputError(f"{where}: subset {subset!r}: must be {' or '.join(SUBSETS)}")
        if limit is None or sum(recipe.subset == subset for recipe in recipes) < limit:
            recipes.append(_recipe(video_id, subset, entry, where))
    if not recipes:
        raise InputError(f"{name}: has no recipes")
    return recipes


def _database(content: bytes, name: str) -> dict[str, Any]:
    content = _unpacked(content, name)
    if not content.strip():
        raise InputError(f"{name}: is empty")
    if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise InputError(f"{name}: a web page, not JSON; use the address from which the file itself is downloaded")
    try:
        value = json.loads(content, object_pairs_hook=lambda pairs: _unique(pairs, name))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: not JSON (.json, .json.gz, .tar.gz or .zip): {error}") from error
    database = value.get("database") if isinstance(value, dict) else None
    if not isinstance(database, dict):
        raise InputError(f'{name}: not in YouCook2\'s form: no object under "database"')
    return database


def _unpacked(content: bytes, name: str) -> bytes:
    """The JSON of a compressed file or of an archive; other content as it is.

    The content says which it is: people rename files, and a URL may end in anything.
    """
    try:
        for start, decompress in _COMPRESSED.items():
            if content.startswith(start):
                content = decompress(content)
                break
        if content.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                names = [member.filename for member in archive.infolist() if not member.is_dir()]
                return archive.read(_only_json(names, name))
        if tarfile.is_tarfile(io.BytesIO(content)):
            with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
                members = {member.name: member for member in archive if member.isfile()}
                return archive.extractfile(members[_only_json(list(members), name)]).read()
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, *_OTHER_FAULTS) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{name}: can't be unpacked: {reason}; download it again, or unpack it yourself") from error
    return content


def _only_json(names: Sequence[str], archive: str) -> str:
    """The name of the one JSON file in an archive, without what a Mac adds beside it."""
    shown = [
        name for name in names if not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)
    ]
    found = [name for name in shown if name.lower().endswith(".json")]
    if len(found) != 1:
        listed = ", ".join(map(repr, (found or shown)[:5])) or "nothing"
        count = f"{len(found)} .json files in the archive, must be 1"
        raise InputError(f"{archive}: {count}; it holds {listed}; unpack it and name the file")
    return found[0]


def _unique(pairs: list[tuple[str, Any]], name: str) -> dict[str, Any]:
    """A JSON object without duplicate keys, which would hide a video."""
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        raise InputError(f"{name}: {next(key for key in keys if keys.count(key) > 1)!r} is a duplicate key")
    return value


def _get(entry: Any, key: str, kinds: type | tuple[type, ...], where: str) -> Any:
    """The value of a key, which must have the right type."""
    if not isinstance(entry, dict) or key not in entry:
        raise InputError(f"{where}: {key!r} is missing")
    value = entry[key]
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise InputError(f"{where}: {key} = {value!r}: wrong type")
    return value


def _recipe(video_id: str, subset: str, entry: dict[str, Any], where: str) -> Recipe:
    duration = _get(entry, "duration", (int, float), where)
    if not (_is_seconds(duration) and duration > 0):
        raise InputError(f"{where}: duration = {duration}: must be above 0, and no more than {_LONGEST_S:.0e}")
    recipe_type = sentences.clean(str(_get(entry, "recipe_type", (str, int), where)))
    _check_text("recipe_type", recipe_type, where)
    annotations = _get(entry, "annotations", list, where)
    if not recipe_type or not annotations:
        raise InputError(f"{where}: {'no steps' if recipe_type else 'empty recipe_type'}")
    steps = tuple(_step(number, value, f"{where}, step {number}") for number, value in enumerate(annotations))
    return Recipe(video_id, subset, recipe_type, float(duration), steps)


def _step(number: int, entry: Any, where: str) -> Step:
    segment = _get(entry, "segment", list, where)
    if len(segment) != 2 or not all(type(time) in (int, float) and _is_seconds(time) for time in segment):
        raise InputError(f"{where}: segment = {segment!r}: must be two numbers of seconds")
    start, end = map(float, segment)
    if start < 0:
        raise InputError(f"{where}: starts at {start:g} s, before 0")
    if end < start:  # equal is fine: a step without length has a middle, too
        raise InputError(f"{where}: ends at {end:g} s, before its start at {start:g} s")
    sentence = sentences.clean(_get(entry, "sentence", str, where))
    if not sentence:
        raise InputError(f"{where}: empty sentence")
    _check_text("sentence", sentence, where)
    return Step(number, start, end, sentence)


def _is_seconds(value: float) -> bool:
    """Whether a number can be a time in a video; an integer in JSON may be too large for a float."""
    return abs(value) <= _LONGEST_S


def _check_text(key: str, text: str, where: str) -> None:
    """Refuse characters that CSV or UTF-8 would not keep."""
    if wrong := sentences.forbidden(text):
        raise InputError(f"{where}: {key} contains the character {wrong!r}, which is not allowed")


def summary(recipes: Sequence[Recipe]) -> dict[str, dict[str, Any]]:
    """The paper's Table 2: for each subset `recipe_types`, `videos`, `videos_per_type` and `steps`."""
    table = {}
    for subset in SUBSETS:
        chosen = [recipe for recipe in recipes if recipe.subset == subset]
        types = {recipe.recipe_type for recipe in chosen}
        table[subset] = {
            "recipe_types": len(types),
            "videos": len(chosen),
            "videos_per_type": round(len(chosen) / max(len(types), 1), 2),
            "steps": sum(len(recipe.steps) for recipe in chosen),
        }
    return table
