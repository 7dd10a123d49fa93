"""What lies below `RECIPEVIS_HOME`: how much, and what nobody is working on any more."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock

from recipevis.core import files
from recipevis.data.sources.base import ABOUT


@dataclass(frozen=True)
class Item:
    """A folder below the home.

    Attributes:
        kind: `videos`, a cache; `work`, half-done work.
        path: the folder.
        bytes: what the files in it take; a video that is a link counts as the link alone.
        used_s: when it was last written to, seconds since 1970.
        busy: a process is at work in it; of videos: one is being fetched.
        about: where the videos come from, if it is known.
    """

    kind: str
    path: Path
    bytes: int
    used_s: float
    busy: bool = False
    about: str = ""

    @property
    def name(self) -> str:
        """The path below the home."""
        return self.path.relative_to(files.home()).as_posix()


def items() -> list[Item]:
    """Every source's videos, then every stage's half-done work, by path."""
    home = files.home()
    videos = [_item("videos", path) for path in _folders(home / "videos")]
    work = [_item("work", path) for stage in _folders(home / "work") for path in _folders(stage)]
    return videos + work


def abandoned(found: list[Item], days: float, now_s: float | None = None) -> list[Item]:
    """Half-done work that no process is at, untouched for so many days."""
    before = (time.time() if now_s is None else now_s) - days * 86400
    return [item for item in found if item.kind == "work" and not item.busy and item.used_s <= before]


def remove(item: Item) -> bool:
    """Remove an item, unless a process has begun to work in it; whether it is gone."""
    try:
        with _unused(item.kind, item.path):
            shutil.rmtree(item.path)
    except filelock.Timeout:
        return False
    return True


def _folders(path: Path) -> Iterator[Path]:
    return (folder for folder in sorted(path.glob("*")) if folder.is_dir())


def _item(kind: str, path: Path) -> Item:
    files = [file.lstat() for file in path.rglob("*") if file.is_symlink() or file.is_file()]
    used_s = max([path.stat().st_mtime, *(status.st_mtime for status in files)])
    note = path / ABOUT
    about = note.read_text(encoding="utf-8").strip() if kind == "videos" and note.is_file() else ""
    return Item(kind, path, sum(status.st_size for status in files), used_s, _busy(kind, path), about)


def _busy(kind: str, path: Path) -> bool:
    try:
        with _unused(kind, path):
            return False
    except filelock.Timeout:
        return True


@contextmanager
def _unused(kind: str, path: Path) -> Iterator[None]:
    """Hold the lock of a folder of half-done work; see that none of a source's videos is being fetched.

    Raises:
        filelock.Timeout: a process is at work.
    """
    if kind == "videos":  # each has a lock of its own; a download of thousands leaves more than one may hold
        for lock in path.glob(".partial/*.lock"):
            with filelock.FileLock(lock).acquire(timeout=0):
                pass
        yield
        return
    lock = path.with_suffix(".lock")
    with filelock.FileLock(lock).acquire(timeout=0):
        yield
        if not path.exists():
            lock.unlink()  # while it is held: whoever waits for one that is gone makes another
