"""The store of videos: fetched once, kept whole or not at all.

Each source has a folder `RECIPEVIS_HOME/videos/<name>/` of `<video id>.<extension>`. A video is fetched under another
name, probed, and only then renamed, so what has its final name is whole.
"""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import filelock

from recipevis.core import files
from recipevis.data import video
from recipevis.data.sources.base import NOT_VIDEOS, PERMANENT, REFUSALS, FetchError, Source, source_class
from recipevis.errors import SourceError, disk_full

ASK_ALL = "RECIPEVIS_ASK_ALL"  # environment variable; if not empty, permanent failures are tried again, too
_ABOUT = ".source"  # in a source's folder: where its videos come from, for people


class Store:
    """The videos of one source. Safe for threads and processes.

    Args:
        source: fetches what is not in the store.
    """

    def __init__(self, source: Source):
        self.source, self.folder = source, files.home() / "videos" / source.name
        self._asks_all = bool(os.environ.get(ASK_ALL))
        self.folder.mkdir(parents=True, exist_ok=True)

    def stored(self, video_id: str) -> Path | None:
        """The video's file in the store, or None."""
        paths = sorted(self.folder.glob(f"{video_id}.*"))
        return next((path for path in paths if path.stem == video_id and _is_video(path)), None)

    def get(self, video_id: str, needed_s: float = 0) -> Path:
        """The video's file in the store; fetched if it isn't there.

        Args:
            video_id: an id that the annotations' check accepted.
            needed_s: seconds. If the source is remote, a video that isn't longer is fetched a second time, and the
                longer one is kept.

        Raises:
            FetchError: it can't be fetched, it is damaged, or it failed permanently before.
            SourceError: the source can't go on: the disk is full, or the server refuses us.
        """
        if path := self.stored(video_id):
            return path
        partial = self.folder / ".partial" / f"{video_id}.new"  # an id with this suffix has other names than its lock
        try:
            with self._locked(video_id):
                shutil.rmtree(partial, ignore_errors=True)  # left by a killed process
                try:
                    return self.stored(video_id) or self._fetch(video_id, needed_s, partial)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise SourceError(disk_full(self.folder)) from error
            raise

    def refetch(self, video_id: str) -> Path | None:
        """`get` for a video that has left the store; None if it can't be fetched any more."""
        try:
            return self.get(video_id)
        except FetchError:
            return None

    def drop_damaged(self, video_id: str) -> None:
        """Remove a video that was damaged after it was stored, so that `get` fetches it anew."""
        with self._locked(video_id):
            path = self.stored(video_id)  # another process may have replaced it
            if path:
                try:
                    video.probe(path)
                except video.VideoError:
                    path.unlink()

    def _locked(self, video_id: str) -> filelock.FileLock:
        lock = self.folder / ".partial" / f"{video_id}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(lock)

    def _fetch(self, video_id: str, needed_s: float, partial: Path) -> Path:
        """Fetch, probe, rename; remember a permanent failure of a remote source."""
        note, remote = self.folder / ".failed" / f"{video_id}.json", self.source.remote
        if remote and note.exists() and not self._asks_all:
            raise FetchError(**json.loads(note.read_text(encoding="utf-8")))
        try:
            fetched, duration_s = self._fetch_and_probe(video_id, partial / "first")
            if remote and duration_s <= needed_s:
                fetched = self._longer(video_id, fetched, duration_s, partial / "second")
        except FetchError as error:
            if remote and error.kind in PERMANENT:
                files.write_json(note, {"kind": error.kind, "message": str(error)})
            raise
        note.unlink(missing_ok=True)
        if not (self.folder / _ABOUT).exists():
            files.write_text(self.folder / _ABOUT, f"{self.source.about}\n")
        path = self.folder / f"{video_id}{fetched.suffix}"
        os.replace(fetched, path)
        return path

    def _longer(self, video_id: str, first: Path, duration_s: float, folder: Path) -> Path:
        """The longer one of `first` and a second download. A second download that fails is ignored, a refusal isn't."""
        try:
            second, second_s = self._fetch_and_probe(video_id, folder)
        except FetchError as error:
            if error.kind in REFUSALS:
                raise
            return first
        return second if second_s > duration_s else first

    def _fetch_and_probe(self, video_id: str, folder: Path) -> tuple[Path, float]:
        """A fetched file and its duration, seconds."""
        folder.mkdir(parents=True)
        refused = []
        try:
            for fetched in self.source.candidates(video_id, folder):
                try:
                    return fetched, video.probe(fetched)
                except video.VideoError as error:
                    name = fetched.resolve() if fetched.is_symlink() else "the downloaded file"
                    refused.append(f"{name}: {error}")
        except FetchError as error:
            if not refused:
                raise
            refused.append(str(error))
        raise FetchError("damaged", "; ".join(refused))


def _is_video(path: Path) -> bool:
    return path.suffix.lower() not in NOT_VIDEOS and path.is_file()


def open_store(dataset: Any, download: Any) -> Store:
    """The store of the source that the parameters name.

    Args:
        dataset: the section `dataset`.
        download: the section `download`.

    Raises:
        InputError: what the source needs isn't there.
    """
    return Store(source_class(dataset.source).from_config(dataset, download))
