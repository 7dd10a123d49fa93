"""Download: one row a video, fetched or not."""

import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from recipevis.core import files, parallel
from recipevis.data import video
from recipevis.data.sources.base import PASSING, FetchError, SetUpFault
from recipevis.data.store import Store
from recipevis.data.tables.recipes import Recipe
from recipevis.data.tables.videos import COLUMNS

LOG_COLUMNS = ("video_id", "status", "error", "tries", "message", "warnings")


def download(
    recipes: Sequence[Recipe], store: Store, workers: int, work: Path, dask: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Get every recipe's video into the store.

    Args:
        recipes: the recipes whose videos are needed.
        store: fetches what it doesn't have.
        workers: videos at the same time.
        work: folder for finished rows. A video with a row, failed or not, isn't fetched again. Refusals and network
            errors leave no row there, since they say nothing about the video, and failures that turn out to be the
            set-up's are removed. A failed row counts under the set-up that it was made with.
        dask: address of a Dask scheduler, see `parallel.each`. A remote source is fetched from this machine all the
            same: its pauses between requests must hold for all workers.

    Returns:
        the table of `tables.videos.COLUMNS`, a row per recipe in their order, and the log of `LOG_COLUMNS`.

    Raises:
        SourceError: the source can't go on.
    """
    dask = None if store.source.remote else dask
    rows = parallel.each(partial(_row, store=store, work=work), recipes, workers, "download", _failed, dask)
    table = pd.DataFrame(rows, dtype=object)
    return table[list(COLUMNS)], table.reindex(columns=list(LOG_COLUMNS))


def log_so_far(recipes: Sequence[Recipe], work: Path) -> pd.DataFrame:
    """The log of a run that stopped: a row for each video that was tried; arguments as for `download`."""
    rows = []
    for recipe in recipes:
        path = next(filter(Path.exists, _saved_rows(recipe.video_id, work)), None)
        if path is not None:
            rows.append({"video_id": recipe.video_id} | json.loads(path.read_text(encoding="utf-8")))
    return pd.DataFrame(rows, columns=LOG_COLUMNS, dtype=object)


def _saved_rows(video_id: str, work: Path) -> tuple[Path, Path]:
    """Where a video's row is saved: one that stands, and one that only the log shows."""
    return work / f"{video_id}.json", work / "passing" / f"{video_id}.json"


def _failed(row: dict[str, Any]) -> bool:
    return row["status"] == "failed"


def _row(recipe: Recipe, store: Store, work: Path) -> dict[str, Any]:
    """One video's row, read from the work folder or saved there."""
    saved, passing = _saved_rows(recipe.video_id, work)
    about = {"video_id": recipe.video_id, "subset": recipe.subset, "recipe_type": recipe.recipe_type}
    if saved.exists():
        row = json.loads(saved.read_text(encoding="utf-8"))
        if row["status"] == "ok" or row.get("set_up", "") == store.source.set_up:
            return about | row
    try:
        result = _fetch(recipe, store)
    except SetUpFault as fault:
        for video_id in fault.video_ids:
            standing, shown = _saved_rows(video_id, work)
            if standing.exists():
                shown.parent.mkdir(exist_ok=True)
                os.replace(standing, shown)
        raise
    files.write_json(passing if result["error"] in PASSING else saved, result | {"set_up": store.source.set_up})
    return about | result


def _fetch(recipe: Recipe, store: Store) -> dict[str, Any]:
    was_stored = store.stored(recipe.video_id) is not None
    result = {"status": "failed", "error": "", "flags": "", "file": "", "bytes": None, "sha256": ""}
    result |= {"duration_s": None, "tries": 0 if was_stored else 1, "message": "", "warnings": ""}
    needed_s = max(step.middle_s for step in recipe.steps)
    try:
        path = store.get(recipe.video_id, needed_s)
        try:
            duration = video.probe(path)
        except video.VideoError:  # damaged after it was stored
            store.drop_damaged(recipe.video_id)
            result["tries"] = 1
            path = store.get(recipe.video_id, needed_s)
            duration = video.probe(path)
    except FetchError as error:
        said = " | ".join(store.source.warnings(recipe.video_id))
        return result | {"error": error.kind, "message": str(error), "warnings": said}
    except video.VideoError as error:
        damaged = FetchError("damaged", f"{path.resolve()}: {error}")
        return result | {"error": damaged.kind, "message": str(damaged)}
    result["warnings"] = " | ".join(store.source.warnings(recipe.video_id))
    found = {"bytes": path.stat().st_size, "sha256": files.sha256(path), "duration_s": round(duration, 3)}
    flags = "short" if duration <= needed_s else ""
    return result | {"status": "ok", "flags": flags, "file": path.name} | found
