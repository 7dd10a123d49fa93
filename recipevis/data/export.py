"""Triplets as an image folder for others' trainers: Hugging Face `datasets` loads it, InstructPix2Pix takes it.

A folder for each subset (`train`, `validation`) with `metadata.jsonl` and the frames. A column of a name that ends in
`_file_name` is loaded as an image under the name without it.
"""

import json
import os
import shutil
from pathlib import Path

import pandas as pd
from PIL import Image

from recipevis import images
from recipevis.core import files
from recipevis.core.progress import track
from recipevis.errors import InputError

SPLITS = {"training": "train", "validation": "validation"}  # ours, and what `datasets` calls it
COLUMNS = ("original_image", "edit_prompt", "edited_image")


def export(triplets: pd.DataFrame, blank: str, pixels: int, folder: Path) -> dict[str, int]:
    """Write the triplets of both subsets.

    Args:
        triplets: see `read_triplets`; the frames' paths lead from the working directory.
        blank: `white` or `black`, the image before a first step.
        pixels: height and width of a frame.
        folder: made here; must not exist, or be empty.

    Returns:
        the number of rows of each split.

    Raises:
        InputError: there are no triplets, the folder has something in it already, or a frame is missing.
    """
    if triplets.empty:
        raise InputError("no triplets to export: data/triplets.csv has no rows; data/frames.csv says why")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists already; name a new folder")
    for frame in sorted({*triplets["image"], *triplets["previous_image"]} - {""}):
        if not Path(frame).is_file():
            raise InputError(f"{frame}: missing; `dvc repro frames`, or `dvc checkout`, brings it back")
    counts = {}
    for subset, split in SPLITS.items():
        rows = triplets[triplets["subset"] == subset]
        lines, before = [], Image.fromarray(images.blank(pixels, blank))
        (folder / split).mkdir(parents=True)
        for row in track(rows.itertuples(), f"export {split}", len(rows)):
            for frame in filter(None, (row.image, row.previous_image)):
                _put(Path(frame), folder / split / Path(frame).name)
            if not row.previous_image and not (folder / split / "blank.png").exists():
                before.save(folder / split / "blank.png")
            lines.append(
                {
                    "original_image_file_name": Path(row.previous_image).name if row.previous_image else "blank.png",
                    "edit_prompt": row.sentence,
                    "edited_image_file_name": Path(row.image).name,
                }
            )
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        files.write_text(folder / split / "metadata.jsonl", text)
        counts[split] = len(lines)
    return counts


def _put(frame: Path, target: Path) -> None:
    """A copy, by the file system's own means where it shares blocks. No link: frames are links into DVC's cache."""
    if target.exists():
        return
    shutil.copyfile(frame, target)
    os.chmod(target, 0o644)
