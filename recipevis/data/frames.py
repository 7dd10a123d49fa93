"""Frames: the picture in the middle of each step (A.1); one row a step, with a frame or with the reason why not."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from recipevis.core import files, parallel
from recipevis.data import video
from recipevis.data.tables.frames import COLUMNS, FLAGS
from recipevis.data.tables.recipes import Recipe, Step

_COMPRESSION = 3  # zlib's: photographs are 5 % larger than at Pillow's 6, in a third of the time
_DARK = 12  # grey levels of 255; a frame with a lower mean is dark
_UNIFORM = 4  # grey levels; a frame is uniform if each channel's standard deviation is lower


def extract(
    recipes: Sequence[Recipe],
    videos: pd.DataFrame,
    stored: Path,
    refetch: Callable[[str], Path | None],
    pixels: int,
    resize: str,
    workers: int,
    work: Path,
    folder: str,
    dask: str | None = None,
) -> pd.DataFrame:
    """Save the middle frame of every step as PNG.

    Args:
        recipes: the recipes whose steps are needed.
        videos: the table of the stage `download`.
        stored: folder of the videos.
        refetch: fetches a video that has left the folder since, by its id; None if it can't.
        pixels: height and width of a frame.
        resize: `squash`, `crop` or `pad`, see `square`.
        workers: videos at the same time.
        work: folder of half-done work; the frames are in its `frames`.
        folder: prefix of a frame's name in the column `file`.
        dask: address of a Dask scheduler, see `parallel.each`.

    Returns:
        the table of `tables.frames.COLUMNS`, a row per step, in the recipes' order.
    """
    (work / "frames").mkdir(exist_ok=True)
    (work / "rows").mkdir(exist_ok=True)
    names = dict(zip(videos["video_id"], videos["file"], strict=True))
    paths = {recipe.video_id: stored / names[recipe.video_id] for recipe in recipes if names[recipe.video_id]}
    missing = [r.video_id for r in recipes if r.video_id in paths and not _saved(r, work)]
    missing = [video_id for video_id in missing if not paths[video_id].exists()]
    if missing:  # on this machine: a cluster's workers only decode
        paths |= zip(missing, parallel.each(refetch, missing, workers, "fetch missing videos", _is_none), strict=True)
    save = partial(_save, pixels=pixels, resize=resize, work=work)
    items = [(recipe, paths.get(recipe.video_id), bool(names[recipe.video_id])) for recipe in recipes]
    rows = parallel.each(save, items, workers, "frames, by video", _failed, dask)
    table = pd.DataFrame([row for steps in rows for row in steps], columns=COLUMNS)
    table["file"] = [f"{folder}/{name}" if name else "" for name in table["file"]]
    return table


def _is_none(path: Path | None) -> bool:
    return path is None


def _failed(rows: list[dict[str, Any]]) -> bool:
    return all(row["status"] == "failed" for row in rows)


def _saved(recipe: Recipe, work: Path) -> list[dict[str, Any]] | None:
    """A recipe's rows in the work folder; None unless all their frames are there, too."""
    saved = work / "rows" / f"{recipe.video_id}.json"
    rows = json.loads(saved.read_text(encoding="utf-8")) if saved.exists() else None
    if rows is None or not all((work / "frames" / row["file"]).exists() for row in rows if row["file"]):
        return None
    return rows


def _save(item: tuple[Recipe, Path | None, bool], pixels: int, resize: str, work: Path) -> list[dict[str, Any]]:
    """The rows of a recipe; its frames are in the work folder then.

    Args:
        item: the recipe, its video, and whether `download` had one.
        pixels, resize, work: see `extract`.
    """
    recipe, path, downloaded = item
    rows = _saved(recipe, work)
    if rows is None:
        if path is None:
            shots = [video.Shot(None, "video_gone" if downloaded else "video_failed")] * len(recipe.steps)
        else:
            shots = video.shots(path, [step.middle_s for step in recipe.steps])
        rows = [
            _row(recipe, step, shot, pixels, resize, work / "frames")
            for step, shot in zip(recipe.steps, shots, strict=True)
        ]
        if path is not None or not downloaded:  # a video that is gone is asked for again by a resumed run
            files.write_json(work / "rows" / f"{recipe.video_id}.json", rows)
    return rows


def _row(recipe: Recipe, step: Step, shot: video.Shot, pixels: int, resize: str, folder: Path) -> dict[str, Any]:
    """Save one frame; its row, with the frame's name in the folder."""
    row = {"video_id": recipe.video_id, "step": step.step, "start_s": step.start_s, "end_s": step.end_s}
    row |= {"time_s": step.middle_s, "status": "failed", "error": shot.error, "flags": "", "file": ""}
    if shot.picture is None:
        return row
    frame = square(shot.picture, pixels, resize)
    name = f"{recipe.video_id}_{step.step:02d}.png"
    frame.save(folder / name, compress_level=_COMPRESSION)
    return row | {"status": "ok", "flags": " ".join(flags(frame, shot.hdr)), "file": name}


def square(image: Image.Image, pixels: int, resize: str) -> Image.Image:
    """Resize a picture to RGB of `pixels` x `pixels`, Lanczos.

    Args:
        image: any mode; alpha is dropped.
        pixels: height and width of the result.
        resize: `squash` changes the proportions (A.1, literally), `crop` keeps the centre, `pad` adds black borders.
    """
    image = image.convert("RGB")
    shape = (pixels, pixels)
    if resize == "crop":
        return ImageOps.fit(image, shape, Image.Resampling.LANCZOS)
    if resize == "pad":
        return ImageOps.pad(image, shape, Image.Resampling.LANCZOS)
    return image.resize(shape, Image.Resampling.LANCZOS)


def flags(frame: Image.Image, hdr: bool = False) -> list[str]:
    """The keys of `tables.frames.FLAGS` that apply to an RGB picture; `hdr`: its video is of high dynamic range."""
    levels = np.asarray(frame, dtype=np.float32)  # [h, w, 3]
    applies = {"dark": levels.mean() < _DARK, "uniform": levels.std(axis=(0, 1)).max() < _UNIFORM, "hdr": hdr}
    return [flag for flag in FLAGS if applies[flag]]
