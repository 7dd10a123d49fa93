"""`recipevis score`: score another system's images like ours, beside ours."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from recipevis.errors import InputError, ParameterError

_NEEDED = {
    "data/survivors.json": "manifest",
    "samples/samples.csv": "plan",
    "data/scenes.npz": "scenes",
    "scores/reference": "reference",
    "scores/model": "evaluate",
}


def score(
    folder: Annotated[Path, typer.Argument(help="The folder of <video_id>_<step>.png, or of a folder a mode.")],
    name: Annotated[str, typer.Option(help="The system's name; empty: the folder's.")] = "",
    params: Annotated[Path, typer.Option(help="The parameter file.")] = Path("params.yaml"),
) -> None:
    """Score the images of any system: its row in Table 1, and its paired differences to the model and baselines."""
    print(f"score: reading {folder}", flush=True)  # the imports take seconds
    from recipevis import config
    from recipevis.core import files
    from recipevis.core.devices import device
    from recipevis.data.tables.samples import read_samples
    from recipevis.data.tables.scenes import read_scenes
    from recipevis.evaluation import encoders, systems
    from recipevis.evaluation.reference import Reference
    from recipevis.evaluation.scores import Scores

    name = name or folder.resolve().name
    if not re.fullmatch(r"[\w.+-]+", name) or name.startswith("."):
        raise ParameterError(f"--name {name}: must be letters, digits and . + - _, and not begin with a point")
    for path, stage in _NEEDED.items():
        if not Path(path).exists():
            raise InputError(f"{path}: missing; `dvc repro {stage}` makes it")
    parameters, samples = config.load(params), read_samples(Path("samples/samples.csv"))
    found = systems.find(folder, samples, parameters.frames.pixels)
    truth = Reference.read(Path("scores/reference"), read_scenes(Path("data/scenes.npz")))
    loaded = encoders.load(encoders.FOLDERS, device(parameters.device))
    with tempfile.TemporaryDirectory() as work:
        scored = systems.score_system(found, samples, truth, loaded, Path(work))
    baselines, model = Scores.read(Path("scores/reference")), Scores.read(Path("scores/model"))
    result = systems.compare(scored, model, baselines, parameters.evaluate.resamples, parameters.seed)
    target = Path("systems") / name
    scored.write(target)
    data = json.loads(Path("data/survivors.json").read_text(encoding="utf-8"))["hash"]
    files.write_json(target / "evaluation.json", {"system": name, "experiment": {"data_hash": data}, **result})
    _print(name, result)
    print(f"{target}/: images.csv, sets.json, evaluation.json; `recipevis table1 show` adds the row to the table")


def _print(name: str, result: dict) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Column, Table

    from recipevis.evaluation import metrics

    named = [metric for key, metric in metrics.named().items() if metric.headline]
    for mode, groups in result["rows"].items():
        table = Table("", name, *(Column(f"minus {other}") for other in result["margins"]), box=SIMPLE, title=mode)
        for metric in named:
            if metric.name not in groups["all"]:
                continue
            differences = [result["margins"][other][mode]["all"].get(metric.name) for other in result["margins"]]
            cells = [
                _cell(groups["all"][metric.name], metric.digits),
                *(_cell(d, metric.digits, "+") for d in differences),
            ]
            table.add_row(f"{metric.heading} {metric.arrow}", *cells)
        Console(highlight=False).print(table)
    print("A difference is paired by image; it counts where its 95 % interval excludes zero.")


def _cell(entry: dict | None, digits: int, sign: str = "") -> str:
    if entry is None or entry["mean"] is None:
        return "–"
    mean = f"{entry['mean']:{sign}.{digits}f}"
    return (
        mean
        if entry["low"] is None
        else f"{mean} ({entry['low']:{sign}.{digits}f} to {entry['high']:{sign}.{digits}f})"
    )
