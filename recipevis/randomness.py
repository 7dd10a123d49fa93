"""Random numbers as functions of the seed and a purpose, never of earlier draws.

A resumed run, or one on several processes, draws the same numbers as an undisturbed run on one. torch is imported only
when a function needs it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def _entropy(seed: int, keys: tuple[str | int, ...]) -> int:
    """63 bits that depend on the seed and on every key, in order."""
    text = "\0".join(map(str, (seed, *keys)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *keys: str | int) -> torch.Generator:
    """A torch generator for one purpose, e.g. `generator(seed, "noise", step, sample)`.

    It is on the CPU so that every device gets the same numbers.
    """
    import torch

    return torch.Generator().manual_seed(_entropy(seed, keys))


def numpy_generator(seed: int, *keys: str | int) -> np.random.Generator:
    """A NumPy generator for one purpose."""
    return np.random.default_rng(_entropy(seed, keys))


def permutation(length: int, seed: int, *keys: str | int) -> np.ndarray:
    """A random order of `range(length)`, int64 [length]."""
    return numpy_generator(seed, *keys).permutation(length)


@contextmanager
def seeded(seed: int, *keys: str | int) -> Iterator[None]:
    """Seed torch's global CPU generator within the block, e.g. for the weights of a new network."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_entropy(seed, keys))
        yield
