"""Reading and writing files: the home folder, atomic writes, hashes, moving results to their place."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from recipevis.errors import InputError, ParameterError

# os.umask can only be read by setting it, and other threads must not create files meanwhile: so once, at import.
_UMASK = os.umask(0o077)
os.umask(_UMASK)


def home() -> Path:
    """The folder for videos and half-done work: `RECIPEVIS_HOME`, or the user's cache folder."""
    return user_path(os.environ.get("RECIPEVIS_HOME") or platformdirs.user_cache_dir("recipevis"))


def user_path(path: str) -> Path:
    """Make a path from the parameter file or the environment absolute.

    Relative paths start at the workspace, also in the temporary copy of a queued experiment (DVC sets `DVC_ROOT`) and
    in the clone of a row of Table 1 (`table1.runner` sets `RECIPEVIS_WORKSPACE`).

    Raises:
        InputError: the path begins with `~` and the name of no user.
    """
    try:
        workspace = os.environ.get("RECIPEVIS_WORKSPACE") or os.environ.get("DVC_ROOT") or Path.cwd()
        return Path(workspace) / Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"{path}: {path.split('/')[0]} is no user's home folder; write the whole path") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and move what was written there to `path` when the block succeeds.

    `path` itself may be a hard link into DVC's cache, so it is replaced and never written into.
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
    """Write UTF-8 text with `\\n` line ends, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, atomically. Keys keep their order. NaN raises ValueError."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_yaml(path: Path) -> Any:
    """Read a YAML 1.2 file with the parser that DVC uses, so that both read `3e-7` as a number.

    Raises:
        ParameterError: the file can't be read, or isn't YAML.
    """
    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path}: can't be read: {getattr(error, 'strerror', None) or error}") from error
    except YAMLError as error:
        raise ParameterError(f"{path}: not YAML: {' '.join(str(error).split())}") from error


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def publish(source: Path, target: Path) -> None:
    """Move a finished file or folder to its place and replace what is there. Works across file systems."""
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f".{target.name}.new")
    old = new.with_suffix(".old")
    for leftover in (new, old):
        remove(leftover)
    shutil.move(source, new)
    if target.is_dir():
        os.replace(target, old)
    os.replace(new, target)
    remove(old)


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
