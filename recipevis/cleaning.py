"""What lies below `RECIPEVIS_HOME`: how much, and what nobody is working on any more."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock

from recipevis import store
from recipevis.video_source import ABOUT


@dataclass(frozen=True)
class Item:
    """A folder below the home.

    Attributes:
        kind: `videos`, a cache; `work`, half-done work.
        path: the folder.
        bytes: what the files in it take; a video that is a link to another folder's counts as nothing.
        used_s: when it was last written to, seconds since 1970.
        busy: a process is at work in it.
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
        return self.path.relative_to(store.home()).as_posix()


def items() -> list[Item]:
    """Every source's videos, then every stage's half-done work, by path."""
    home = store.home()
    videos = [_item("videos", path) for path in _folders(home / "videos")]
    work = [_item("work", path) for stage in _folders(home / "work") for path in _folders(stage)]
    return videos + work


def abandoned(found: list[Item], days: float, now_s: float | None = None) -> list[Item]:
    """Half-done work that no process is at, untouched for so many days."""
    before = (time.time() if now_s is None else now_s) - days * 86400
    return [item for item in found if item.kind == "work" and not item.busy and item.used_s <= before]


def remove(item: Item) -> bool:
    """Remove an item, unless a process has begun to work in it; whether it is gone."""
    lock = filelock.FileLock(item.path.with_suffix(".lock"))
    try:
        with lock.acquire(timeout=0):
            shutil.rmtree(item.path)
    except filelock.Timeout:
        return False
    item.path.with_suffix(".lock").unlink(missing_ok=True)
    return True


def _folders(path: Path) -> Iterator[Path]:
    return (folder for folder in sorted(path.glob("*")) if folder.is_dir())


def _item(kind: str, path: Path) -> Item:
    files = [file.lstat() for file in path.rglob("*") if file.is_symlink() or file.is_file()]
    used_s = max([path.stat().st_mtime, *(status.st_mtime for status in files)])
    note = path / ABOUT
    about = note.read_text(encoding="utf-8").strip() if kind == "videos" and note.is_file() else ""
    return Item(kind, path, sum(status.st_size for status in files), used_s, kind == "work" and _locked(path), about)


def _locked(path: Path) -> bool:
    try:
        with filelock.FileLock(path.with_suffix(".lock")).acquire(timeout=0):
            return False
    except filelock.Timeout:
        return True
