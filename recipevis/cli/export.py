"""`recipevis export`: the triplets for other trainers."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from recipevis.errors import InputError


class Layout(StrEnum):
    """How the triplets are written."""

    PAIRS = "pairs"
    RECIPES = "recipes"
    WEBDATASET = "webdataset"


def export(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    layout: Annotated[
        Layout, typer.Option(help="Image folder of pairs, a folder for each recipe, or tar files of pairs.")
    ] = Layout.PAIRS,
    params: Annotated[Path, typer.Option(help="The parameter file.")] = Path("params.yaml"),
) -> None:
    """Write the triplets for other trainers: previous image, sentence, image."""
    from recipevis import config
    from recipevis.data.export import export as export_triplets
    from recipevis.data.tables.recipes import read_recipes
    from recipevis.data.tables.triplets import read_triplets
    from recipevis.sampling.plan import plan

    table = Path("data/triplets.csv")
    if not table.is_file():
        raise InputError(f"{table}: missing; `dvc repro manifest` makes it")
    parameters, triplets = config.load(params), read_triplets(table)
    recipes = read_recipes(Path("data/annotations.json"))
    steps = plan(recipes, triplets, parameters.sample.recipes)
    blank, pixels = parameters.frames.blank, parameters.frames.pixels
    counts = export_triplets(triplets, recipes, steps, blank, pixels, folder, layout.value)
    what = "recipes" if layout is Layout.RECIPES else "triplets"
    print(f"{folder}: {', '.join(f'{split} {count:,}' for split, count in counts.items())} {what}")
