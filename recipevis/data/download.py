"""Download: one row per video, whether it came or not."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from recipevis.core import files, parallel
from recipevis.data import video
from recipevis.data.sources.base import PASSING, FetchError, Source
from recipevis.data.tables.recipes import Recipe
from recipevis.data.tables.videos import COLUMNS

LOG_COLUMNS = ("video_id", "status", "error", "tries", "message")


def download(
    recipes: Sequence[Recipe], source: Source, workers: int, work: Path, dask: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Have every recipe's video in the store.

    Args:
        recipes: whose videos are wanted.
        source: gets and keeps them. What it has already isn't asked for again.
        workers, dask: videos at the same time, and where: see `execution.executor`.
        work: folder of half-done work: what was tried, failures too, isn't tried again; but for refusals and a network
            that fails, which say nothing of the video.

    Returns:
        the table of `COLUMNS`, a row per recipe in their order, and the log of `LOG_COLUMNS`.

    Raises:
        SourceError: the source can't go on.
    """
    rows = parallel.each(partial(_row, source=source, work=work), recipes, workers, "download", _failed, dask)
    table = pd.DataFrame(rows, dtype=object)
    return table[list(COLUMNS)], table[list(LOG_COLUMNS)]


def log_so_far(recipes: Sequence[Recipe], work: Path) -> pd.DataFrame:
    """The log of a run that stopped: rows for those videos that were tried; arguments as for `download`."""
    rows = []
    for recipe in recipes:
        path = next(filter(Path.exists, _kept(recipe, work)), None)
        if path is not None:
            rows.append({"video_id": recipe.video_id} | json.loads(path.read_text(encoding="utf-8")))
    return pd.DataFrame(rows, columns=LOG_COLUMNS, dtype=object)


def _kept(recipe: Recipe, work: Path) -> tuple[Path, Path]:
    """Where a video's result is kept, and where one that says nothing of the video, for the log alone."""
    return work / f"{recipe.video_id}.json", work / "passing" / f"{recipe.video_id}.json"


def _failed(row: dict[str, Any]) -> bool:
    return row["status"] == "failed"


def _row(recipe: Recipe, source: Source, work: Path) -> dict[str, Any]:
    """One video's row, its result kept in the work folder."""
    kept, passing = _kept(recipe, work)
    about = {"video_id": recipe.video_id, "subset": recipe.subset, "recipe_type": recipe.recipe_type}
    if kept.exists():
        return about | json.loads(kept.read_text(encoding="utf-8"))
    result = _result(recipe, source)
    files.write_json(passing if result["error"] in PASSING else kept, result)
    return about | result


def _result(recipe: Recipe, source: Source) -> dict[str, Any]:
    had = source.stored(recipe.video_id) is not None
    result = {"status": "failed", "error": "", "flags": "", "file": "", "bytes": None, "sha256": ""}
    result |= {"duration_s": None, "tries": 0 if had else 1, "message": ""}
    needed_s = max(step.middle_s for step in recipe.steps)
    try:
        path = source.get(recipe.video_id, needed_s)
        try:
            duration = video.probe(path)
        except video.VideoError:  # stored whole, spoilt since
            source.drop_spoilt(recipe.video_id)
            result["tries"] = 1
            path = source.get(recipe.video_id, needed_s)
            duration = video.probe(path)
    except FetchError as error:
        return result | {"error": error.kind, "message": str(error)}
    except video.VideoError as error:
        return result | {"error": "damaged", "message": f"{path.resolve()}: {error}"}
    found = {"bytes": path.stat().st_size, "sha256": files.sha256(path), "duration_s": round(duration, 3)}
    flags = "short" if duration <= needed_s else ""
    return result | {"status": "ok", "flags": flags, "file": path.name} | found
