"""The store of videos: fetched once, kept whole or not at all.

Each source has a folder `RECIPEVIS_HOME/videos/<name>/` of `<video id>.<extension>`. A video is fetched under another
name, probed, and only then renamed, so what has its final name is whole.

A failure of a remote source is noted in `.failed/<video id>.json`, each time that the video is asked for. It is final
once two asks agree that had nothing in common that could be at fault.
"""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import filelock

from recipevis.core import files
from recipevis.data import video
from recipevis.data.sources.base import (
    NOT_VIDEOS,
    PERMANENT,
    REFUSALS,
    FetchError,
    Past,
    SetUpFault,
    Source,
    source_class,
)
from recipevis.errors import SourceError, disk_full

ASK_ALL = "RECIPEVIS_ASK_ALL"  # environment variable; if not empty, final failures are tried again, too
APART = timedelta(hours=6)  # between two asks that confirm each other
_KEPT_ASKS = 20
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
        if source.remote:
            source.past = Past(self.stored_ids, self.failed)

    def stored_ids(self) -> list[str]:
        """The ids of all videos in the store, those that came last first."""
        came = {}
        for path in self.folder.glob("[!.]*.*"):
            with contextlib.suppress(FileNotFoundError):  # another process drops it
                if _is_video(path):
                    came[path.stem] = path.stat().st_ctime_ns  # of the rename; the time of change is the server's
        return sorted(came, key=came.__getitem__, reverse=True)

    def failed(self, video_id: str) -> str:
        """The kind of a video's latest noted failure; empty if there is none."""
        asks = self._asks(video_id)
        return asks[-1]["kind"] if asks else ""

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
            FetchError: it can't be fetched, it is damaged, or its failure is final.
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
        """Fetch, probe, rename; note a failure of a remote source."""
        remote, asks = self.source.remote, self._asks(video_id)
        if remote and _is_final(asks) and not self._asks_all:
            raise FetchError(asks[-1]["kind"], asks[-1]["message"])
        try:
            fetched, duration_s = self._fetch_and_probe(video_id, partial / "first")
            if remote and duration_s <= needed_s:
                fetched = self._longer(video_id, fetched, duration_s, partial / "second")
        except FetchError as error:
            if remote:
                self._note(video_id, error, error.kind in PERMANENT and self.source.is_sound())
            raise
        except SetUpFault as fault:
            self._note(video_id, fault.last, False)
            for doubted in fault.video_ids:
                self._write_asks(doubted, [ask | {"sound": False} for ask in self._asks(doubted)])
            raise
        self._note_path(video_id).unlink(missing_ok=True)
        if not (self.folder / _ABOUT).exists():
            files.write_text(self.folder / _ABOUT, f"{self.source.about}\n")
        path = self.folder / f"{video_id}{fetched.suffix}"
        os.replace(fetched, path)
        return path

    def _note_path(self, video_id: str) -> Path:
        return self.folder / ".failed" / f"{video_id}.json"

    def _asks(self, video_id: str) -> list[dict[str, Any]]:
        """A video's failed asks, oldest first: `at` (UTC), `kind`, `message`, `set_up`, and whether it was `sound`."""
        note = self._note_path(video_id)
        try:
            read = json.loads(note.read_text(encoding="utf-8"))
            if "asks" in read:
                return [ask | {"at": datetime.fromisoformat(ask["at"]).isoformat()} for ask in read["asks"]]
            # A note of version 0.1 has the kind and the message alone.
            at = datetime.fromtimestamp(note.stat().st_mtime, UTC).isoformat()
            return [{"at": at, "kind": read["kind"], "message": read["message"], "set_up": "", "sound": True}]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError):  # spoilt: the video is asked for again
            return []

    def _note(self, video_id: str, error: FetchError, sound: bool) -> None:
        """Note one more ask. `sound`: the set-up is known to work, so the failure is the video's."""
        ask = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "kind": error.kind, "message": str(error)}
        self._write_asks(video_id, [*self._asks(video_id), ask | {"set_up": self.source.set_up, "sound": sound}])

    def _write_asks(self, video_id: str, asks: Sequence[dict[str, Any]]) -> None:
        files.write_json(self._note_path(video_id), {"asks": list(asks[-_KEPT_ASKS:])})

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


def _is_final(asks: Sequence[dict[str, Any]]) -> bool:
    """Whether two asks agree on the latest permanent failure: under a set-up that works, hours apart or under another.

    Notes of version 0.1 don't know their set-up, so only time confirms them.
    """
    if not asks or asks[-1]["kind"] not in PERMANENT:
        return False
    alike = [ask for ask in asks if ask["kind"] == asks[-1]["kind"] and ask["sound"]]
    return any(
        abs(datetime.fromisoformat(second["at"]) - datetime.fromisoformat(first["at"])) >= APART
        or (first["set_up"] and second["set_up"] and first["set_up"] != second["set_up"])
        for first, second in combinations(alike, 2)
    )


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
