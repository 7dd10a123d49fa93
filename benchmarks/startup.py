"""Compare the time until a command answers with that of the imports of its libraries alone.

    python benchmarks/startup.py

The commands run in turn, round after round, each in a process of its own with bytecode cached. `generate` is timed
until its first line and until its first picture; it needs models/recipevis. `imports` is what a program waits for that
imports the classes of our pipeline from diffusers and transformers, and nothing of ours.

The last line is a JSON object: medians in seconds.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

_IMPORTS = (
    "from diffusers import AutoencoderKL, DDPMScheduler, DiffusionPipeline, UNet2DConditionModel\n"
    "from transformers import CLIPImageProcessorPil, CLIPTextModel, CLIPTokenizer, CLIPVisionModel"
)
_RECIPEVIS = [sys.executable, "-c", "from recipevis.cli import app; app()"]
_MODEL = Path("models/recipevis")


def seconds(command: list[str]) -> float:
    """How long a command takes."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def first_picture(folder: Path) -> tuple[float, float]:
    """How long `generate` takes until its first line and until its first picture, in a new folder."""
    recipe, steps = folder / "recipe.txt", folder / "steps"
    recipe.write_text("take a blue tray and set it on the red counter\nfill the tray with dough\n", encoding="utf-8")
    command = [*_RECIPEVIS, "generate", str(recipe), "--steps-dir", str(steps), "--out", str(folder / "out.png")]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdout.readline()
        said = time.perf_counter() - start
        while not (steps / "step_01.png").exists():
            if process.poll() is not None:
                raise SystemExit(f"startup: generate ended with status {process.returncode} and drew nothing")
            time.sleep(0.01)
        drawn = time.perf_counter() - start
        process.stdout.read()
    return said, drawn


def main(rounds: Annotated[int, typer.Option(help="Number of times that each command is timed.", min=1)] = 5) -> None:
    """Time each command in turn and print the medians."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    commands = {
        "imports": [sys.executable, "-c", _IMPORTS],
        "torch": [sys.executable, "-c", "import torch"],
        "--help": [*_RECIPEVIS, "--help"],
        "table1 rows": [*_RECIPEVIS, "table1", "rows"],
        "doctor": [*_RECIPEVIS, "doctor", "--params", "params.yaml"],
        "fusers": [*_RECIPEVIS, "fusers"],
    }
    taken: dict[str, list[float]] = {}
    for number in range(rounds + 1):  # the first round writes the bytecode
        found = {name: seconds(command) for name, command in commands.items()}
        if _MODEL.is_dir():
            with tempfile.TemporaryDirectory() as folder:
                found["generate: first line"], found["generate: first picture"] = first_picture(Path(folder))
        for name, value in found.items() if number else ():
            taken.setdefault(name, []).append(value)
    medians = {name: median(values) for name, values in taken.items()}
    for name, value in medians.items():
        print(f"{name:24} {value:6.2f} s, {value / medians['imports']:.2f} of the imports")
    if not _MODEL.is_dir():
        print(f"generate was not timed: there is no {_MODEL}")
    print(json.dumps({name: round(value, 3) for name, value in medians.items()}))


if __name__ == "__main__":
    typer.run(main)
