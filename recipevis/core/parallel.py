"""One function over many items, several at the same time: on threads of this machine, or on a Dask cluster."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TypeVar

from recipevis.core import progress
from recipevis.errors import InputError, install

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_MOST_THREADS = 4  # each thread holds its own activations


def threads(device: str) -> int:
    """How many threads run independent pieces of a network's work: one a core on a CPU, one on a GPU.

    Args:
        device: the type of a torch device.
    """
    if device != "cpu":
        return 1
    # macOS can't say which cores a process may use.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_THREADS, cores)


def in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], workers: int, ahead: int | None = None
) -> Iterator[_Result]:
    """Yield the function's result for every item, in the items' order, computed on `workers` threads.

    Args:
        function: called once an item.
        items: its arguments.
        workers: threads.
        ahead: how many items are computed before their turn, at most; None: twice the workers, to save memory.
    """
    if workers == 1:
        yield from map(function, items)
        return
    pool, waiting = ThreadPoolExecutor(workers), deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > (2 * workers if ahead is None else ahead):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def each(
    function: Callable[[_Item], _Result],
    items: Sequence[_Item],
    workers: int,
    label: str,
    failed: Callable[[_Result], bool],
    dask: str | None = None,
) -> list[_Result]:
    """The function's result for every item, in the items' order, with a progress line.

    Args:
        function: called once an item, and again if the process that called it has died. Its first exception cancels
            the calls that have not begun, and is raised here.
        items: its arguments.
        workers: threads. Decoding, ffmpeg and waiting for a server all release Python's lock.
        label: of the progress line.
        failed: whether a result counts as failed on the progress line.
        dask: address of a Dask scheduler, in place of threads. Its workers need the same packages, and must see the
            project and `RECIPEVIS_HOME` under the same paths.

    Raises:
        InputError: Dask isn't installed, or the scheduler doesn't answer.
    """
    with progress.meter(label, len(items)) as meter, _executor(workers, dask) as executor:
        futures = [executor.submit(function, item) for item in items]
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


@contextmanager
def _executor(workers: int, dask: str | None) -> Iterator[Executor]:
    """Threads, or the executor of a Dask cluster."""
    if dask is None:
        pool, wait = ThreadPoolExecutor(workers), True
        try:
            yield pool
        except KeyboardInterrupt:
            wait = False  # whoever interrupts doesn't want to wait for a download
            raise
        finally:
            pool.shutdown(wait)
        return
    try:
        from distributed import Client
    except ImportError:
        raise InputError(f"execution.dask: Dask is not installed: {install('cluster')}") from None
    try:
        client = Client(dask, timeout=30)
    except OSError as error:
        raise InputError(f"execution.dask: {dask} does not answer: {error}") from error
    with client:
        yield client.get_executor()
