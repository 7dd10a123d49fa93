"""Export triplets as an image folder for other trainers: Hugging Face `datasets` loads it, InstructPix2Pix takes it.

Each subset (`train`, `validation`) is a folder with `metadata.jsonl` and the frames. `datasets` loads a column whose
name ends in `_file_name` as an image, under the name without that suffix. `recipes.csv` lists every step that a system
generates for the benchmark, also those without a frame.
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

SPLITS = {"training": "train", "validation": "validation"}  # our name and that of `datasets`
# The first three are the names that diffusers' InstructPix2Pix trainer expects; the others join an image back.
COLUMNS = ("input_image", "edit_prompt", "edited_image", "sample_id", "video_id", "step", "recipe_type")
STEPS = ["sample_id", "video_id", "step", "recipe_type", "sentence", "scored"]  # columns of recipes.csv


def export(triplets: pd.DataFrame, steps: pd.DataFrame, blank: str, pixels: int, folder: Path) -> dict[str, int]:
    """Write the triplets of both subsets, and the steps of the benchmark.

    Args:
        triplets: `data/triplets.csv`; paths of frames are relative to the working directory.
        steps: the steps that are generated, with the columns `STEPS`.
        blank: `white` or `black`, the image before a first step.
        pixels: height and width of a frame.
        folder: a new or an empty folder.

    Returns:
        the number of rows of each split.

    Raises:
        InputError: there are no triplets, the folder is not empty or can't be made, or a frame is missing.
    """
    if triplets.empty:
        raise InputError("no triplets to export: data/triplets.csv has no rows; data/frames.csv says why")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists already; name a new folder")
    for frame in sorted({*triplets["image"], *triplets["previous_image"]} - {""}):
        if not Path(frame).is_file():
            raise InputError(f"{frame}: missing; `dvc repro frames`, or `dvc checkout`, brings it back")
    try:
        for split in SPLITS.values():
            (folder / split).mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{folder}: can't be written: {error.strerror}") from error
    counts = {}
    for subset, split in SPLITS.items():
        rows = triplets[triplets["subset"] == subset]
        lines, blank_image = [], Image.fromarray(images.blank(pixels, blank))
        for row in track(rows.itertuples(), f"export {split}", len(rows)):
            for frame in filter(None, (row.image, row.previous_image)):
                _put(Path(frame), folder / split / Path(frame).name)
            if not row.previous_image and not (folder / split / "blank.png").exists():
                blank_image.save(folder / split / "blank.png")
            lines.append(
                {
                    "input_image_file_name": Path(row.previous_image).name if row.previous_image else "blank.png",
                    "edit_prompt": row.sentence,
                    "edited_image_file_name": Path(row.image).name,
                    **{name: getattr(row, name) for name in COLUMNS[3:]},
                }
            )
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        files.write_text(folder / split / "metadata.jsonl", text)
        counts[split] = len(lines)
    files.write_text(folder / "recipes.csv", steps[STEPS].to_csv(index=False, lineterminator="\n"))
    return counts


def _put(frame: Path, target: Path) -> None:
    """Copy a frame. Not a link: frames may be links into DVC's cache, and a trainer may write to its folder."""
    if target.exists():
        return
    shutil.copyfile(frame, target)
    os.chmod(target, 0o644)
