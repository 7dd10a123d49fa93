"""Download: one row per video, whether it came or not."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from recipevis import execution, store, video
from recipevis.annotations import Recipe
from recipevis.sources import FetchError, Source

COLUMNS = ("video_id", "subset", "recipe_type", "status", "error", "file", "bytes", "sha256", "duration_s")
LOG_COLUMNS = ("video_id", "status", "error", "tries", "message")


def download(recipes: Sequence[Recipe], source: Source, workers: int, work: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Have every recipe's video in the store.

    Args:
        recipes: whose videos are wanted.
        source: gets and keeps them. What it has already isn't asked for again.
        workers: videos at the same time.
        work: folder of half-done work: what was tried, failures too, isn't tried again.

    Returns:
        the table of `COLUMNS`, a row per recipe in their order, and the log of `LOG_COLUMNS`.

    Raises:
        SourceError: the source can't go on.
    """
    rows = execution.each(
        partial(_row, source=source, work=work), recipes, workers, "download", lambda row: row["status"] == "failed"
    )
    table = pd.DataFrame(rows, dtype=object)
    return table[list(COLUMNS)], table[list(LOG_COLUMNS)]


def _row(recipe: Recipe, source: Source, work: Path) -> dict[str, Any]:
    """One video's row, its result kept in the work folder."""
    kept = work / f"{recipe.video_id}.json"
    if not kept.exists():
        store.write_json(kept, _result(recipe.video_id, source))
    about = {"video_id": recipe.video_id, "subset": recipe.subset, "recipe_type": recipe.recipe_type}
    return about | json.loads(kept.read_text(encoding="utf-8"))


def _result(video_id: str, source: Source) -> dict[str, Any]:
    had = source.stored(video_id) is not None
    result = {"status": "failed", "error": "", "file": "", "bytes": None, "sha256": "", "duration_s": None}
    result |= {"tries": 0 if had else 1, "message": ""}
    try:
        path = source.get(video_id)
        duration = video.probe(path)
    except FetchError as error:
        return result | {"error": error.kind, "message": str(error)}
    except video.VideoError as error:  # stored whole, spoilt since
        return result | {"error": "damaged", "message": f"{error.reason}: {error}"}
    found = {"bytes": path.stat().st_size, "sha256": store.sha256(path), "duration_s": round(duration, 3)}
    return result | {"status": "ok", "file": path.name} | found
