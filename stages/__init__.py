"""The pipeline's stages: each file loads the parameters, calls the library and writes its outputs.

`python -m stages.NAME` imports this first, so that a Python without the packages is told in one line.
"""

import importlib.util
import sys

if sys.version_info < (3, 11) or not all(
    importlib.util.find_spec(package)
    for package in (
        "accelerate",
        "av",
        "diffusers",
        "filelock",
        "pandas",
        "pydantic",
        "ruamel",
        "torch",
        "transformers",
    )
):
    print("stages: this Python lacks RecipeVis's packages; run: source .venv/bin/activate", file=sys.stderr)
    sys.exit(2)

from recipevis import arithmetic

arithmetic.fix()  # before torch is imported

import errno
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import torch

from recipevis.config import FUSERS, Config, load
from recipevis.core import files, inputs, processes
from recipevis.errors import InputError, RecipeVisError, disk_full


def run(stage: str, function: Callable[[Config], None]) -> None:
    """Check the whole parameter file and the stage's inputs, run it, note its seconds in `logs/timing.json`.

    A stage whose inputs have changed meanwhile fails. What the user can mend is told in one line on stderr and sets the
    exit status.
    """
    start = time.monotonic()
    processes.end_with_launcher()
    try:
        load(inputs.PARAMETERS)
        for path in inputs.deps(stage):
            if not path.exists():
                raise InputError(f"{path}: missing; `dvc repro {stage}` makes what comes before this stage")
        _work(stage, function)
    except RecipeVisError as error:
        _stop(stage, str(error), error.exit_status)
    except torch.OutOfMemoryError as error:
        remedy = "raise train.accumulation" if stage == "train" else f"lower {stage}.batch_size"
        _stop(stage, f"out of memory: {remedy}; {str(error).splitlines()[0]}", 3)
    except RuntimeError as error:
        if not processes.lost_another(error):
            raise
        _stop(stage, f"process {processes.rank()}: another process has ended", 1)
    except KeyboardInterrupt:
        _interrupted(stage)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _stop(stage, disk_full(error.filename or files.home()), 3)
    if not leads():
        return
    timing = Path("logs/timing.json")
    seconds = json.loads(timing.read_text()) if timing.exists() else {}
    files.write_json(timing, seconds | {stage: round(time.monotonic() - start, 2)})


def _work(stage: str, function: Callable[[Config], None]) -> None:
    """Run it, and see that its inputs are still there."""
    if leads():
        inputs.first(stage)  # before the parameters are read: a change after it is seen
    try:
        function(load(inputs.PARAMETERS))
    except files.AlreadyMade:
        print(f"{stage}: the other process has made it")
    if leads():
        inputs.require_same(stage)


def _stop(stage: str, message: str, status: int) -> NoReturn:
    print(f"{stage}: {message}", file=sys.stderr)
    sys.exit(status)


def _interrupted(stage: str) -> NoReturn:
    """End at once: a thread may be in a long pause or a long download, and loses no more than by a kill."""
    if leads():
        print(f"{stage}: interrupted; the same command goes on", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(130)


@contextmanager
def work_folder(stage: str, keep: bool = False) -> Iterator[Path]:
    """The folder of a stage's half-done work (`store.work_folder`) for the inputs that `dvc.yaml` lists.

    What DVC takes for the stage's identity is its work's identity too: the content of its `deps`, modules
    included, and the values of its `params`.
    """
    if folder := processes.given_folder():
        yield folder
        return
    begun_with = files.fingerprint((), inputs.first(stage))
    if not leads():
        yield files.work_path(stage, begun_with)
        return
    with files.work_folder(stage, begun_with, inputs.outs(stage), keep) as folder:
        yield folder


def publish(stage: str, source: Path, target: Path) -> None:
    """Move what a stage has made to where it belongs (`store.publish`), unless its inputs have changed meanwhile."""
    inputs.require_same(stage)
    files.publish(source, target)


def leads() -> bool:
    """Whether this process is the stage: alone, or the one that launched the others, or the first of those that
    something else launched. It alone holds the work folder and writes the outputs."""
    return processes.rank() == 0 and processes.given_folder() is None
