"""Progress of a long loop: a bar with rate and time left on a terminal, plain lines elsewhere."""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from recipevis.core import processes

_SECONDS_BETWEEN_LINES = 10
_T = TypeVar("_T")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="progress.data.speed")


class Meter:
    """Counts what is done, in one thread: `execution.each` counts in the one that waits for the others."""

    def __init__(self, label: str, total: int, done: int = 0):
        self.label, self.total, self.done, self.note = label, total, done, ""
        self._start, self._first, self._last = time.monotonic(), done, time.monotonic()

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count `count` more; `note` is shown behind the numbers (a loss, how many failed)."""
        self.done += count
        self.note = note or self.note
        now = time.monotonic()
        if self.done >= self.total or now - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = now
            self._line(now)

    def _line(self, now: float) -> None:
        rate = (self.done - self._first) / max(now - self._start, 1e-9)
        left = f", {_duration((self.total - self.done) / rate)} left" if rate and self.done < self.total else ""
        note = f", {self.note}" if self.note else ""
        print(f"{self.label}: {self.done}/{self.total}, {rate:.1f}/s{left}{note}", flush=True)


def _duration(seconds: float) -> str:
    """`43 s`; from ten minutes on `0:12:30`."""
    return f"{seconds:.0f} s" if seconds < 600 else str(timedelta(seconds=round(seconds)))


class _Bar(Meter):
    """The same on a terminal."""

    def __init__(self, progress: Progress, label: str, total: int, done: int):
        super().__init__(label, total, done)
        self._progress = progress
        self._task = progress.add_task(label, total=total, completed=done, note="")

    def advance(self, count: int = 1, note: str = "") -> None:
        self.done += count
        self._progress.update(self._task, advance=count, **({"note": note} if note else {}))


class _Silent(Meter):
    """The same where another process shows its own."""

    def _line(self, now: float) -> None:
        pass


@contextmanager
def meter(label: str, total: int, done: int = 0) -> Iterator[Meter]:
    """A meter for `total` items, of which `done` were finished by an earlier, interrupted run.

    Of several processes the first one shows its own.
    """
    if processes.rank():
        yield _Silent(label, total, done)
        return
    if not sys.stdout.isatty():
        yield Meter(label, total, done)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console()) as progress:
        yield _Bar(progress, label, total, done)


def tally(
    label: str,
    statuses: Iterable[tuple[str, str]] | Mapping[tuple[str, str], int],
    where: Path,
    messages: Path | None = None,
) -> None:
    """Print how many items ended how, and where their rows are.

    Args:
        label: what ended.
        statuses: of each item its status and its class, or how many had each; the class is empty where there is nothing
            to tell.
        where: the file with the rows.
        messages: the file that says more of what failed; named where something has.
    """
    counted = +Counter(statuses)
    classes = ["class"] if any(kind for _, kind in counted) else []  # no column that is empty
    count = Column("count", justify="right")
    table = Table("status", *classes, count, title=label, title_justify="left", box=SIMPLE)
    for (status, kind), number in sorted(counted.items(), key=lambda item: (item[0][0] != "ok", -item[1])):
        table.add_row(status, *([kind] if classes else []), f"{number:,}")
    console = Console(width=None if sys.stdout.isatty() else 80)
    console.print(table, f"rows: {where}")
    if messages and any(status == "failed" for status, _ in counted):
        console.print(f"messages: {messages}")


def track(items: Iterable[_T], label: str, total: int) -> Iterator[_T]:
    """Yield the items, counting each when the loop asks for the next."""
    with meter(label, total) as counted:
        for item in items:
            yield item
            counted.advance()
