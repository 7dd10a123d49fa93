"""What a training run can be resumed from: at any moment one whole checkpoint, whatever was killed."""

import json
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate import Accelerator

from recipevis.core import files

History = list[dict[str, float]]


def save(accelerator: Accelerator, work: Path, history: History) -> None:
    """Write the accelerator's state and the history beside, rename them, and only then remove the older ones.

    All processes of a run call it; the first one moves folders.
    """
    folder, beside = work / f"checkpoint-{len(history):09d}", work / "unfinished"
    if accelerator.is_main_process:
        shutil.rmtree(beside, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(beside))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        files.write_json(beside / "history.json", history)
        beside.rename(folder)
        for older in sorted(work.glob("checkpoint-*"))[:-1]:
            shutil.rmtree(older)


def resume(accelerator: Accelerator, work: Path) -> History:
    """Load the newest checkpoint in `work` and return its history; without one nothing, and an empty history."""
    checkpoints = sorted(work.glob("checkpoint-*"))
    if not checkpoints:
        return []
    accelerator.load_state(str(checkpoints[-1]), map_location="cpu")  # AdamW counts its steps there
    return json.loads((checkpoints[-1] / "history.json").read_text(encoding="utf-8"))


@contextmanager
def interrupted(wanted: bool) -> Iterator[threading.Event]:
    """Within the block a first Ctrl-C sets the event, so that what is done can be saved; a second one interrupts.

    Unless it is `wanted`, and outside the main thread, which alone is told of signals, Ctrl-C is as ever.
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
