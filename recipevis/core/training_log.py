"""What can be seen of a training while it runs: `logs/train.csv`, and a tracker. No result depends on it."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from accelerate import Accelerator

from recipevis.core import files
from recipevis.core.checkpoints import History

_RECIPE = "validation_recipe"


class TrainingLog:
    """Writes a row a step, and shows the same to the tracker that the run's accelerator was made with.

    Attributes:
        tracks: whether there is a tracker; known within `following`.

    Args:
        path: the CSV file; None: none is written.
        columns: its columns, keys of the history's rows; the first is the step.
        run: name of the run for the tracker; a resumed run goes on under it.
        draw: draws a recipe of the validation with the current weights, uint8 [h, w, 3]; None: none is shown.
    """

    def __init__(
        self,
        path: Path | None,
        columns: Sequence[str],
        run: str = "run",
        draw: Callable[[], np.ndarray] | None = None,
    ):
        self._path, self._columns, self._run, self._draw = path, columns, run, draw
        self._written, self.tracks = 0, False

    @contextmanager
    def following(self, accelerator: Accelerator, history: History) -> Iterator[None]:
        """Begin with the steps that a resumed run has: what a killed run showed beyond them is dropped.

        All processes of a run enter this; the first one writes.

        Args:
            accelerator: of the run.
            history: the rows of the checkpoint.
        """
        self._accelerator, self._written = accelerator, len(history)
        if self._writes_file:
            files.write_text(self._path, "")
            self._append([self._columns, *map(self._row, history)])
        self.tracks = bool(accelerator.log_with)
        if self.tracks:
            self._start_tracker(len(history))
        try:
            yield
        finally:
            for tracker in accelerator.trackers:  # not end_training, which ends the group of processes, too
                tracker.finish()
            accelerator.trackers.clear()

    def add(self, history: History) -> None:
        """Show the rows that are new in the history."""
        new, self._written = history[self._written :], len(history)
        if self._writes_file:
            self._append(map(self._row, new))
        for row in new if self.tracks else ():
            shown = {column: row[column] for column in self._columns[1:] if row[column] is not None}
            self._accelerator.log(shown, step=row[self._columns[0]])

    def validated(self, step: int, values: Mapping[str, float]) -> None:
        """Show more about a validation: values by name, and the recipe that is drawn for it."""
        if self.tracks:
            self._accelerator.log(dict(values), step=step)
            if self._draw and self._accelerator.is_main_process:
                self._show(step, self._draw())

    @property
    def _writes_file(self) -> bool:
        return self._path is not None and self._accelerator.is_main_process

    def _row(self, row: Mapping[str, float]) -> list[float]:
        return [row[column] for column in self._columns]

    def _append(self, rows: Iterable[Sequence]) -> None:
        with self._path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    def _start_tracker(self, done: int) -> None:
        """Start the tracker of a run that has `done` steps."""
        tracker, folder = str(self._accelerator.log_with[0]), Path(self._accelerator.project_dir)
        options = {
            "tensorboard": {"purge_step": done},  # later steps of a killed run are not shown
            "dvclive": {"dir": str(folder / self._run), "resume": done > 0, "save_dvc_exp": False, "dvcyaml": None},
            "wandb": {"id": self._run, "name": self._run, "resume": "allow", "dir": str(folder)},
        }
        if self._accelerator.is_main_process:
            folder.mkdir(parents=True, exist_ok=True)
            for table in (folder / self._run).glob("plots/metrics/**/*.tsv"):  # DVCLive's
                _drop_steps(table, done)
        project = "recipevis" if tracker == "wandb" else self._run
        self._accelerator.init_trackers(project, init_kwargs=options)

    def _show(self, step: int, image: np.ndarray) -> None:
        [tracker] = self._accelerator.trackers
        if tracker.name == "dvclive":
            tracker.tracker.log_image(f"{_RECIPE}/{step}.png", image)
        elif tracker.name == "tensorboard":
            tracker.log_images({_RECIPE: image[None]}, step=step, dataformats="NHWC")
        else:
            tracker.log_images({_RECIPE: [image]}, step=step)


def _drop_steps(table: Path, first: int) -> None:
    """Remove the rows of a step and of those after it from a table whose first column is the step.

    A run that is killed as it begins a table leaves an empty file, which would never get a header; it is removed.
    """
    header, *rows = table.read_text(encoding="utf-8").splitlines() or [""]
    if not header:
        table.unlink()
        return
    kept = [row for row in rows if int(row.split("\t")[0]) < first]
    files.write_text(table, "".join(f"{line}\n" for line in [header, *kept]))
