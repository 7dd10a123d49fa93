"""Check the parameters, then normalise and check the annotations; count the paper's Table 2."""

import json
from pathlib import Path

from recipevis.config import Config
from recipevis.core import files
from recipevis.data import annotations
from recipevis.data.tables.recipes import write_recipes
from recipevis.kitchen import recipes as kitchen
from stages import run


def main(parameters: Config) -> None:
    """Write `data/annotations.json` and `data/dataset.json`."""
    dataset = parameters.dataset
    if dataset.source == "kitchen":
        name = "the kitchen's annotations"
        made = kitchen.youcook2(dataset.seed, dataset.kitchen.training_videos, dataset.kitchen.validation_videos)
        content = json.dumps(made).encode()
    else:
        name = dataset.annotations
        content = annotations.fetch(name)
    recipes = annotations.parse(content, name, annotations.id_rule(dataset.source, dataset.url), dataset.limit)
    write_recipes(Path("data/annotations.json"), recipes)
    files.write_json(Path("data/dataset.json"), annotations.summary(recipes))


if __name__ == "__main__":
    run("annotations", main)
