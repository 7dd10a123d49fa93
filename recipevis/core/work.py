"""Folders for half-done work: locked while in use, kept when a stage is interrupted, removed when it is done.

DVC deletes a stage's outputs before it reruns the stage. So work that must survive an interruption lies in
`RECIPEVIS_HOME/work/<stage>/<key>/` until it is whole. The key stands for the stage's parameters and data.
"""

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import filelock

from recipevis.core import files
from recipevis.core.inputs import Committed, dvc_hash
from recipevis.errors import InputError

RESUME = "RECIPEVIS_RESUME"
_CODE = "code.json"  # in the work folder: the SHA-256 of each file of code that the work was made with
_RESULTS = "results.json"  # in the folder of finished work: its results' hashes, and when `dvc.lock` was written before
NOTHING = Committed()


class AlreadyMade(Exception):
    """Another process did the same work while this one waited for it, and its results are there."""


def work_path(stage: str, key: str) -> Path:
    """The path of a stage's work folder."""
    return files.home() / "work" / stage / key


@contextmanager
def work_folder(
    stage: str,
    key: str,
    code: Mapping[str, str],
    results: Sequence[Path] = (),
    keep: bool = False,
    committed: Committed = NOTHING,
) -> Iterator[Path]:
    """Create or resume a stage's work folder, hold its lock, and remove the folder when the block succeeds.

    Args:
        stage: name of the stage.
        key: changes with the stage's parameters and data, so that two experiments never share half-done work.
        code: SHA-256 of each file of code that makes the work, by name.
        results: the files and folders that the work is for.
        keep: keep the folder until the next stage begins. DVC deletes results that it had not committed yet when it
            was killed; a rerun then makes them again from this folder.
        committed: what DVC committed of the stage last. If the kept work made it, a rerun begins anew: the user wants
            that, by `dvc repro --force`.

    Raises:
        AlreadyMade: another process held the lock, finished, and all of `results` exist.
        InputError: `code` has changed since the half-done work was begun, and `RECIPEVIS_RESUME` isn't set to 1.
    """
    folder = work_path(stage, key)
    done = folder.with_suffix(".done")
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        print(f"{stage}: another process is doing the same work; waiting for it to end", file=sys.stderr, flush=True)
        lock.acquire()
        # A process that finished has removed its folder. If the folder is there, it crashed and the results are old.
        if results and not folder.exists() and all(result.exists() for result in results):
            lock.release()
            raise AlreadyMade from None
    try:
        if done.exists() and not folder.exists() and not _changed(done, code) and not _is_committed(done, committed):
            os.replace(done, folder)
        _remove_finished()
        _check_code(stage, folder, code)
        folder.mkdir(exist_ok=True)
        for temporary in folder.rglob(".*"):  # a killed process left these in `files.replacing`
            files.remove(temporary)
        if code:
            files.write_json(folder / _CODE, dict(code))
        yield folder
        if keep and results:
            hashes = {result.as_posix(): dvc_hash(result) for result in results}
            files.write_json(folder / _RESULTS, {"hashes": hashes, "before_ns": committed.written_ns})
        os.replace(folder, done)
        if not keep:
            _remove_finished()
    finally:
        lock.release()


def _resumes() -> bool:
    return os.environ.get(RESUME) == "1"


def _changed(folder: Path, code: Mapping[str, str]) -> list[str]:
    """Names of the files of code that differ from those that a folder's work was made with."""
    record = folder / _CODE
    before = json.loads(record.read_text(encoding="utf-8")) if record.exists() else code
    return sorted(name for name in before.keys() | code.keys() if before.get(name) != code.get(name))


def _is_committed(done: Path, committed: Committed) -> bool:
    """Whether DVC has committed the results of finished work since the work was finished."""
    record = done / _RESULTS
    if not record.exists():
        return False
    made = json.loads(record.read_text(encoding="utf-8"))
    # Equal results may have been committed before, by an earlier run.
    return committed.written_ns != made["before_ns"] and made["hashes"].items() <= committed.hashes.items()


def _check_code(stage: str, folder: Path, code: Mapping[str, str]) -> None:
    """Refuse to mix the work of two versions of the code, unless the user asks for it."""
    if (changed := _changed(folder, code)) and not _resumes():
        raise InputError(
            f"{', '.join(changed)} changed since this half-done work was begun; to resume it with the changed code, "
            f"run `{RESUME}=1 dvc repro {stage}`; to start over, delete {folder} and rerun"
        )


def _remove_finished() -> None:
    """Remove finished work. It is renamed first: half-removed work must never be resumed."""
    work = files.home() / "work"
    for finished in work.glob("*/*.done"):
        with contextlib.suppress(FileNotFoundError):  # another process removes it at the same time
            os.replace(finished, finished.with_suffix(f".{os.getpid()}.gone"))
    for gone in work.glob("*/*.gone"):
        shutil.rmtree(gone, ignore_errors=True)
