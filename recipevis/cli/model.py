"""What the commands that draw share: where the model is, and a safety checker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recipevis.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from recipevis.sampling.pipeline import RecipePipeline

MODEL = Path("models/recipevis")  # the project's own
ModelFolder = Annotated[Path, typer.Option(help="Folder of a trained model.")]
SafetyCheckerFolder = Annotated[
    Path | None,
    typer.Option(help="Folder of a Stable Diffusion whose safety checker turns what it flags black; empty: none."),
]


def check_model(folder: Path) -> None:
    """Refuse a model that isn't there, before anything is loaded.

    Raises:
        InputError: there is no such folder, or it holds no pipeline.
    """
    if not (folder / "model_index.json").is_file():
        reason = "not a model, it holds no model_index.json" if folder.is_dir() else "no such folder"
        raise InputError(f"{folder}: {reason}; `dvc repro package` makes {MODEL}")


def safety_check(folder: Path | None, pipeline: RecipePipeline) -> Callable[[np.ndarray], np.ndarray] | None:
    """The safety checker in a folder, on the pipeline's device, see `sampling.safety`; None: none."""
    if folder is None:
        return None
    from recipevis.sampling.safety import SafetyChecker

    return SafetyChecker(folder, pipeline.device)
