"""A stage's inputs and outputs, as `dvc.yaml` lists them, and whether the inputs are still what it began with."""

import functools
from pathlib import Path
from typing import Any

from recipevis import config
from recipevis.core import files
from recipevis.errors import InputError

PARAMETERS = Path("params.yaml")


def deps(stage: str) -> list[Path]:
    """The files and folders that a stage reads, modules included."""
    return [Path(name) for name in _entry(stage)["deps"]]


def outs(stage: str) -> list[Path]:
    """The files and folders that a stage writes, metrics and plots too."""
    entry = _entry(stage)
    listed = [name for kind in ("outs", "metrics", "plots") for name in entry.get(kind, [])]
    return [Path(name if isinstance(name, str) else next(iter(name))) for name in listed]


def current(stage: str) -> dict[str, Any]:
    """Each value of a stage's `params`, and of each of its `deps` a fingerprint: what it is to DVC.

    Raises:
        ParameterError: the parameter file can't be read.
    """
    values, picked = config.read(PARAMETERS), {}
    for key in _entry(stage)["params"]:
        if isinstance(key, str):
            picked[f"{PARAMETERS}, {key}"] = _value(values, key)
        else:  # the whole file
            picked |= {f"{PARAMETERS}, {name}": value for name, value in values.items()}
    return picked | {path.as_posix(): files.fingerprint([path], None) for path in deps(stage) if path.exists()}


first = functools.cache(current)  # those that the stage began with


def require_same(stage: str) -> None:
    """Refuse results whose inputs are no longer there.

    DVC looks at `deps` and `params` after a stage has run: it would take, and remember, the results of the old inputs
    for those of the new. And a stage that outlived its `dvc` would put its results among another experiment's.

    Raises:
        InputError: an input has changed since `first` was asked for; each is named.
        ParameterError: the parameter file can't be read.
    """
    before, now = first(stage), current(stage)
    changed = [_told(name, before.get(name)) for name in before | now if before.get(name) != now.get(name)]
    if changed:
        raise InputError(
            f"changed while this stage ran: {'; '.join(changed)}; its work is kept: put the change back and run the "
            "same to have its results, or run it again as things are now"
        )


def _value(values: Any, key: str) -> Any:
    """What lies under a dotted key; None where nothing does."""
    for name in key.split("."):
        values = values.get(name) if isinstance(values, dict) else None
    return values


def _told(name: str, before: Any) -> str:
    """An input that has changed; a parameter with the value that it had."""
    return f"{name} (was {before!r})" if name.startswith(f"{PARAMETERS}, ") else name


def _entry(stage: str) -> dict[str, Any]:
    return config.read(Path("dvc.yaml"))["stages"][stage]
