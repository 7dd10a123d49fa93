"""Run the toy kitchen's experiments and print the tables of docs/demo.md.

    python -m scripts.kitchen_tables seeds
    python -m scripts.kitchen_tables fusers
    python -m scripts.kitchen_tables cycle
    cp params/kitchen-large.yaml params.yaml; python -m scripts.kitchen_tables large

Each experiment is a `dvc exp run` in the workspace. It leaves its parameters there: `git checkout params.yaml` brings
the committed ones back. DVC restores in seconds what ran before. The reports of each experiment are kept below --out.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import typer

from recipevis.config import FUSERS
from recipevis.evaluation import intervals, metrics, rows
from recipevis.fusers.base import fuser_class

SHOWN = ("psnr", "ssim", "clip_l2", "encoder_l2")
COMPARED = ("attend_to_image", "baseline", "text_only")
CYCLED = ("attend_to_image", "baseline")
GRIDS = {
    "seeds": [(fuser, seed, 0) for seed in range(3) for fuser in COMPARED],  # fuser, seed, cycle.weight
    "fusers": [(fuser, 0, 0) for fuser in FUSERS],
    "cycle": [(fuser, 0, weight) for fuser in CYCLED for weight in (0, 0.1)],
    "large": [(fuser, 0, 0) for fuser in COMPARED],
}
RESAMPLES = 2000  # of the intervals of differences
FILES = ("reports/evaluation.json", "reports/images.csv", "models/trained/training.json")


def main(
    grid: Annotated[Literal[*GRIDS], typer.Argument(help="which experiments")],
    out: Annotated[Path, typer.Option(help="folder for the reports")] = Path("build/kitchen-tables"),
) -> None:
    """Run a grid, then print its tables as Markdown."""
    folders = [_run(*settings, out / grid) for settings in GRIDS[grid]]
    runs = [json.loads((folder / "evaluation.json").read_text()) for folder in folders]
    weights = [json.loads((folder / "training.json").read_text())["fuser_parameters"] for folder in folders]
    images = [pd.read_csv(folder / "images.csv") for folder in folders]
    for group in rows.GROUPS:
        for mode in rows.MODES:
            print(f"\n{mode}, {group}\n")
            print(_table(runs, weights, mode, group, grid))
    if grid in ("seeds", "large"):
        print(_differences(runs, images))


def _run(fuser: str, seed: int, cycle_weight: float, out: Path) -> Path:
    """Run an experiment and keep its reports; returns their folder."""
    settings = (f"fuser={fuser}", f"seed={seed}", f"cycle.weight={cycle_weight:g}")
    subprocess.run(["dvc", "exp", "run", *(word for setting in settings for word in ("-S", setting))], check=True)
    folder = out / f"{fuser}-seed{seed}-cycle{cycle_weight:g}"
    folder.mkdir(parents=True, exist_ok=True)
    for file in FILES:
        shutil.copy(file, folder)
    return folder


def _headings() -> str:
    named = metrics.named()
    return " | ".join(named[name].heading for name in SHOWN)


def _table(runs: list[dict], weights: list[int], mode: str, group: str, grid: str) -> str:
    """A row per fuser or experiment and its control, then one per baseline and upper bound; means over seeds."""
    lines = {}
    for run, count in zip(runs, weights, strict=True):
        about = run["experiment"]
        name = about["fuser"] + (f", cycle {about['cycle_weight']:g}" if grid == "cycle" else "")
        labels = {"model": name}
        if fuser_class(about["fuser"]).uses_image:
            labels |= {row: f"{name}, wrong image" for row in rows.of_kind(rows.CONTROL)}
        for row, label in labels.items():
            lines.setdefault(label, (f"{count:,}", []))[1].append(_means(run, row, mode, group))
    for row in (*rows.of_kind(rows.BASELINE), *rows.of_kind(rows.UPPER_BOUND)):
        lines[row] = ("", [_means(run, row, mode, group) for run in runs])
    table = [f"| | weights | {_headings()} |", "|---|" + "---|" * (len(SHOWN) + 1)]
    for name, (count, values) in lines.items():
        table.append(f"| {name} | {count} | {' | '.join(_cell(column) for column in np.transpose(values))} |")
    return "\n".join(table)


def _means(run: dict, row: str, mode: str, group: str) -> list[float]:
    return [run["rows"][row][mode][group][metric]["mean"] for metric in SHOWN]


def _cell(values: np.ndarray) -> str:
    """The mean over seeds, and the smallest and largest value if they differ."""
    digits = 3 if np.abs(values).max() < 1 else 2
    mean, smallest, largest = (f"{value:.{digits}f}" for value in (values.mean(), values.min(), values.max()))
    return mean if smallest == largest else f"{mean} ({smallest} to {largest})"


def _differences(runs: list[dict], images: list[pd.DataFrame]) -> str:
    """`attend_to_image` minus each other fuser, baseline or control on the same images, with paired intervals."""
    names = [(run["experiment"]["fuser"], run["experiment"]["seed"]) for run in runs]
    tables = {
        name: {image_set: table.set_index("sample_id") for image_set, table in scored.groupby("picture")}
        for name, scored in zip(names, images, strict=True)
    }
    lines = ["", f"| minus | seed | mode | steps | {_headings()} |", "|---|" + "---|" * 7]
    for (fuser, seed), theirs in tables.items():
        own = tables["attend_to_image", seed]
        for mode in rows.MODES:
            others = {fuser: theirs[mode]}
            if fuser == "attend_to_image":
                others = {row: own[row] for row in (rows.COPY_PREVIOUS, *rows.of_kind(rows.CONTROL))}
            for name, other in others.items():
                for group, first in rows.GROUPS.items():
                    entry = intervals.paired(own[mode], other, SHOWN, first, RESAMPLES, 0)
                    cells = [
                        f"{entry[m]['mean']:+.3g} ({entry[m]['low']:+.3g} to {entry[m]['high']:+.3g})" for m in SHOWN
                    ]
                    lines.append(f"| {name} | {seed} | {mode} | {group} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
