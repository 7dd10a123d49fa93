"""Timing variants of one piece of work in turn, so that a busy machine slows them alike."""

import time
from collections.abc import Callable, Mapping

import torch


def in_turn(variants: Mapping[str, Callable[[], object]], device: torch.device, rounds: int) -> dict[str, list[float]]:
    """Seconds of each variant in each round. Each round starts with another variant; the first round is not kept.

    Args:
        variants: what to time, by name.
        device: is waited for after each.
        rounds: that are kept.
    """
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 1):
        turn = [*variants.items()]
        for name, work in turn[number % len(turn) :] + turn[: number % len(turn)]:
            start = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if number:
                taken[name].append(time.perf_counter() - start)
    return taken
