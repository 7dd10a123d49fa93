"""Runs a stage: checks its parameters and inputs, gives it a work folder, publishes its results, ends in one line.

Exit status: 0 for success, 2 for a wrong parameter or input, 3 for lack of memory, disk or videos, 130 for Ctrl-C.
"""

import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TypeVar

from recipevis.core import files, inputs, processes, work
from recipevis.errors import InputError, RecipeVisError, disk_full

_TIMING = Path("logs/timing.json")
_SAVES_MEMORY = {  # what to do when a stage runs out of memory
    "embed": "lower embed.batch_size",
    "train": "raise train.accumulation",
    "baselines": "lower sample.batch_size",
    "sample": "lower sample.batch_size",
}
_Config = TypeVar("_Config")


def run(load: Callable[[Path], _Config], stage: str, main: Callable[[_Config], None]) -> None:
    """Run a stage and note its seconds in `logs/timing.json`.

    A stage whose inputs change while it runs fails. An error that the user can fix is one line on stderr, and sets the
    exit status.

    Args:
        load: reads and checks the parameter file.
        stage: name in `dvc.yaml`.
        main: the stage; gets what `load` returns.
    """
    start = time.monotonic()
    processes.end_with_launcher()
    try:
        _work(load, stage, main)
    except RecipeVisError as error:
        _stop(stage, str(error), error.exit_status)
    except RuntimeError as error:
        if is_out_of_memory(error):
            advice = _SAVES_MEMORY.get(stage, "free memory, or set device: cpu")
            _stop(stage, f"out of memory: {advice}; {str(error).splitlines()[0]}", 3)
        if processes.lost_another(error):
            _stop(stage, f"process {processes.rank()}: another process has ended", 1)
        raise
    except KeyboardInterrupt:
        _interrupted(stage)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _stop(stage, disk_full(error.filename or files.home()), 3)
    if leads():
        seconds = json.loads(_TIMING.read_text(encoding="utf-8")) if _TIMING.exists() else {}
        files.write_json(_TIMING, seconds | {stage: round(time.monotonic() - start, 2)})


def _work(load: Callable[[Path], _Config], stage: str, main: Callable[[_Config], None]) -> None:
    if leads():
        inputs.at_start(stage)  # before the parameters are loaded, so that no later change goes unseen
    config = load(inputs.PARAMETERS)
    for path in inputs.deps(stage):
        if not path.exists():
            raise InputError(f"{path}: missing; `dvc repro {stage}` runs the stages that make it")
    try:
        main(config)
    except work.AlreadyMade:
        print(f"{stage}: another process has already written the outputs")
    if leads():
        inputs.require_unchanged(stage)


@contextmanager
def work_folder(stage: str, keep: bool = False) -> Iterator[Path]:
    """The folder for a stage's half-done work, see `work.work_folder`.

    A process that another one launched gets the launcher's folder.
    """
    if folder := processes.given_folder():
        yield folder
        return
    begun = inputs.at_start(stage)
    if not leads():
        yield work.work_path(stage, begun.key())
        return
    outs, committed = inputs.outs(stage), inputs.committed(stage) if keep else work.NOTHING
    with work.work_folder(stage, begun.key(), begun.code, outs, keep, committed) as folder:
        yield folder


def publish(stage: str, source: Path, target: Path) -> None:
    """Move a stage's result to its place, unless the stage's inputs have changed since it started."""
    inputs.require_unchanged(stage)
    files.publish(source, target)


def leads() -> bool:
    """True on the process that owns the work folder and writes the outputs."""
    return processes.rank() == 0 and processes.given_folder() is None


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch ran out of memory. Most stages never import torch, and this doesn't either."""
    torch = sys.modules.get("torch")
    return torch is not None and (isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error))


def _stop(stage: str, message: str, status: int) -> NoReturn:
    print(f"{stage}: {message}", file=sys.stderr)
    sys.exit(status)


def _interrupted(stage: str) -> NoReturn:
    """End at once, without waiting for threads that pause or download: a kill loses no finished work either."""
    if leads():
        print(f"{stage}: interrupted; rerun the same command to resume", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(130)
