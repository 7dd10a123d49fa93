"""`recipevis export`: the triplets as an image folder for other trainers."""

from pathlib import Path
from typing import Annotated

import typer

from recipevis.errors import InputError


def export(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    params: Annotated[Path, typer.Option(help="The parameter file.")] = Path("params.yaml"),
) -> None:
    """Write the triplets as an image folder that `datasets` loads: original_image, edit_prompt, edited_image."""
    from recipevis import config
    from recipevis.data.export import export as export_triplets
    from recipevis.data.tables.triplets import read_triplets

    table = Path("data/triplets.csv")
    if not table.is_file():
        raise InputError(f"{table}: missing; `dvc repro manifest` makes it")
    frames = config.load(params).frames
    counts = export_triplets(read_triplets(table), frames.blank, frames.pixels, folder)
    print(f"{folder}: {', '.join(f'{split} {count:,}' for split, count in counts.items())} triplets")
