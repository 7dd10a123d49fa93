"""Checkpoints of a training run: at any moment one is whole, whatever was killed."""

import json
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate import Accelerator
from safetensors import safe_open
from torch import nn

from recipevis.core import files
from recipevis.errors import InputError

History = list[dict[str, float]]


def save(accelerator: Accelerator, work: Path, history: History) -> None:
    """Write a new checkpoint beside the older ones, rename it into place, then remove the older ones.

    All processes of a run call this; the first one moves folders.
    """
    folder, unfinished = work / f"checkpoint-{len(history):09d}", work / "unfinished"
    if accelerator.is_main_process:
        shutil.rmtree(unfinished, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(unfinished))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        files.write_json(unfinished / "history.json", history)
        unfinished.rename(folder)
        for older in sorted(work.glob("checkpoint-*"))[:-1]:
            shutil.rmtree(older)


def resume(accelerator: Accelerator, model: nn.Module, work: Path) -> History:
    """Load the newest checkpoint in `work` and return its history; without a checkpoint, an empty history.

    Args:
        accelerator: of the run.
        model: what is trained, not wrapped for several processes.
        work: the folder of the checkpoints.

    Raises:
        InputError: the checkpoint lacks a weight that is trained.
    """
    checkpoints = sorted(work.glob("checkpoint-*"))
    if not checkpoints:
        return []
    _check(model, checkpoints[-1])
    # AdamW counts its steps on the CPU. Frozen weights are not in the file.
    accelerator.load_state(str(checkpoints[-1]), map_location="cpu", strict=False)
    return json.loads((checkpoints[-1] / "history.json").read_text(encoding="utf-8"))


def _check(model: nn.Module, checkpoint: Path) -> None:
    with safe_open(checkpoint / "model.safetensors", "pt") as file:
        saved = {name.removeprefix("module.") for name in file.keys()}  # noqa: SIM118
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    if missing := [name for name in trained if name not in saved]:
        raise InputError(f"{checkpoint}: lacks the weight {missing[0]}; delete this folder to train from the start")


@contextmanager
def interrupted(wanted: bool) -> Iterator[threading.Event]:
    """Make the first Ctrl-C within the block set an event, so that the loop can save and stop; a second one interrupts.

    Args:
        wanted: False leaves Ctrl-C as it is. So does any thread but the main one, which alone receives signals.
    """
    event = threading.Event()
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
