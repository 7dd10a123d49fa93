"""`recipevis export`: the triplets as an image folder for other trainers."""

from pathlib import Path
from typing import Annotated

import typer

from recipevis.errors import InputError


def export(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    params: Annotated[Path, typer.Option(help="The parameter file.")] = Path("params.yaml"),
) -> None:
    """Write the triplets as an image folder that `datasets` loads: input_image, edit_prompt, edited_image."""
    from recipevis import config
    from recipevis.data.export import export as export_triplets
    from recipevis.data.tables.recipes import read_recipes
    from recipevis.data.tables.triplets import read_triplets
    from recipevis.sampling.plan import plan

    table = Path("data/triplets.csv")
    if not table.is_file():
        raise InputError(f"{table}: missing; `dvc repro manifest` makes it")
    parameters, triplets = config.load(params), read_triplets(table)
    steps = plan(read_recipes(Path("data/annotations.json")), triplets, parameters.sample.recipes)
    counts = export_triplets(triplets, steps, parameters.frames.blank, parameters.frames.pixels, folder)
    print(f"{folder}: {', '.join(f'{split} {count:,}' for split, count in counts.items())} triplets")
