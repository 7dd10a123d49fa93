"""Check the parameters; check the annotations and write them in one form; count the paper's Table 2."""

from pathlib import Path

from recipevis.config import Config
from recipevis.core import files
from recipevis.data import annotations
from recipevis.data.tables.recipes import write_recipes
from stages import run


def main(parameters: Config) -> None:
    """Write `data/annotations.json` and `data/dataset.json`."""
    recipes = annotations.load(parameters.dataset)
    write_recipes(Path("data/annotations.json"), recipes)
    files.write_json(Path("data/dataset.json"), annotations.summary(recipes))


if __name__ == "__main__":
    run("annotations", main)
