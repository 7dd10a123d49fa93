"""Progress of a long loop: a bar on a terminal, a line every ten seconds elsewhere; and a table of how items ended."""

import io
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table
from tqdm import tqdm

from recipevis.core.processes import rank

_LINE = "{desc}: {n_fmt}/{total_fmt}, {rate_noinv_fmt}, {remaining} left{postfix}"
_SECONDS_BETWEEN_LINES = 10
_T = TypeVar("_T")


class Meter(tqdm):
    """Counts finished items. Not thread-safe: use a lock where several threads call it."""

    monitor_interval = 0  # no thread of tqdm's

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count `count` more; `note` stands behind the numbers (a loss, how many failed) until the next note."""
        if note:
            self.set_postfix_str(note, refresh=False)
        self.update(count)


class _Lines(Meter):
    """Prints lines where there is no terminal."""

    _printed = 0

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        if self.n not in (self.initial, self._printed):
            self._printed = self.n
            print(" ".join(str(self).split()), flush=True)


def meter(label: str, total: int, done: int = 0) -> Meter:
    """A meter for a `with` block over `total` items, of which an interrupted run has finished `done`.

    Of several processes, only the first prints.
    """
    shared = {"desc": label, "total": total, "initial": done, "unit": "", "miniters": 1, "disable": rank() > 0}
    shared["smoothing"] = 0  # the average rate
    if sys.stdout.isatty():
        return Meter(file=sys.stdout, **shared)
    return _Lines(file=io.StringIO(), bar_format=_LINE, mininterval=_SECONDS_BETWEEN_LINES, **shared)


def track(items: Iterable[_T], label: str, total: int) -> Iterator[_T]:
    """Yield the items and count each when the loop asks for the next."""
    with meter(label, total) as progress:
        for item in items:
            yield item
            progress.advance()


def tally(
    label: str,
    statuses: Iterable[tuple[str, str]] | Mapping[tuple[str, str], int],
    rows: Path,
    messages: Path | None = None,
) -> None:
    """Print how many items ended with each status, and which files say more.

    Args:
        label: title of the table.
        statuses: status and class of each item, or how many items had each pair. The class may be empty.
        rows: the file with a row per item.
        messages: the file with the failures' messages; printed if anything failed.
    """
    counted = +Counter(statuses)
    classes = ["class"] if any(kind for _, kind in counted) else []
    count = Column("count", justify="right")
    table = Table("status", *classes, count, title=label, title_justify="left", box=SIMPLE)
    for (status, kind), number in sorted(counted.items(), key=lambda item: (item[0][0] != "ok", -item[1])):
        table.add_row(status, *([kind] if classes else []), f"{number:,}")
    console = Console(width=None if sys.stdout.isatty() else 80)
    console.print(table, f"rows: {rows}")
    if messages and any(status == "failed" for status, _ in counted):
        console.print(f"messages: {messages}")
