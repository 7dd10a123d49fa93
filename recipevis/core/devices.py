"""The device that a stage computes on, and what it can do. torch is imported only when a device is asked for."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from recipevis.core import processes
from recipevis.errors import ParameterError

if TYPE_CHECKING:
    import torch


def device(name: str) -> torch.device:
    """The torch device for the parameter `device`.

    Args:
        name: cpu, mps, cuda, cuda:<number>, or auto: a GPU if this machine has one, else the CPU. Where a stage runs
            on several processes, `cuda` gives each its own GPU.

    Raises:
        ParameterError: this machine, or this build of torch, has no such device.
    """
    import torch

    available = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if available[kind])
    if name == "cuda" and processes.local_rank() is not None:
        name = f"cuda:{processes.local_rank()}"
    form = re.fullmatch("([a-z]+)(?::([0-9]+))?", name)
    kind, index = form.groups() if form else (name, None)
    if int(index or 0) >= available.get(kind, 0):
        present = ", ".join(kind for kind, count in available.items() if count)
        raise ParameterError(f"device = {name!r}: not on this machine; it has {present}")
    if kind == "cuda" and index:
        torch.cuda.set_device(int(index))  # accelerate uses the current one
    return torch.device(name)


def check_training(device: torch.device, precision: str, processes: int) -> None:
    """Check that a device can train in this precision on this many processes.

    Args:
        device: where the training runs.
        precision: fp32, bf16 or fp16, as in `train.precision`.
        processes: as in `train.processes`.

    Raises:
        ParameterError: it can't; the message says what it can do.
    """
    if processes > 1 and device.type == "mps":
        raise ParameterError(f"train.processes = {processes}: an Apple GPU serves one process only")
    _check_precision(device, precision, "train.precision")


def check_sampling(device: torch.device, precision: str) -> None:
    """Check that a device can generate in this precision.

    Args:
        device: where the images are generated.
        precision: fp32 or bf16, as in `sample.precision`.

    Raises:
        ParameterError: it can't, or there is no such precision; the message says which there are.
    """
    if precision not in ("fp32", "bf16"):
        raise ParameterError(f"sample.precision = {precision!r}: must be fp32 or bf16")
    _check_precision(device, precision, "sample.precision")


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """A context in which matrix products and convolutions run in this precision; weights stay fp32.

    Args:
        device: where they run.
        precision: fp32, bf16 or fp16.
    """
    import torch

    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def _check_precision(device: torch.device, precision: str, key: str) -> None:
    if precision == "fp16" and device.type == "cpu":
        raise ParameterError(f"{key} = 'fp16': a CPU supports fp32 and bf16 only")
    if precision == "bf16" and device.type == "cuda":
        import torch

        if not torch.cuda.is_bf16_supported(including_emulation=False):
            raise ParameterError(f"{key} = 'bf16': this GPU doesn't support it; choose another")
