"""Videos that are on this machine already: a folder of files named by id."""

import uuid
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from recipevis.core import files
from recipevis.core.findings import Finding
from recipevis.data.sources.base import FetchError, Source, digest, group_by_id
from recipevis.data.tables.recipes import SUBSETS, Recipe
from recipevis.errors import InputError


class Local(Source):
    """Links the videos of a folder and of the folders in it into the store.

    Args:
        videos: holds `<video id>.<any extension>`. Of several files for one id, the first by path is taken; links that
            lead nowhere don't count.

    Raises:
        InputError: no such folder.
    """

    licence = "see where the videos come from"
    video_bytes = 0  # links
    needs: ClassVar = {**Source.needs, "videos_dir": "a folder"}

    def __init__(self, videos: Path):
        self.name, self.about = f"local-{digest(videos.resolve().as_posix())}", f"links into {videos.resolve()}"
        self._videos, self._run = videos, uuid.uuid4().hex
        _list(self._videos, self._run)

    @classmethod
    def from_config(cls, dataset: Any, download: Any) -> "Local":
        """See `Source.from_config`."""
        return cls(files.user_path(dataset.videos_dir))

    def fetch(self, video_id: str, folder: Path) -> Path:
        """See `Source.fetch`."""
        candidates = _list(self._videos, self._run).get(video_id)
        if candidates is None:
            raise FetchError("not_found", f"no {video_id}.* in {self._videos}")
        path = next(filter(Path.exists, candidates), None)
        if path is None:
            raise FetchError("not_found", f"{candidates[0]}: a link that leads nowhere")
        link = folder / f"video{path.suffix}"
        link.symlink_to(path.resolve())
        return link

    @classmethod
    def findings(cls, dataset: Any, recipes: Sequence[Recipe] | None) -> Iterator[Finding]:
        """How many of the annotated videos the folder has."""
        folder = files.user_path(dataset.videos_dir)
        if not folder.is_dir():
            yield Finding("videos", "missing", f"{folder}: no such folder", "set dataset.videos_dir")
            return
        files_by_id = group_by_id(folder, folder.rglob("*"))
        present = {video_id for video_id, paths in files_by_id.items() if any(path.exists() for path in paths)}
        if recipes is None:
            yield Finding("videos", "ok", f"{len(present):,} in {folder}")
            return
        found = [recipe for recipe in recipes if recipe.video_id in present]
        text = f"{len(found):,} of {len(recipes):,} annotated videos found in {folder}"
        if empty := [subset for subset in SUBSETS if not any(recipe.subset == subset for recipe in found)]:
            text += f", none for {' and '.join(empty)}"
            yield Finding("videos", "missing", text, "add <video id>.<extension>")
        else:
            yield Finding("videos", "ok" if len(found) == len(recipes) else "note", text)


@lru_cache(maxsize=1)
def _list(folder: Path, run: str) -> dict[str, list[Path]]:
    """The folder's videos by id, listed once a process and run: on a cluster each video's task brings its own copy."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder (dataset.videos_dir)")
    return group_by_id(folder, folder.rglob("*"))
