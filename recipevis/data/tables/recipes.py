"""`data/annotations.json`: the checked recipes, as the stage `annotations` writes them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from recipevis.core import files
from recipevis.errors import InputError

SUBSETS = ("training", "validation")


@dataclass(frozen=True)
class Step:
    """One step of a recipe.

    Attributes:
        step: position in the recipe, from 0.
        start_s: seconds after the first shown frame.
        end_s: the same, at or after `start_s`. Steps may overlap.
        sentence: the instruction, without outer whitespace.
    """

    step: int
    start_s: float
    end_s: float
    sentence: str

    @property
    def middle_s(self) -> float:
        """The time of the step's frame (A.1), seconds."""
        return (self.start_s + self.end_s) / 2


@dataclass(frozen=True)
class Recipe:
    """One annotated video; `subset` is one of `SUBSETS`."""

    video_id: str
    subset: str
    recipe_type: str
    duration_s: float
    steps: tuple[Step, ...]


def write_recipes(path: Path, recipes: Sequence[Recipe]) -> None:
    """Write recipes as JSON."""
    files.write_json(path, [asdict(recipe) for recipe in recipes])


def read_recipes(path: Path) -> list[Recipe]:
    """Read what `write_recipes` wrote.

    Raises:
        InputError: the file is missing, or in another form.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return [Recipe(**entry | {"steps": tuple(Step(**step) for step in entry["steps"])}) for entry in entries]
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}; the stage `annotations` writes it") from error
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: not written by the stage `annotations`: {error}") from error
