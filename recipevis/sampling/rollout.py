"""Generate a plan of recipes: autoregressively (each step from the image generated before it) and teacher-forced.

Images are saved as PNG, so a previous image is always one that was rounded to uint8, and an interrupted run resumes
after its last whole batch.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock

import numpy as np
import pandas as pd
import torch
from PIL import Image

from recipevis import images
from recipevis.core import files
from recipevis.core.parallel import in_order, threads
from recipevis.core.progress import meter
from recipevis.data.tables.samples import AUTOREGRESSIVE, NO_PREVIOUS, OF_MODEL, TEACHER_FORCED, WRONG_PREVIOUS
from recipevis.sampling.sampler import Sampler

# The previous image of each row, and the first image of its recipe, see `Sampler.generate`.
Shown = tuple[Sequence[np.ndarray | None], Sequence[np.ndarray | None] | None]


@dataclass(frozen=True)
class Batch:
    """Images that are generated together: rows of the samples table, and the set that they belong to."""

    set_name: str
    rows: pd.DataFrame
    generate: Callable[[pd.DataFrame], Sequence[np.ndarray]]

    def paths(self, folder: Path) -> list[Path]:
        """The file of each image."""
        return [folder / self.set_name / f"{sample_id}.png" for sample_id in self.rows["sample_id"]]


def generate_with_model(table: pd.DataFrame, sampler: Sampler, batch_size: int, folder: Path) -> None:
    """Generate a plan with the trained model: autoregressively, teacher-forced, and for the controls.

    Nothing is generated twice. A first step has the blank image before it in both modes, so the teacher-forced image
    is the autoregressive one; for a fuser that doesn't use the previous image, so is every image. These are copied.

    Args:
        table: see `plan.plan`.
        sampler: the trained model.
        batch_size: images generated at once.
        folder: images go to `<set>/<sample_id>.png` below it; batches that are there already are not generated again.
    """
    scored, control = table[table["scored"] == 1], table[table["control"] == 1]
    wrong = control[control["other_image"] != ""]  # a single recipe has no wrong image
    shown = {TEACHER_FORCED: scored, WRONG_PREVIOUS: wrong, NO_PREVIOUS: control}
    copied = {TEACHER_FORCED: scored[scored["step"] == 0]}
    if not sampler.pipeline.conditioner.uses_image:
        copied = shown
    for name in OF_MODEL:
        (folder / name).mkdir(parents=True, exist_ok=True)

    firsts = table[table["step"] == 0].set_index("video_id")["image"]

    def own(rows: pd.DataFrame) -> Shown:
        def image(row, step: int) -> np.ndarray | None:
            path = folder / AUTOREGRESSIVE / f"{row.video_id}_{step:02d}.png"
            return images.read(path) if row.step else None

        return [image(row, row.step - 1) for row in rows.itertuples()], [image(row, 0) for row in rows.itertuples()]

    def truth(rows: pd.DataFrame) -> Shown:
        """The first step's image is missing where it has no frame."""
        paths = [firsts.get(row.video_id, "") if row.step else "" for row in rows.itertuples()]
        return ground_truth(rows), [images.read(path) if path else None for path in paths]

    def other(rows: pd.DataFrame) -> Shown:
        return [images.read(path) for path in rows["other_image"]], None

    draw = {
        TEACHER_FORCED: with_previous(sampler, truth),
        WRONG_PREVIOUS: with_previous(sampler, other),
        NO_PREVIOUS: lambda rows: sampler.generate(rows["sample_id"].tolist(), rows["sentence"].tolist()),
    }
    # All recipes' k-th steps form a batch, so that the image of the step before is there. These follow each other.
    steps = [rows for _, rows in table.groupby("step")]
    chain = [
        batch for rows in steps for batch in batches(AUTOREGRESSIVE, rows, batch_size, with_previous(sampler, own))
    ]
    independent = []
    for name, rows in shown.items():
        left = rows.drop(copied[name].index) if name in copied else rows
        independent += [[batch] for batch in batches(name, left, batch_size, draw[name])]
    generate_batches([chain, *independent], sampler.pipeline.device, folder, "sample")
    for name, rows in copied.items():
        for sample_id in rows["sample_id"]:
            with files.replacing(folder / name / f"{sample_id}.png") as temporary:
                shutil.copyfile(folder / AUTOREGRESSIVE / f"{sample_id}.png", temporary)


def with_previous(sampler: Sampler, shown: Callable[[pd.DataFrame], Shown]) -> Callable:
    """A function that generates rows from the previous and first images that `shown` gives."""
    return lambda rows: sampler.generate(rows["sample_id"].tolist(), rows["sentence"].tolist(), *shown(rows))


def ground_truth(rows: pd.DataFrame) -> list[np.ndarray | None]:
    """The ground truth of the step before of each row; None for a first step."""
    return [images.read(path) if path else None for path in rows["previous_image"]]


def batches(set_name: str, rows: pd.DataFrame, batch_size: int, generate: Callable) -> list[Batch]:
    """Rows of `samples.csv` in batches; `generate` takes the rows of one."""
    starts = range(0, len(rows), batch_size)
    return [Batch(set_name, rows.iloc[start : start + batch_size], generate) for start in starts]


def generate_batches(chains: Sequence[Sequence[Batch]], device: torch.device, folder: Path, label: str) -> None:
    """Generate chains of batches and save the images. Chains run at the same time, the batches of one in turn."""
    chains = [[b for b in chain if not all(path.exists() for path in b.paths(folder))] for chain in chains]
    total = sum(len(batch.rows) for chain in chains for batch in chain)
    for chain in chains:
        for batch in chain:
            (folder / batch.set_name).mkdir(parents=True, exist_ok=True)
    counting, failed = Lock(), Event()
    with meter(label, total) as progress:

        def save(batch: Batch) -> None:
            for path, image in zip(batch.paths(folder), batch.generate(batch.rows), strict=True):
                with files.replacing(path) as temporary:
                    Image.fromarray(image).save(temporary)
            with counting:
                progress.advance(len(batch.rows), batch.set_name)

        def run(chain: Sequence[Batch]) -> None:
            try:
                for batch in chain:
                    if failed.is_set():  # otherwise the error would show when the longest chain ends
                        return
                    save(batch)
            except BaseException:
                failed.set()
                raise

        for _ in in_order(run, chains, threads(device.type), ahead=len(chains)):
            pass
