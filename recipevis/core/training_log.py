"""What can be seen of a training while it runs: `logs/train.csv`. No result depends on it."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from recipevis.core import files
from recipevis.core.checkpoints import History


class TrainingLog:
    """Writes a row a step.

    Args:
        path: the CSV file; None: none is written.
        columns: its columns, keys of the history's rows.
    """

    def __init__(self, path: Path | None, columns: Sequence[str]):
        self._path, self._columns, self._written = path, columns, 0

    def begin(self, history: History, writes: bool = True) -> None:
        """Begin the file with the steps that a resumed run has: what a killed run wrote beyond them is dropped.

        Args:
            history: the rows of the checkpoint.
            writes: False on all processes of a run but the first.
        """
        self._written = len(history)
        if not writes:
            self._path = None
        if self._path:
            files.write_text(self._path, "")
            self._append([self._columns, *map(self._row, history)])

    def add(self, history: History) -> None:
        """Write the rows that are new in the history."""
        if self._path:
            self._append(map(self._row, history[self._written :]))
        self._written = len(history)

    def _row(self, row: dict[str, float]) -> list[float]:
        return [row[column] for column in self._columns]

    def _append(self, rows: Iterable[Sequence]) -> None:
        with self._path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
