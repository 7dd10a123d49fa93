"""`recipevis queue`: `dvc exp run --queue` that refuses a wrong value now, and not when the experiment starts."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from recipevis import config
from recipevis.errors import ParameterError

_PARAMS = Path("params.yaml")


def queue(
    context: typer.Context,
    set_param: Annotated[
        list[str] | None,
        typer.Option("--set-param", "-S", help="key=value, as for `dvc exp run`; key=a,b queues one of each."),
    ] = None,
) -> None:
    """Queue experiments for `dvc queue start`, after a check of their parameters. Other options go to `dvc exp run`."""
    for settings in expand(set_param or []):
        check(settings)
    options = [word for setting in set_param or [] for word in ("--set-param", setting)]
    command = [sys.executable, "-m", "dvc", "exp", "run", "--queue", *options, *context.args]
    raise typer.Exit(subprocess.run(command).returncode)


def expand(settings: Sequence[str]) -> Iterator[list[str]]:
    """The settings of each experiment that DVC makes of these: `key=a,b` and `key=range(3)` stand for several.

    Raises:
        ParameterError: one is no `key=value`.
    """
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import get_hydra_sweeps, to_hydra_overrides
    from hydra.errors import OverrideParseException

    try:
        if not any(override.is_sweep_override() for override in to_hydra_overrides(list(settings))):
            yield list(settings)
            return
        for sweep in get_hydra_sweeps({str(_PARAMS): list(settings)}):
            yield sweep[str(_PARAMS)]
    except (DvcException, OverrideParseException) as error:
        raise ParameterError(f"{' '.join(settings)}: {str(error).splitlines()[0]}") from error


def check(settings: Sequence[str]) -> None:
    """Check `params.yaml` with some settings, as DVC would make them.

    Raises:
        ParameterError: a key or a value is wrong.
    """
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides

    with tempfile.TemporaryDirectory(prefix="recipevis-") as folder:
        copy = Path(folder) / _PARAMS
        try:
            shutil.copyfile(_PARAMS, copy)
            # `++` also takes a key that isn't there: config.load then names the one that was meant.
            apply_overrides(copy, [setting if setting[:1] in "+~" else f"++{setting}" for setting in settings])
        except OSError as error:
            raise ParameterError(f"{_PARAMS}: can't be read: {error.strerror}") from error
        except DvcException as error:
            raise ParameterError(f"{' '.join(settings)}: {' '.join(str(error.__cause__ or error).split())}") from error
        try:
            config.load(copy)
        except ParameterError as error:
            raise ParameterError(str(error).replace(str(copy), str(_PARAMS))) from error
