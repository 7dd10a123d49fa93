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
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer
from timing import in_turn

from recipevis.cli.model import MODEL

_IMPORTS = (
    "from diffusers import AutoencoderKL, DDPMScheduler, DiffusionPipeline, UNet2DConditionModel\n"
    "from transformers import CLIPImageProcessorPil, CLIPTextModel, CLIPTokenizer, CLIPVisionModel"
)
_RECIPEVIS = [sys.executable, "-c", "from recipevis.cli import app; app()"]


def command(*words: str) -> None:
    """Run a command to its end."""
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def generate(until_picture: bool) -> None:
    """Run `generate` until its first line, or until its first picture, in a new folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe, steps = folder / "recipe.txt", folder / "steps"
        recipe.write_text("take a blue tray\nfill the tray with dough\n", encoding="utf-8")
        words = [*_RECIPEVIS, "generate", str(recipe), "--steps-dir", str(steps), "--out", str(folder / "out.png")]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            process.stdout.readline()
            while until_picture and not (steps / "step_01.png").exists():
                if process.poll() is not None:
                    raise SystemExit(f"startup: generate ended with status {process.returncode} and drew nothing")
                time.sleep(0.01)
            process.kill()


def main(rounds: Annotated[int, typer.Option(help="Number of times that each command is timed.", min=1)] = 5) -> None:
    """Time each command in turn and print the medians."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the round that is not kept writes the bytecode
    variants = {
        "imports": partial(command, sys.executable, "-c", _IMPORTS),
        "torch": partial(command, sys.executable, "-c", "import torch"),
        "--help": partial(command, *_RECIPEVIS, "--help"),
        "table1 rows": partial(command, *_RECIPEVIS, "table1", "rows"),
        "doctor": partial(command, *_RECIPEVIS, "doctor"),
        "fusers": partial(command, *_RECIPEVIS, "fusers"),
    }
    if MODEL.is_dir():
        variants |= {
            "generate: first line": partial(generate, False),
            "generate: first picture": partial(generate, True),
        }
    else:
        print(f"generate is not timed: there is no {MODEL}")
    medians = {name: median(taken) for name, taken in in_turn(variants, torch.device("cpu"), rounds).items()}
    for name, value in medians.items():
        print(f"{name:24} {value:6.2f} s, {value / medians['imports']:.2f} of the imports")
    print(json.dumps({name: round(value, 3) for name, value in medians.items()}))


if __name__ == "__main__":
    typer.run(main)
