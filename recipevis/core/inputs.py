"""A stage's inputs and outputs as `dvc.yaml` lists them: whether inputs have changed, which outputs DVC committed.

Code is what lies below `recipevis/` and `stages/`, except the networks that ship with the package. Everything else is
data. Data can be large: it is hashed once, for the key of the work folder, then compared by size and time.
"""

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recipevis.core import files
from recipevis.errors import InputError

PARAMETERS = Path("params.yaml")
NETWORKS = Path("recipevis/kitchen/networks")


@dataclass(frozen=True)
class Inputs:
    """A stage's inputs at one moment.

    Attributes:
        parameters: value of each key that the stage lists.
        code: SHA-256 of each file of code.
        data: size in bytes and modification time in nanoseconds of each file of data.
    """

    parameters: dict[str, Any]
    code: dict[str, str]
    data: dict[str, tuple[int, int]]

    def key(self) -> str:
        """Sixteen hexadecimal digits that depend on the parameters and on the content of all data, not on code."""
        digest = hashlib.sha256(json.dumps(self.parameters, sort_keys=True).encode())
        for name in self.data:
            digest.update(f"\0{name}\0{files.sha256(Path(name))}".encode())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Committed:
    """A stage's outputs as `dvc.lock` has them.

    Attributes:
        hashes: of each output, by name.
        written_ns: when DVC wrote the file, nanoseconds; it writes it after each stage that ran, changed or not.
    """

    hashes: Mapping[str, str] = field(default_factory=dict)
    written_ns: int = 0


def deps(stage: str) -> list[Path]:
    """The files and folders that a stage reads, code included. `${key}` is replaced by the parameter's value."""
    values = files.read_yaml(PARAMETERS)
    listed = _entry(stage).get("deps", [])
    return [Path(re.sub(r"\$\{([\w.]+)\}", lambda key: str(_value(values, key[1])), name)) for name in listed]


def outs(stage: str) -> list[Path]:
    """The files and folders that a stage writes, metrics and plots included."""
    entry = _entry(stage)
    listed = [name for kind in ("outs", "metrics", "plots") for name in entry.get(kind, [])]
    return [Path(name if isinstance(name, str) else next(iter(name))) for name in listed]


def committed(stage: str) -> Committed:
    """What DVC committed of a stage last; nothing if there is no `dvc.lock`."""
    lock = Path("dvc.lock")
    if not lock.exists():
        return Committed()
    written_ns = lock.stat().st_mtime_ns
    stages = (files.read_yaml(lock) or {}).get("stages") or {}
    return Committed({out["path"]: out.get("md5", "") for out in stages.get(stage, {}).get("outs", [])}, written_ns)


def dvc_hash(path: Path) -> str:
    """A file's or folder's hash as DVC writes it in `dvc.lock`: MD5, of a folder that of its files' names and MD5."""
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    members = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    entries = [{"md5": dvc_hash(members[name]), "relpath": name} for name in sorted(members)]
    return hashlib.md5(json.dumps(entries, sort_keys=True).encode()).hexdigest() + ".dir"


def current(stage: str) -> Inputs:
    """A stage's inputs as they are now. Missing files are left out.

    Raises:
        ParameterError: the parameter file can't be read.
    """
    values, picked = files.read_yaml(PARAMETERS), {}
    for key in _entry(stage).get("params", []):
        picked |= {key: _value(values, key)} if isinstance(key, str) else values  # not a string: the whole file
    paths = sorted({file for dep in deps(stage) for file in _files(dep)})
    code = {path.as_posix(): files.sha256(path) for path in paths if _is_code(path)}
    data = {path.as_posix(): path.stat() for path in paths if not _is_code(path)}
    return Inputs(picked, code, {name: (stat.st_size, stat.st_mtime_ns) for name, stat in data.items()})


at_start = functools.cache(current)  # the inputs that the stage began with


def require_unchanged(stage: str) -> None:
    """Refuse to publish results if an input has changed since the stage started.

    DVC hashes `deps` and `params` after a stage has run. It would record the results of the old inputs as those of
    the new ones.

    Raises:
        InputError: inputs have changed since `at_start`; the message names each.
        ParameterError: the parameter file can't be read.
    """
    before, now = at_start(stage), current(stage)
    parameters, code, data = (
        [name for name in old | new if old.get(name) != new.get(name)]
        for old, new in zip(vars(before).values(), vars(now).values(), strict=True)
    )
    changed = [f"{PARAMETERS}, {name} (was {before.parameters.get(name)!r})" for name in parameters] + code + data
    if changed:
        # Half-done work of other code is kept and refused, see `work`.
        otherwise = "; a rerun with the changed code says how to go on" if code else ", or rerun to start over"
        raise InputError(
            f"changed while this stage ran: {'; '.join(changed)}. Nothing was published. "
            f"Revert the change and rerun to resume{otherwise}"
        )


def _is_code(path: Path) -> bool:
    return path.parts[0] in ("recipevis", "stages") and NETWORKS not in path.parents


def _files(path: Path) -> list[Path]:
    """A dep's files, without the caches that `.dvcignore` leaves out."""
    if not path.is_dir():
        return [path] if path.exists() else []
    return [file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts]


def _value(values: Any, key: str) -> Any:
    """The value of a dotted key; None if there is none."""
    for name in key.split("."):
        values = values.get(name) if isinstance(values, dict) else None
    return values


def _entry(stage: str) -> dict[str, Any]:
    return files.read_yaml(Path("dvc.yaml"))["stages"][stage]
