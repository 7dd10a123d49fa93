"""Run the toy kitchen's experiments and print docs/demo.md's tables.

    python -m scripts.kitchen_tables seeds
    python -m scripts.kitchen_tables fusers
    python -m scripts.kitchen_tables cycle
    cp params/kitchen-large.yaml params.yaml; python -m scripts.kitchen_tables large

Each experiment is a `dvc exp run` in the workspace, which keeps its parameters (`git checkout params.yaml`); DVC brings
back in seconds what was run before. What each reported is left below --out.
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
from recipevis.evaluation import scores

METRICS = {"psnr": "PSNR, dB", "ssim": "SSIM", "clip_l2": "CLIP L2", "encoder_l2": "second CLIP L2"}
COMPARED = ("attend_to_image", "baseline", "text_only")
CYCLED = ("attend_to_image", "baseline")
GRIDS = {
    "seeds": [(fuser, seed, 0) for seed in range(3) for fuser in COMPARED],  # fuser, seed, cycle.weight
    "fusers": [(fuser, 0, 0) for fuser in FUSERS],
    "cycle": [(fuser, 0, weight) for fuser in CYCLED for weight in (0, 0.1)],
    "large": [(fuser, 0, 0) for fuser in COMPARED],
}
RESAMPLES = 2000  # of the intervals of differences
FILES = ("reports/evaluation.json", "reports/images.csv", "models/recipevis/training.json")


def main(
    grid: Annotated[Literal[*GRIDS], typer.Argument(help="which experiments")],
    out: Annotated[Path, typer.Option(help="folder for what was reported")] = Path("build/kitchen-tables"),
) -> None:
    """Run a grid, then print its tables as Markdown."""
    folders = [_run(*settings, out / grid) for settings in GRIDS[grid]]
    runs = [json.loads((folder / "evaluation.json").read_text()) for folder in folders]
    weights = [json.loads((folder / "training.json").read_text())["fuser_parameters"] for folder in folders]
    images = [pd.read_csv(folder / "images.csv") for folder in folders]
    for group in scores.GROUPS:
        for mode in scores.MODES:
            print(f"\n{mode}, {group}\n")
            print(_table(runs, weights, mode, group, grid))
    if grid in ("seeds", "large"):
        print(_differences(runs, images))


def _run(fuser: str, seed: int, cycle_weight: float, out: Path) -> Path:
    """Run an experiment; the folder with what it reported."""
    settings = (f"fuser={fuser}", f"seed={seed}", f"cycle.weight={cycle_weight:g}")
    subprocess.run(["dvc", "exp", "run", *(word for setting in settings for word in ("-S", setting))], check=True)
    folder = out / f"{fuser}-seed{seed}-cycle{cycle_weight:g}"
    folder.mkdir(parents=True, exist_ok=True)
    for file in FILES:
        shutil.copy(file, folder)
    return folder


def _table(runs: list[dict], weights: list[int], mode: str, group: str, grid: str) -> str:
    """A row an experiment (over seeds: a row a fuser), and over all of them one a floor and the ceiling."""
    rows = {}
    for run, count in zip(runs, weights, strict=True):
        about = run["experiment"]
        name = about["fuser"] + (f", cycle {about['cycle_weight']:g}" if grid == "cycle" else "")
        controls = scores.CONTROLS if FUSERS[about["fuser"]].sees_image else ()
        for row in ("model", *controls):
            label = name if row == "model" else f"{name}, wrong image"
            values = [run["rows"][row][mode][group][metric]["mean"] for metric in METRICS]
            rows.setdefault(label, (count, []))[1].append(values)
    for row in (*scores.FLOORS, *scores.CEILING):
        values = [[run["rows"][row][mode][group][metric]["mean"] for metric in METRICS] for run in runs]
        rows[row] = ("", values)
    lines = [f"| | weights | {' | '.join(METRICS.values())} |", "|---|" + "---|" * (len(METRICS) + 1)]
    for name, (count, values) in rows.items():
        cells = [_cell(column) for column in np.transpose(values)]
        lines.append(f"| {name} | {count if count == '' else f'{count:,}'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(values: np.ndarray) -> str:
    """The mean, and where it varies over seeds the least and the greatest."""
    digits = 3 if np.abs(values).max() < 1 else 2
    mean, least, greatest = (f"{value:.{digits}f}" for value in (values.mean(), values.min(), values.max()))
    return mean if least == greatest else f"{mean} ({least} to {greatest})"


def _differences(runs: list[dict], images: list[pd.DataFrame]) -> str:
    """`attend_to_image` minus each other on the same images, with paired intervals over videos, seed by seed."""
    names = [(run["experiment"]["fuser"], run["experiment"]["seed"]) for run in runs]
    tables = {
        name: {picture: table.set_index("sample_id") for picture, table in scores.groupby("picture")}
        for name, scores in zip(names, images, strict=True)
    }
    lines = ["", f"| minus | seed | drawing | steps | {' | '.join(METRICS.values())} |", "|---|" + "---|" * 7]
    for (fuser, seed), theirs in tables.items():
        own = tables["attend_to_image", seed]
        for mode in scores.MODES:
            others = (
                {fuser: theirs[mode]}
                if fuser != "attend_to_image"
                else {row: own[row] for row in ("copy_previous", *scores.CONTROLS)}
            )
            for name, other in others.items():
                for group, first in scores.GROUPS.items():
                    entry = scores.paired(own[mode], other, first, RESAMPLES, 0)
                    cells = [
                        f"{entry[m]['mean']:+.3g} ({entry[m]['low']:+.3g} to {entry[m]['high']:+.3g})" for m in METRICS
                    ]
                    lines.append(f"| {name} | {seed} | {mode} | {group} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
