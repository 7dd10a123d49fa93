"""`recipevis table1`: the paper's Table 1: run what is missing, show what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recipevis.errors import ParameterError

table1 = typer.Typer(help="The paper's Table 1: run what is missing of it, and show it.", no_args_is_help=True)
_SYSTEMS = Path("systems")
_PRINTED = ("psnr", "ssim", "clip_l2", "image_encoder_cosine", "step_faithfulness")


@table1.command()
def run(
    seeds: Annotated[str, typer.Option(help="Seeds of the trainings, with commas.")] = "0",
    rows: Annotated[
        str,
        typer.Option(
            help="Rows or kinds (paper, control, method, own), with commas; empty: all. `recipevis table1 rows` lists "
            "them."
        ),
    ] = "",
    gpus: Annotated[str, typer.Option(help="Numbers of GPUs, with commas: one process each.")] = "",
    cycle_weight: Annotated[
        float | None,
        typer.Option(help="Weight of the cycle loss in the rows that have it; default: the parameter file's, or 0.1."),
    ] = None,
    settings: Annotated[list[str], typer.Option("--set", help="key=value, a parameter of all rows.")] = (),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would run.")] = False,
) -> None:
    """Run the experiments that are missing or stale, each in a clone; the workspace stays as it is."""
    from recipevis.cli.queue import check
    from recipevis.table1 import rows as table_rows
    from recipevis.table1 import runner

    runs = runner.plan(table_rows.select(_words(rows)), _numbers(seeds), cycle_weight, settings)
    if not runs:
        print("table1: every experiment is there; `recipevis table1 show` shows them")
        return
    for one in runs:
        if settings:  # those of the rows are right
            check(one.settings)
        print(f"{one.name}: {one.why}")
    if dry_run:
        return
    if failed := runner.run(runs, _words(gpus) or []):
        names = ", ".join(one.name for one in failed)
        print(f"table1: {len(failed)} of {len(runs)} failed: {names}; their logs are in {runner.LOGS}/")
        raise typer.Exit(1)
    print(f"table1: {len(runs)} experiments ended well; `recipevis table1 show` shows them")


@table1.command()
def show(
    seeds: Annotated[str, typer.Option(help="Seeds, with commas; empty: all that are there.")] = "",
    rows: Annotated[str, typer.Option(help="Rows or kinds, with commas; empty: all.")] = "",
    out: Annotated[Path, typer.Option(help="The folder for the table in all its formats.")] = Path("table1"),
) -> None:
    """Collect the experiments and write table.md, table.csv, comparisons.csv, table.tex and index.html."""
    from recipevis.core import files
    from recipevis.table1 import experiments, render, table
    from recipevis.table1 import rows as table_rows

    chosen = table_rows.select(_words(rows))
    known = experiments.commits()
    wanted = [
        (row, seed)
        for row in chosen
        if row.fuser is not None
        for seed in (_numbers(seeds) if seeds else experiments.seeds(row, known) or [0])
    ]
    made = table.build(*experiments.collect(wanted), table.read_systems(_SYSTEMS), chosen)
    written = {
        "table.md": render.markdown(made),
        "table.csv": table.dump(made),
        "comparisons.csv": table.dump_comparisons(made),
        "table.tex": render.latex(made),
        "index.html": render.page(made),
    }
    for name, text in written.items():
        files.write_text(out / name, text)
    _print(render.view(made))
    print(f"{out}/: {', '.join(written)}")


@table1.command("rows")
def list_rows() -> None:
    """List the rows of the table."""
    from recipevis.table1.rows import ROWS

    for row in ROWS:
        needs = "no training of its own" if row.fuser is None else f"fuser={row.fuser}"
        more = (
            [", cycle loss"] * row.cycle
            + [", previous latent"] * row.previous_latent
            + [", first latent"] * row.first_latent
        )
        more += [", appended"] * (row.condition == "append") + [f", {row.scheduler}"] * (row.scheduler != "ddpm")
        print(f"{row.key:24} {row.label:42} {needs}{''.join(more)}")


def _print(shown: dict) -> None:
    """The autoregressive table over all steps, some means only; without the controls within rows."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Column, Table

    part = shown["sections"][0]["parts"][0]
    columns = [number for number, column in enumerate(part["columns"]) if column.name in _PRINTED]
    headings = [Column(_heading(part["columns"][number]), justify="right", min_width=6) for number in columns]
    title = shown["sections"][0]["title"]
    printed = Table("", *headings, Column("paper", min_width=15), box=SIMPLE, title=title, padding=(0, 1, 0, 0))
    for line in part["lines"]:
        if line["is_within"]:
            continue
        cells = [line["cells"][number] for number in columns]
        printed.add_row(
            line["label"], *(cell["mean"] + cell["mark"] for cell in cells), "/".join(filter(None, line["paper"]))
        )
    console = Console(highlight=False)
    console.print(printed)
    for text in (*shown["notes"], *shown["cycle"], *(f"missing: {line}" for line in shown["missing"])):
        console.print(f"- {text}", soft_wrap=True, markup=False)


def _heading(column) -> str:
    return f"{column.heading} {column.arrow}".replace("image encoder", "image enc.").replace("faithfulness", "faithf.")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(word) for word in _words(text)]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 0:
        raise ParameterError(f"--seeds {text}: must be numbers from 0 on, with commas")
    return numbers
