"""Export triplets for other trainers, in one of three layouts.

- `pairs`: an image folder that Hugging Face `datasets` loads and diffusers' InstructPix2Pix trainer takes. Each subset
  is a folder with `metadata.jsonl` and the frames; `datasets` loads a column whose name ends in `_file_name` as an
  image, under the name without that suffix.
- `recipes`: a folder for each recipe with its frames and `prompts.json`, for models of whole sequences.
- `webdataset`: the pairs as tar files, for training from a remote disk; `datasets` and `webdataset` load them.

In all of them, `recipes.csv` lists every step that a system generates for the benchmark, also those without a frame.
"""

import io
import json
import os
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from recipevis import images
from recipevis.core import files
from recipevis.core.progress import track
from recipevis.data.tables.recipes import Recipe
from recipevis.errors import InputError

SPLITS = {"training": "train", "validation": "validation"}  # our name and that of `datasets`
# The first three are the names that diffusers' InstructPix2Pix trainer expects; the others join an image back.
COLUMNS = ("input_image", "edit_prompt", "edited_image", "sample_id", "video_id", "step", "recipe_type")
STEPS = ["sample_id", "video_id", "step", "recipe_type", "sentence", "scored"]  # columns of recipes.csv
SHARD = 1000  # triplets in a tar file of the layout `webdataset`: 0.2 GB


def export(
    triplets: pd.DataFrame,
    recipes: Sequence[Recipe],
    steps: pd.DataFrame,
    blank: str,
    pixels: int,
    folder: Path,
    layout: str = "pairs",
) -> dict[str, int]:
    """Write the triplets of both subsets, and the steps of the benchmark.

    Args:
        triplets: `data/triplets.csv`; paths of frames are relative to the working directory.
        recipes: of both subsets, for the layout `recipes`.
        steps: the steps that are generated, with the columns `STEPS`.
        blank: `white` or `black`, the image before a first step.
        pixels: height and width of a frame.
        folder: a new or an empty folder.
        layout: `pairs`, `recipes` or `webdataset`.

    Returns:
        the number of triplets of each split; for the layout `recipes` that of its recipes.

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
    blank_image = io.BytesIO()
    Image.fromarray(images.blank(pixels, blank)).save(blank_image, "png")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        counts = {}
        for subset, split in SPLITS.items():
            rows = triplets[triplets["subset"] == subset]
            if layout == "recipes":
                of_subset = [recipe for recipe in recipes if recipe.subset == subset]
                counts[split] = _write_recipes(rows, of_subset, folder / split)
            else:
                write = {"pairs": _write_pairs, "webdataset": _write_shards}[layout]
                counts[split] = write(rows, blank_image.getvalue(), folder, split)
        files.write_text(folder / "recipes.csv", steps[STEPS].to_csv(index=False, lineterminator="\n"))
    except OSError as error:
        raise InputError(f"{folder}: can't be written: {error.strerror}") from error
    return counts


def _write_pairs(rows: pd.DataFrame, blank: bytes, folder: Path, split: str) -> int:
    (folder / split).mkdir()
    lines = []
    for row in track(rows.itertuples(), f"export {split}", len(rows)):
        for frame in filter(None, (row.image, row.previous_image)):
            _copy(Path(frame), folder / split / Path(frame).name)
        if not row.previous_image:
            (folder / split / "blank.png").write_bytes(blank)
        pair = {
            "input_image_file_name": Path(row.previous_image).name if row.previous_image else "blank.png",
            "edit_prompt": row.sentence,
            "edited_image_file_name": Path(row.image).name,
        }
        lines.append(json.dumps(pair | _about(row), ensure_ascii=False) + "\n")
    files.write_text(folder / split / "metadata.jsonl", "".join(lines))
    return len(lines)


def _write_shards(rows: pd.DataFrame, blank: bytes, folder: Path, split: str) -> int:
    """Each triplet is `<sample_id>.input_image.<ending>`, `.edited_image.<ending>`, `.edit_prompt.txt` and `.json`.

    Loaders take a name's part before its first point as the key, so a point in the id is written as %2E.
    """
    for start in range(0, len(rows), SHARD):
        shard = rows.iloc[start : start + SHARD]
        with tarfile.open(folder / f"{split}-{start // SHARD:05d}.tar", "w") as archive:
            for row in track(shard.itertuples(), f"export {split}", len(shard)):
                image, previous = Path(row.image), Path(row.previous_image or "blank.png")
                members = {
                    f"input_image{previous.suffix}": previous.read_bytes() if row.previous_image else blank,
                    f"edited_image{image.suffix}": image.read_bytes(),
                    "edit_prompt.txt": row.sentence.encode(),
                    "json": json.dumps(_about(row), ensure_ascii=False).encode(),
                }
                for name, content in members.items():
                    member = tarfile.TarInfo(f"{row.sample_id.replace('.', '%2E')}.{name}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    return len(rows)


def _write_recipes(rows: pd.DataFrame, recipes: Sequence[Recipe], folder: Path) -> int:
    """A folder for each recipe with a triplet: `prompts` and `images` in `prompts.json`, null for a missing frame."""
    frames = {(row.video_id, row.step): Path(row.image) for row in rows.itertuples()}
    frames |= {(row.video_id, row.step - 1): Path(row.previous_image) for row in rows.itertuples() if row.step}
    chosen = [recipe for recipe in recipes if recipe.video_id in set(rows["video_id"])]
    for recipe in track(chosen, f"export {folder.name}", len(chosen)):
        target = folder / recipe.video_id
        target.mkdir(parents=True)
        names = []
        for step in recipe.steps:
            frame = frames.get((recipe.video_id, step.step))
            name = f"{step.step:02d}{frame.suffix}" if frame else None
            if frame:
                _copy(frame, target / name)
            names.append(name)
        prompts = [step.sentence for step in recipe.steps]
        files.write_json(
            target / "prompts.json", {"recipe_type": recipe.recipe_type, "prompts": prompts, "images": names}
        )
    return len(chosen)


def _about(row: Any) -> dict[str, Any]:
    """What joins a triplet back."""
    return {name: getattr(row, name) for name in COLUMNS[3:]}


def _copy(frame: Path, target: Path) -> None:
    """Copy a frame. Not a link: frames may be links into DVC's cache, and a trainer may write to its folder."""
    if target.exists():
        return
    shutil.copyfile(frame, target)
    os.chmod(target, 0o644)
