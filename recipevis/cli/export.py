"""`recipevis export`: the triplets for other trainers."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from recipevis.errors import InputError


def export(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    layout: Annotated[
        Literal["pairs", "recipes", "webdataset"],
        typer.Option(help="Image folder of pairs, a folder for each recipe, or tar files of pairs."),
    ] = "pairs",
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
    counts = export_triplets(triplets, recipes, steps, blank, pixels, folder, layout)
    what = "recipes" if layout == "recipes" else "triplets"
    print(f"{folder}: {', '.join(f'{split} {count:,}' for split, count in counts.items())} {what}")
