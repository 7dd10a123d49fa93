"""Frames: the picture in the middle of each step (A.1), one row per step, whether there is one or not."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from recipevis import images
from recipevis.core import files, parallel
from recipevis.data import video
from recipevis.data.sources.base import FetchError, Source
from recipevis.data.tables.frames import COLUMNS, FLAGS
from recipevis.data.tables.recipes import Recipe, Step

_COMPRESSION = 3  # zlib's; photographs take 5 % more space than at Pillow's 6, and a third of the time
_DARK = 12  # grey levels of 255: the mean of a dark frame is below
_UNIFORM = 4  # grey levels: the standard deviation of each channel of a uniform frame is below


def extract(
    recipes: Sequence[Recipe],
    videos: pd.DataFrame,
    source: Source,
    pixels: int,
    resize: str,
    workers: int,
    work: Path,
    folder: str,
    dask: str | None = None,
) -> pd.DataFrame:
    """Save the middle frame of every step as PNG.

    Args:
        recipes: whose steps are wanted.
        videos: the table of the stage `download`.
        source: holds the videos; one that has left the store is fetched again.
        pixels: height and width of a frame.
        resize: `squash`, `crop` or `pad`.
        workers, dask: videos at the same time, and where: see `execution.executor`.
        work: folder of half-done work; the frames are in its `frames`.
        folder: what the column `file` says before a frame's name.

    Returns:
        the table of `COLUMNS`, a row per step, in the recipes' order.
    """
    (work / "frames").mkdir(exist_ok=True)
    (work / "rows").mkdir(exist_ok=True)
    files = dict(zip(videos["video_id"], videos["file"], strict=True))
    save = partial(_video, source=source, pixels=pixels, resize=resize, work=work)
    items = [(recipe, files[recipe.video_id]) for recipe in recipes]
    rows = parallel.each(save, items, workers, "frames, by video", _failed, dask)
    table = pd.DataFrame([row for steps in rows for row in steps], columns=COLUMNS)
    table["file"] = [f"{folder}/{name}" if name else "" for name in table["file"]]
    return table


def _failed(rows: list[dict[str, Any]]) -> bool:
    return all(row["status"] == "failed" for row in rows)


def _video(item: tuple[Recipe, str], source: Source, pixels: int, resize: str, work: Path) -> list[dict[str, Any]]:
    """The rows of a recipe and its video's file; done once all its frames lie in the work folder."""
    recipe, file = item
    kept = work / "rows" / f"{recipe.video_id}.json"
    rows = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else None
    if rows is None or not all((work / "frames" / row["file"]).exists() for row in rows if row["file"]):
        rows = [
            _row(recipe, step, shot, pixels, resize, work / "frames")
            for step, shot in zip(recipe.steps, _shots(recipe, file, source), strict=True)
        ]
        if not any(row["error"] == "video_gone" for row in rows):  # else a run that goes on asks again
            files.write_json(kept, rows)
    return rows


def _shots(recipe: Recipe, file: str, source: Source) -> list[video.Shot]:
    """The picture or the reason for every step of a recipe."""
    if not file:
        return [video.Shot(None, "video_failed")] * len(recipe.steps)
    path = source.folder / file
    if not path.exists():
        try:
            path = source.get(recipe.video_id)
        except FetchError:
            return [video.Shot(None, "video_gone")] * len(recipe.steps)
    return video.shots(path, [step.middle_s for step in recipe.steps])


def _row(recipe: Recipe, step: Step, shot: video.Shot, pixels: int, resize: str, folder: Path) -> dict[str, Any]:
    """Save one frame; its row, the file named within the folder."""
    row = {"video_id": recipe.video_id, "step": step.step, "start_s": step.start_s, "end_s": step.end_s}
    row |= {"time_s": step.middle_s, "status": "failed", "error": shot.error, "flags": "", "file": ""}
    if shot.picture is None:
        return row
    frame = images.square(shot.picture, pixels, resize)
    name = f"{recipe.video_id}_{step.step:02d}.png"
    frame.save(folder / name, compress_level=_COMPRESSION)
    return row | {"status": "ok", "flags": " ".join(flags(frame, shot.hdr)), "file": name}


def flags(frame: Image.Image, hdr: bool = False) -> list[str]:
    """The keys of `FLAGS` that hold for an RGB picture, which is of high dynamic range or not."""
    levels = np.asarray(frame, dtype=np.float32)  # [h, w, 3]
    holds = {"dark": levels.mean() < _DARK, "uniform": levels.std(axis=(0, 1)).max() < _UNIFORM, "hdr": hdr}
    return [flag for flag in FLAGS if holds[flag]]
