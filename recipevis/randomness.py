"""Every random number as a function of what it is for, never of what was drawn before.

So a resumed run, or one spread over processes, draws the same numbers as an undisturbed single one.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def _entropy(seed: int, keys: tuple[str | int, ...]) -> int:
    """63 bits that depend on the seed and on every key, in order."""
    text = "\0".join(map(str, (seed, *keys)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *keys: str | int) -> torch.Generator:
    """A CPU generator for one purpose, e.g. `generator(seed, "noise", step, sample)`.

    It is on the CPU so that every device is given the same numbers.
    """
    return torch.Generator().manual_seed(_entropy(seed, keys))


def numpy_generator(seed: int, *keys: str | int) -> np.random.Generator:
    """The same for numpy."""
    return np.random.default_rng(_entropy(seed, keys))


def permutation(length: int, seed: int, *keys: str | int) -> np.ndarray:
    """A random order of `range(length)`, int64 [length]."""
    return numpy_generator(seed, *keys).permutation(length)


@contextmanager
def seeded(seed: int, *keys: str | int) -> Iterator[None]:
    """Within the block torch's own CPU generator is seeded for one purpose, e.g. the weights of a new network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_entropy(seed, keys))
        yield
