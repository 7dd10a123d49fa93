"""What every source of videos is: a folder in the store, filled by `Source.get`, whole or not at all.

A source has a folder in the store, `RECIPEVIS_HOME/videos/<name>/`, a cache of `<video id>.<extension>`. What lies
there is whole: a video is made under another name, probed and only then renamed.
"""

import errno
import hashlib
import json
import os
import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import filelock

from recipevis.core import files
from recipevis.data import video
from recipevis.errors import SourceError, disk_full

# Errors that asking again won't change. The others pass.
PERMANENT = frozenset({"private", "removed", "age_or_country_locked", "not_found", "no_suitable_format"})
REFUSALS = frozenset({"login_or_bot_check", "rate_limited"})  # these mean us, and not the video
PASSING = REFUSALS | {"network"}  # these say nothing of the video: a run that goes on asks again
ASK_ALL = "RECIPEVIS_ASK_ALL"  # environment variable: not empty: ask again for what failed for good, too
ABOUT = ".source"  # in a source's folder: where its videos come from, for people
# Files that lie beside videos under the same name.
NOT_VIDEOS = {".json", ".txt", ".csv", ".vtt", ".srt", ".jpg", ".jpeg", ".png", ".webp", ".part", ".ytdl", ".lock"}
NOT_VIDEOS |= {".m4a", ".mp3", ".aac", ".opus", ".ogg", ".wav", ".flac"}


class FetchError(Exception):
    """A video can't be had.

    Attributes:
        kind: a key of `tables.videos.ERRORS`.
        retry_after_s: the pause that the server asked for, seconds; 0 if it didn't.
    """

    def __init__(self, kind: str, message: str, retry_after_s: float = 0):
        super().__init__(" ".join(message.split()))
        self.kind, self.retry_after_s = kind, retry_after_s

    def __reduce__(self):
        return FetchError, (self.kind, str(self), self.retry_after_s)


class Source(ABC):
    """Gets videos by id and keeps them in a folder of the store. Safe for threads and processes.

    Args:
        name: of the folder below `RECIPEVIS_HOME/videos`; another for whatever would give another video.
        about: where the videos come from, for people: written beside them.
    """

    remote = False  # asked over a network: remembers what failed for good, asks twice for what came too short
    listed = ("_stored",)  # attributes that `_list` sets

    def __init__(self, name: str, about: str = ""):
        self.run = uuid.uuid4().hex  # stands for this source and its copies in other processes
        self._about, self._asks_all = about, bool(os.environ.get(ASK_ALL))
        self.folder = files.home() / "videos" / name
        self._list()

    def _list(self) -> None:
        """List the files that there are."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._stored = by_id(self.folder, self.folder.iterdir())

    def __reduce__(self):
        # With what the environment said here, which another machine's need not; without lists, which may be long.
        state = {name: value for name, value in vars(self).items() if name not in self.listed}
        return _copy, (_Sent(self.run, type(self), state),)

    @abstractmethod
    def _fetch(self, video_id: str, folder: Path) -> Path:
        """Put the video, or a link to it, into an empty folder under any name with its own extension.

        Raises:
            FetchError: it can't be had.
        """

    def stored(self, video_id: str) -> Path | None:
        """The video's file in the store, or None."""
        return next((path for path in self._stored.get(video_id, ()) if path.exists()), None)

    def get(self, video_id: str, needed_s: float = 0) -> Path:
        """The video's file in the store, fetched if it isn't there.

        Args:
            video_id: as annotated; `annotations` has refused what can't be the name of a file.
            needed_s: one that isn't longer, seconds, is asked for twice where `remote`; the longer of both is kept.

        Raises:
            FetchError: it can't be had, or is damaged; or couldn't for good when it was asked for before.
            SourceError: the source can't go on: the disk is full, or it refuses us.
        """
        if path := self.stored(video_id):
            return path
        partial = self.folder / ".partial" / f"{video_id}.new"  # no id with an ending is another's lock
        try:
            with self._locked(video_id):
                shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
                try:
                    path = self._whole(video_id, needed_s, partial)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise SourceError(disk_full(self.folder)) from error
            raise
        self._stored[video_id] = [path]
        return path

    def drop_spoilt(self, video_id: str) -> None:
        """Take a video out of the store that was whole once and is no longer, so that `get` fetches it anew."""
        with self._locked(video_id):
            path = self.stored(video_id)  # another process may have mended it meanwhile
            if path:
                try:
                    video.probe(path)
                except video.VideoError:
                    path.unlink()

    def _locked(self, video_id: str) -> filelock.FileLock:
        lock = self.folder / ".partial" / f"{video_id}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(lock)

    def _whole(self, video_id: str, needed_s: float, partial: Path) -> Path:
        """Fetch, probe, rename; unless another process has done it while this one waited for the lock."""
        made = [path for path in self.folder.glob(f"{video_id}.*") if path.stem == video_id and path.exists()]
        if made:
            return made[0]
        note = self.folder / ".failed" / f"{video_id}.json"
        if self.remote and note.exists() and not self._asks_all:
            raise FetchError(**json.loads(note.read_text(encoding="utf-8")))
        try:
            fetched, duration_s = self._probed(video_id, partial / "first")
            if self.remote and duration_s <= needed_s:
                fetched = self._longer(video_id, fetched, duration_s, partial / "second")
        except FetchError as error:
            if self.remote and error.kind in PERMANENT:
                files.write_json(note, {"kind": error.kind, "message": str(error)})
            raise
        note.unlink(missing_ok=True)
        if self._about and not (self.folder / ABOUT).exists():
            files.write_text(self.folder / ABOUT, f"{self._about}\n")
        path = self.folder / f"{video_id}{fetched.suffix}"
        os.replace(fetched, path)
        return path

    def _longer(self, video_id: str, fetched: Path, duration_s: float, folder: Path) -> Path:
        """What a second ask brings, if it is longer than what has come; a refusal alone ends both."""
        try:
            again, longer_s = self._probed(video_id, folder)
        except FetchError as error:
            if error.kind in REFUSALS:
                raise
            return fetched
        return again if longer_s > duration_s else fetched

    def _probed(self, video_id: str, folder: Path) -> tuple[Path, float]:
        """A fetched file and its seconds."""
        folder.mkdir(parents=True)
        fetched = self._fetch(video_id, folder)
        try:
            return fetched, video.probe(fetched)
        except video.VideoError as error:
            name = fetched.resolve() if fetched.is_symlink() else "what came"
            raise FetchError("damaged", f"{name}: {error}") from error


@dataclass(frozen=True)
class _Sent:
    """A source on its way to another process; one run's are equal."""

    run: str
    kind: type[Source] = field(compare=False)
    state: dict[str, Any] = field(compare=False)


@lru_cache(maxsize=1)
def _copy(sent: _Sent) -> Source:
    """The copy of another process's source, made once a run."""
    copy = sent.kind.__new__(sent.kind)
    vars(copy).update(sent.state)
    copy._list()
    return copy


def digest(*texts: str) -> str:
    """Twelve hexadecimal digits for a folder's name."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def by_id(folder: Path, paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Videos below a folder by id, each id's in the order of their paths."""
    found: dict[str, list[Path]] = {}
    for path in sorted(paths):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or not path.suffix or path.suffix.lower() in NOT_VIDEOS or path.is_dir():
            continue
        found.setdefault(path.stem, []).append(path)
    return found
