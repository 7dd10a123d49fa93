"""Where files live that no run may lose: the home folder, atomic writes, locks, half-done work.

`RECIPEVIS_HOME` (default: the user's cache folder) holds `videos/<dataset>/`, a cache of videos, and
`work/<stage>/<fingerprint>/`, a stage's half-done work. DVC deletes a stage's outputs before it reruns the
stage, so work that must survive an interruption lies there and is moved to the outputs when it is whole.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import platformdirs

# Read once: it can't be read without being set, and between the two another thread would make files open to all.
_UMASK = os.umask(0o077)
os.umask(_UMASK)


def home() -> Path:
    """The folder for videos and half-done work: `RECIPEVIS_HOME`, or the user's cache folder."""
    return user_path(os.environ.get("RECIPEVIS_HOME") or platformdirs.user_cache_dir("recipevis"))


def user_path(path: str) -> Path:
    """A path that the user wrote in the parameter file or the environment, absolute.

    Relative paths are taken from the workspace, `DVC_ROOT` in a queued experiment's temporary copy.
    """
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()) / Path(path).expanduser()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what was written there takes its place, whole or not at all.

    Never writes through `path` itself, which may be a hard link into DVC's cache.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    os.chmod(name, 0o666 & ~_UMASK)
    temporary = Path(name)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with `\\n` line ends, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write JSON in the order given, indented, whole or not at all. NaN is refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(paths: Iterable[Path], values: Any) -> str:
    """Sixteen hexadecimal digits that change with the content of any file below `paths`, or with `values`.

    Args:
        paths: files and folders; a folder counts with the relative name and content of every file in it.
        values: anything JSON can write.
    """
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for path in paths:
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in files:
            digest.update(f"\0{file.as_posix()}\0{sha256(file)}".encode())
    return digest.hexdigest()[:16]


class AlreadyMade(Exception):
    """Another process did the same work while this one waited for it, and its results are there."""


def work_path(stage: str, inputs: str) -> Path:
    """Where `work_folder` keeps a stage's half-done work; arguments as there."""
    return home() / "work" / stage / inputs


@contextmanager
def work_folder(stage: str, inputs: str, results: Sequence[Path] = (), keep: bool = False) -> Iterator[Path]:
    """The folder of a stage's half-done work, locked; removed when the block ends without an error.

    Args:
        stage: the stage's name.
        inputs: fingerprint of the stage's inputs and parameters, so that the half-done work of another experiment
            can't be taken for this one's.
        results: the files and folders that the work is for.
        keep: set the folder aside instead, until the next stage begins: if DVC is killed while it still commits the
            results, it deletes them, and the work of days is taken up again from what was kept.

    Raises:
        AlreadyMade: the folder was locked, and when it was free the work was finished and all of `results` were there.
    """
    folder = work_path(stage, inputs)
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        print(f"{stage}: another process is at the same work; waiting for it to end", file=sys.stderr, flush=True)
        lock.acquire()
        # Finished work has moved away; where it still lies there, the other crashed, and the results are old ones.
        if results and not folder.exists() and all(result.exists() for result in results):
            lock.release()
            raise AlreadyMade from None
    done = folder.with_suffix(".done")
    try:
        if done.exists() and not folder.exists():
            os.replace(done, folder)
        _clear_finished()
        folder.mkdir(exist_ok=True)
        for unfinished in folder.rglob(".*"):  # what a killed process was writing through `replacing`
            _remove(unfinished)
        yield folder
        os.replace(folder, done)
        if not keep:
            _clear_finished()
    finally:
        lock.release()


def _clear_finished() -> None:
    """Remove finished work, under another name first: half-removed work must not be taken up again."""
    for finished in (home() / "work").glob("*/*.done"):
        with contextlib.suppress(FileNotFoundError):  # another process may be at it too
            os.replace(finished, finished.with_suffix(f".{os.getpid()}.gone"))
    for gone in (home() / "work").glob("*/*.gone"):
        shutil.rmtree(gone, ignore_errors=True)


def publish(source: Path, target: Path) -> None:
    """Move a finished file or folder to where it belongs, in place of what is there; also across file systems."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.new")
    for leftover in (beside, beside.with_suffix(".old")):
        _remove(leftover)
    shutil.move(source, beside)
    if target.is_dir():
        os.replace(target, beside.with_suffix(".old"))
    os.replace(beside, target)
    _remove(beside.with_suffix(".old"))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
