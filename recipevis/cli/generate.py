"""`recipevis generate`: a storyboard of a recipe."""

import os
from pathlib import Path
from typing import Annotated

import typer

from recipevis.errors import InputError

_FORMATS = (".png", ".jpg", ".jpeg")


def generate(
    recipe: Annotated[Path, typer.Argument(help="Text file, one sentence a line; blank lines are ignored.")],
    model: Annotated[Path, typer.Option(help="Folder of a trained model.")] = Path("models/recipevis"),
    out: Annotated[Path, typer.Option(help="The storyboard: .png or .jpg.")] = Path("storyboard.png"),
    seed: Annotated[int, typer.Option(help="Each seed gives other images.", min=0)] = 0,
    steps: Annotated[int | None, typer.Option(help="Denoising steps an image; the model has a default.", min=1)] = None,
    guidance: Annotated[
        float | None, typer.Option(help="Guidance scale of the sentence; the model has a default.")
    ] = None,
    image_guidance: Annotated[
        float | None, typer.Option(help="Guidance scale of the previous image; the model has a default.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:<number>.")] = "auto",
) -> None:
    """Generate an image for each step of a recipe, and save them with their sentences as one picture."""
    sentences = read_recipe(recipe)
    _check_target(out)
    if not model.is_dir():
        raise InputError(f"{model}: no such folder; `dvc repro package` makes models/recipevis")
    from recipevis.cli import storyboard
    from recipevis.core import devices, files
    from recipevis.core.progress import track
    from recipevis.sampling.pipeline import load_pipeline
    from recipevis.sampling.rollout import Sampler, generate_recipe

    pipeline = load_pipeline(model, devices.device(device))
    sampler = Sampler(pipeline, seed, steps, guidance, image_guidance)
    pictures = list(track(generate_recipe(sampler, sentences), "generate", len(sentences)))
    board = storyboard.compose(pictures, sentences)
    try:
        with files.replacing(out) as temporary:
            board.save(temporary)
    except OSError as error:
        raise InputError(f"{out}: can't be written: {error.strerror or error}") from error
    print(out)


def read_recipe(path: Path) -> list[str]:
    """The sentences of a recipe file, one a line, without outer whitespace; blank lines are ignored.

    Raises:
        InputError: the file can't be read as UTF-8 text, or has no sentence.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text") from error
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}") from error
    sentences = [line.strip() for line in lines if line.strip()]
    if not sentences:
        raise InputError(f"{path}: empty; write one sentence a line")
    return sentences


def _check_target(path: Path) -> None:
    """Refuse a picture that can't be written before the images are generated, which takes long."""
    if path.suffix.lower() not in _FORMATS:
        raise InputError(f"{path}: can't be written: the name must end in one of {', '.join(_FORMATS)}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: can't be written: there is no folder {path.parent}")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: can't be written: {'it is a folder' if path.is_dir() else 'permission denied'}")
