"""One function over many items, some at the same time, with progress: on threads, or on a Dask cluster."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TypeVar

from recipevis.core import progress
from recipevis.errors import InputError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


_MOST_THREADS = 4  # each holds the activations of what it computes


def threads(device: str) -> int:
    """How many independent pieces of a network's work run side by side: on a CPU one a core, on a GPU one.

    Args:
        device: the type of a torch device.
    """
    return min(_MOST_THREADS, len(os.sched_getaffinity(0))) if device == "cpu" else 1


def in_order(function: Callable[[_Item], _Result], items: Iterable[_Item], workers: int) -> Iterator[_Result]:
    """The function's result for every item, in the items' order, computed on so many threads, a few ahead."""
    if workers == 1:
        yield from map(function, items)
        return
    pool, waiting = ThreadPoolExecutor(workers), deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def executor(workers: int, dask: str | None) -> Iterator[Executor]:
    """What calls a function many times at the same time.

    Threads: decoding, encoding and waiting for an answer all leave Python's lock to others.

    Args:
        workers: calls at the same time, of threads. A cluster has as many as its workers have threads.
        dask: address of a Dask scheduler; None: threads. Its workers see the same files under the same paths, the
            project's and those below `RECIPEVIS_HOME`, and have the same packages.

    Raises:
        InputError: Dask isn't installed, or the scheduler doesn't answer.
    """
    if dask is None:
        threads, waits = ThreadPoolExecutor(workers), True
        try:
            yield threads
        except KeyboardInterrupt:
            waits = False  # who stops it by hand does not want to wait for a download
            raise
        finally:
            threads.shutdown(wait=waits)
        return
    try:
        from distributed import Client
    except ImportError:
        raise InputError("execution.dask: Dask is not installed: pip install 'recipevis[cluster]'") from None
    try:
        client = Client(dask, timeout=30)
    except OSError as error:
        raise InputError(f"execution.dask: {dask} does not answer: {error}") from error
    with client:
        yield client.get_executor()


def each(
    function: Callable[[_Item], _Result],
    items: Sequence[_Item],
    workers: int,
    label: str,
    failed: Callable[[_Result], bool],
    dask: str | None = None,
) -> list[_Result]:
    """The function's result for every item, in the items' order, whatever the number of workers.

    Args:
        function: is called once an item, and again if the process that called it has died; what it raises ends
            everything.
        items: what it is called with.
        workers, dask: see `executor`.
        label: of the progress line.
        failed: whether a result counts as failed on the progress line.
    """
    with progress.meter(label, len(items)) as meter, executor(workers, dask) as pool:
        futures = [pool.submit(function, item) for item in items]
        bad = 0
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                bad += failed(future.result())
                meter.advance(note=f"{done - bad} ok, {bad} failed" if bad else "")
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        return [future.result() for future in futures]
