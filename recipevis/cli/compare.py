"""`recipevis compare`: a page that compares DVC experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    experiments: Annotated[
        list[str],
        typer.Argument(metavar="EXP", help="Experiments or revisions of git; `workspace`: what is there now."),
    ],
    out: Annotated[Path, typer.Option(help="Where the page goes.")] = Path("compare.html"),
    recipes: Annotated[int, typer.Option(min=0, help="How many recipes to show: those that differ most.")] = 12,
) -> None:
    """Compare experiments on one page: parameters, scores with paired differences, the same recipes, a slider."""
    print(f"compare: reading {', '.join(experiments)}", flush=True)  # the imports take seconds
    from recipevis.compare.experiments import read_all
    from recipevis.compare.page import page
    from recipevis.core import files
    from recipevis.errors import InputError

    found = read_all(experiments)
    try:
        files.write_text(out, page(found, recipes))
    except OSError as error:
        raise InputError(f"{out}: can't be written: {error.strerror or error}") from error
    print(f"{out}: {', '.join(one.name for one in found)}; open it in a browser")
