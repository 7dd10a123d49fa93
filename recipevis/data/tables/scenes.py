"""`data/scenes.npz`: what is known of each validation step's scene, as questions about its image.

Only the toy kitchen knows its scenes. For other sources the file is empty.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recipevis.core import files
from recipevis.errors import InputError

COUNTER, VESSEL, NEW, OLD = KINDS = ("counter", "vessel", "new", "old")


@dataclass(frozen=True)
class Question:
    """One question about an image: which of some pictures is it most like, where these differ?

    Attributes:
        kind: `counter` or `vessel`: its colour; `new`: whether the ingredient that the step adds is there; `old`:
            whether one that was added before still is.
        name: the right colour, or the ingredient.
        positions: the pixels that tell the pictures apart, as indices into the flattened image, int32 [m].
        options: these pixels in each picture, uint8 [k, m, 3].
        right: the number of the right picture.
    """

    kind: str
    name: str
    positions: np.ndarray
    options: np.ndarray
    right: int


def write_scenes(path: Path, scenes: Mapping[str, Sequence[Question]]) -> None:
    """Write the questions of each sample."""
    index, positions, options = [], [], []
    for sample_id, questions in scenes.items():
        for one in questions:
            count = one.options.shape[:2]
            index.append(
                {"sample_id": sample_id, "kind": one.kind, "name": one.name, "right": one.right, "count": count}
            )
            positions.append(one.positions.astype(np.int32))
            options.append(one.options.reshape(-1, 3))
    arrays = {
        "index": np.array(json.dumps(index)),
        "positions": np.concatenate([np.zeros(0, np.int32), *positions]),
        "options": np.concatenate([np.zeros((0, 3), np.uint8), *options]),
    }
    with files.replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_scenes(path: Path) -> dict[str, list[Question]]:
    """The questions of each sample, by `sample_id`; empty where nothing is known.

    Raises:
        InputError: the file can't be read.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            index, positions, options = json.loads(str(arrays["index"])), arrays["positions"], arrays["options"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: can't be read as a table of scenes: {error}") from error
    scenes: dict[str, list[Question]] = {}
    first, start = 0, 0
    for entry in index:
        k, m = entry["count"]
        question = Question(
            entry["kind"],
            entry["name"],
            positions[first : first + m],
            options[start : start + k * m].reshape(k, m, 3),
            entry["right"],
        )
        scenes.setdefault(entry["sample_id"], []).append(question)
        first, start = first + m, start + k * m
    return scenes
