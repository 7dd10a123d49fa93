"""`recipevis generate`: a storyboard of a recipe."""

import math
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from recipevis.cli.recipe.file import read_recipe
from recipevis.config import SCHEDULERS
from recipevis.core import files
from recipevis.data.vocabulary import Vocabulary, show_cut
from recipevis.errors import InputError, RecipeVisError

_FORMATS = (".png", ".jpg", ".jpeg")


def generate(
    recipe: Annotated[Path, typer.Argument(help="Text, one sentence a line; or Markdown; or schema.org's JSON.")],
    model: Annotated[Path, typer.Option(help="Folder of a trained model.")] = Path("models/recipevis"),
    out: Annotated[Path, typer.Option(help="The storyboard: .png or .jpg.")] = Path("storyboard.png"),
    steps_dir: Annotated[
        Path | None, typer.Option(help="Folder for a picture of each step, saved as soon as it is drawn.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the steps that were read; draw nothing.")] = False,
    seed: Annotated[int, typer.Option(help="Each seed gives other images.", min=0)] = 0,
    steps: Annotated[int | None, typer.Option(help="Denoising steps an image; the model has a default.", min=1)] = None,
    guidance: Annotated[
        float | None, typer.Option(help="Guidance scale of the sentence; the model has a default.")
    ] = None,
    image_guidance: Annotated[
        float | None, typer.Option(help="Guidance scale of the previous image; the model has a default.")
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="ddpm, ddim or dpm-solver++; the model has a default.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:<number>.")] = "auto",
) -> None:
    """Generate an image for each step of a recipe, and save them with their sentences as one picture."""
    for option, scale in (("--guidance", guidance), ("--image-guidance", image_guidance)):
        if scale is not None and not 0 <= scale < math.inf:
            raise InputError(f"{option} {scale}: must be a number of at least 0")
    if scheduler not in (None, *SCHEDULERS):
        raise InputError(f"--scheduler {scheduler}: must be one of {', '.join(SCHEDULERS)}")
    sentences = read_recipe(recipe)
    if dry_run:
        _show(sentences)
        _warn(sentences, model / "tokenizer")
        return
    _check_target(out, steps_dir)
    if steps_dir is not None:
        _check_folder(steps_dir, len(sentences), out)
    if not model.is_dir():
        raise InputError(f"{model}: no such folder; `dvc repro package` makes models/recipevis")
    from recipevis.cli import storyboard
    from recipevis.core import devices
    from recipevis.core.progress import track
    from recipevis.model.schedule import sampling_scheduler
    from recipevis.sampling.pipeline import load_pipeline
    from recipevis.sampling.rollout import Sampler, generate_recipe

    pipeline = load_pipeline(model, devices.device(device))
    if scheduler:
        pipeline.scheduler = sampling_scheduler(pipeline.scheduler.config, scheduler)
    pixels = pipeline.config.pixels
    storyboard.arrange(sentences, pixels, pixels)  # refuses a recipe whose storyboard would be too large
    _show(sentences)
    _warn(sentences, model / "tokenizer")
    sampler = Sampler(pipeline, seed, steps, guidance, image_guidance)
    pictures = []
    with _kept(pictures, steps_dir) as folder:
        for picture in track(generate_recipe(sampler, sentences), "generate", len(sentences)):
            _save(Image.fromarray(picture), folder / _name(len(pictures), len(sentences)))
            pictures.append(picture)
        _save(storyboard.compose(pictures, sentences), out)
    print(out)


@contextmanager
def _kept(pictures: Sequence[np.ndarray], steps_dir: Path | None) -> Iterator[Path]:
    """The folder for the pictures of the steps: `steps_dir`, or a temporary one that is removed after a success.

    If the block ends early, the pictures stay there, and the last line on stderr says where.

    Args:
        pictures: those that were saved; the block appends to it.
        steps_dir: made if it is missing.
    """
    try:
        folder = Path(steps_dir or tempfile.mkdtemp(prefix="recipevis-steps-"))
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{steps_dir or tempfile.gettempdir()}: can't be written: {error.strerror or error}"
        ) from error
    try:
        yield folder
    except BaseException as error:
        where = f"the pictures of {len(pictures)} steps are in {folder}" if pictures else "no picture was drawn"
        if steps_dir is None and not pictures:
            files.remove(folder)
        if isinstance(error, RecipeVisError):
            raise type(error)(f"{error}; {where}") from error
        typer.echo(
            f"generate: {'interrupted' if isinstance(error, KeyboardInterrupt) else 'failed'}; {where}", err=True
        )
        if isinstance(error, KeyboardInterrupt):
            raise typer.Exit(130) from None
        raise
    if steps_dir is None:
        files.remove(folder)


def _name(step: int, count: int) -> str:
    """The file of a step's picture: the step counts from 1, with zeros so that names sort."""
    return f"step_{step + 1:0{max(2, len(str(count)))}}.png"


def _save(picture: Image.Image, path: Path) -> None:
    """Save a picture whole or not at all."""
    try:
        with files.replacing(path) as temporary:
            picture.save(temporary)
    except OSError as error:
        raise InputError(f"{path}: can't be written: {error.strerror or error}") from error


def _show(sentences: Sequence[str]) -> None:
    """Print the steps, numbered from 1."""
    width = len(str(len(sentences)))
    encoding = sys.stdout.encoding or "utf-8"
    for number, sentence in enumerate(sentences, start=1):
        line = f"{number:>{width}}. {sentence}"
        print(line.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def _warn(sentences: Sequence[str], tokenizer: Path) -> None:
    """Say what the model won't read and what the storyboard can't show, a line each on stderr.

    Args:
        sentences: of the recipe.
        tokenizer: the folder of the model's tokenizer; if it is missing, only fonts are checked.
    """
    from recipevis.cli import fonts

    lines = fonts.warnings(sentences)
    if tokenizer.is_dir():
        lines = [*_unread(sentences, Vocabulary.load(tokenizer)), *lines]
    for line in lines:
        typer.echo(f"warning: {line}", err=True)


def _unread(sentences: Sequence[str], vocabulary: Vocabulary) -> Iterator[str]:
    for number, sentence in enumerate(sentences, start=1):
        if (end := vocabulary.end(sentence)) is not None:
            place = show_cut(sentence, end)
            yield f"step {number}: the model reads {vocabulary.length} tokens, the rest is left out: {place}"
    if unknown := vocabulary.unknown(sentences):
        more = f" and {len(unknown) - 20} more" if len(unknown) > 20 else ""
        yield f"the model doesn't know: {', '.join(unknown[:20])}{more}"


def _check_target(path: Path, steps_dir: Path | None) -> None:
    """Refuse a picture that can't be written before the images are generated, which takes long."""
    if path.suffix.lower() not in _FORMATS:
        raise InputError(f"{path}: can't be written: the name must end in one of {', '.join(_FORMATS)}")
    if steps_dir is not None and path.parent.resolve() == steps_dir.resolve() and not path.exists():
        return  # the folder of the steps is made if it is missing
    if not path.parent.is_dir():
        raise InputError(f"{path}: can't be written: there is no folder {path.parent}")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: can't be written: {'it is a folder' if path.is_dir() else 'permission denied'}")


def _check_folder(folder: Path, count: int, out: Path) -> None:
    """Refuse a folder that the pictures of the steps can't be written to; an older picture of a step is replaced."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists() or path.is_symlink())
    if not there.is_dir():
        raise InputError(f"{folder}: can't be written: {there} is not a folder")
    if not os.access(there, os.W_OK):
        raise InputError(f"{folder}: can't be written: permission denied")
    for path in (folder / _name(step, count) for step in range(count)):
        if path.is_dir():
            raise InputError(f"{path}: can't be written: it is a folder")
        if path.resolve() == out.resolve():
            raise InputError(f"{out}: is also the picture of a step; choose another --out or --steps-dir")
