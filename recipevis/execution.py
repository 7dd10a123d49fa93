"""One function over many items, some at the same time, with progress."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from recipevis import progress

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def each(
    function: Callable[[_Item], _Result],
    items: Sequence[_Item],
    workers: int,
    label: str,
    failed: Callable[[_Result], bool],
) -> list[_Result]:
    """The function's result for every item, in the items' order, whatever the number of workers.

    Threads: decoding, encoding and waiting for an answer all leave Python's lock to others.

    Args:
        function: is called once an item; what it raises ends everything.
        items: what it is called with.
        workers: calls at the same time.
        label: of the progress line.
        failed: whether a result counts as failed on the progress line.
    """
    with progress.meter(label, len(items)) as meter, ThreadPoolExecutor(workers) as executor:
        futures = [executor.submit(function, item) for item in items]
        bad = 0
        try:
            for future in as_completed(futures):
                bad += failed(future.result())
                meter.advance(note=f"{bad} failed" if bad else "")
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise
        return [future.result() for future in futures]
