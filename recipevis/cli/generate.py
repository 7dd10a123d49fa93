"""`recipevis generate`: a recipe's steps as a storyboard, a film, a page or a recipe with images."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recipevis.cli import outputs
from recipevis.cli.model import MODEL, ModelFolder, SafetyCheckerFolder, check_model, safety_check
from recipevis.core import files
from recipevis.errors import InputError, RecipeVisError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from recipevis.data.vocabulary import Vocabulary
    from recipevis.sampling.sampler import Sampler


def generate(
    recipe: Annotated[Path, typer.Argument(help="Text, one sentence a line; or Markdown; or schema.org's JSON.")],
    model: ModelFolder = MODEL,
    out: Annotated[
        Path,
        typer.Option(
            help="The result, by its ending: .png .jpg .webp (a storyboard), .gif .mp4 (a second a step), .html (a "
            "page), .json (a schema.org Recipe with images)."
        ),
    ] = Path("storyboard.png"),
    first_image: Annotated[
        Path | None, typer.Option(help="A photo, of any size, from which the first step is drawn.")
    ] = None,
    variants: Annotated[
        int, typer.Option(help="Number of drawings, a row each, with the seeds --seed, --seed + 1 and so on.", min=1)
    ] = 1,
    steps_dir: Annotated[
        Path | None, typer.Option(help="Folder for a picture of each step, saved as soon as it is drawn.")
    ] = None,
    from_step: Annotated[
        int, typer.Option(help="Keep the pictures of the steps before this one, which are in --steps-dir.", min=1)
    ] = 1,
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
    safety_checker: SafetyCheckerFolder = None,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:<number>.")] = "auto",
) -> None:
    """Generate an image for each step of a recipe, and save them with their sentences as one file."""
    for option, scale in (("--guidance", guidance), ("--image-guidance", image_guidance)):
        if scale is not None and not 0 <= scale < math.inf:
            raise InputError(f"{option} {scale}: must be a number of at least 0")
    if scheduler is not None:
        _check_scheduler(scheduler)
    from recipevis.cli.recipe.file import read_recipe

    sentences = read_recipe(recipe)
    if dry_run:
        _show(sentences)
        _warn(sentences, model / "tokenizer")
        return
    _check_target(out, steps_dir, variants)
    if steps_dir is not None:
        for number in range(variants):
            _check_folder(_folder(steps_dir, number, variants), len(sentences), out)
    kept = _read_kept(steps_dir, from_step, len(sentences))
    photo = None if first_image is None else _read_picture(first_image)
    check_model(model)
    labels = [f"seed {number}" for number in range(seed, seed + variants)]
    if (pixels := _pixels(model)) is not None:
        outputs.check_size(out.suffix.lower(), sentences, pixels, labels)
    _show(sentences)
    _warn(sentences, model / "tokenizer")
    print(f"loading {model} ...", flush=True)  # it takes seconds
    from recipevis.core import devices
    from recipevis.model.schedule import sampling_scheduler
    from recipevis.sampling.pipeline import load_pipeline
    from recipevis.sampling.sampler import Sampler

    pipeline = load_pipeline(model, devices.device(device))
    check = safety_check(safety_checker, pipeline)
    if scheduler:
        pipeline.scheduler = sampling_scheduler(pipeline.scheduler.config, scheduler)
    pixels = pipeline.config.pixels
    for number, picture in enumerate(kept):
        if picture.shape[:2] != (pixels, pixels):
            size = f"{picture.shape[1]} x {picture.shape[0]} pixels, the model draws {pixels} x {pixels}"
            raise InputError(f"{steps_dir / _name(number, len(sentences))}: has {size}: use a smaller --from-step")
    samplers = [Sampler(pipeline, seed + number, steps, guidance, image_guidance) for number in range(variants)]
    saved: list[Path] = []
    with _kept(saved, steps_dir) as folder:
        drawn = _draw(samplers, sentences, photo, kept, check, folder, saved)
        outputs.write(out, outputs.Drawing(_title(recipe), sentences, drawn, labels))
    print(out)


def _pixels(model: Path) -> int | None:
    """Height and width of the model's images, without loading it; None: its index can't be read, loading says why."""
    try:
        return int(json.loads((model / "model_index.json").read_text(encoding="utf-8"))["pixels"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _draw(
    samplers: Sequence[Sampler],
    sentences: Sequence[str],
    photo: np.ndarray | None,
    kept: Sequence[np.ndarray],
    check: Callable[[np.ndarray], np.ndarray] | None,
    folder: Path,
    saved: list[Path],
) -> list[list[np.ndarray]]:
    """Draw the recipe with each sampler, and save each picture as soon as it is drawn.

    Returns:
        the images of each drawing, those that are kept too.
    """
    from PIL import Image

    from recipevis.core.progress import meter
    from recipevis.sampling.sampler import generate_recipe

    drawn, count = [], len(sentences)
    with meter("generate", len(samplers) * (count - len(kept))) as progress:
        for number, sampler in enumerate(samplers):
            pictures, target = [], _folder(folder, number, len(samplers))
            if len(samplers) > 1:  # so that each variant's folder has all its pictures
                for step, picture in enumerate(kept):
                    _save(Image.fromarray(picture), target / _name(step, count))
            pictures += kept
            progress.set_postfix_str(_short(sentences[len(kept)]))
            for drawn_picture in generate_recipe(sampler, sentences, photo, kept):
                picture = check(drawn_picture) if check else drawn_picture
                path = target / _name(len(pictures), count)
                _save(Image.fromarray(picture), path)
                saved.append(path)
                pictures.append(picture)
                progress.advance(note=_short(sentences[len(pictures)]) if len(pictures) < count else "")
            drawn.append(pictures)
    return drawn


def _short(sentence: str) -> str:
    """A sentence for the progress bar: that of the step that is being drawn."""
    return textwrap.shorten(sentence, 40, placeholder="...")


def _title(recipe: Path) -> str:
    """A title from the name of the recipe's file."""
    words = recipe.stem.replace("_", " ").replace("-", " ").strip() or "recipe"
    return words[:1].upper() + words[1:]


def _folder(folder: Path, number: int, variants: int) -> Path:
    """The folder of a variant's pictures; `number` counts from 0."""
    return folder / f"variant_{number + 1:0{len(str(variants))}}" if variants > 1 else folder


def _check_scheduler(scheduler: str) -> None:
    from recipevis.config import SCHEDULERS

    if scheduler not in SCHEDULERS:
        raise InputError(f"--scheduler {scheduler}: must be one of {', '.join(SCHEDULERS)}")


def _read_kept(steps_dir: Path | None, from_step: int, count: int) -> list[np.ndarray]:
    """The pictures of the steps before `from_step`, uint8 [h, w, 3] each."""
    if from_step == 1:
        return []
    if steps_dir is None:
        raise InputError(f"--from-step {from_step}: needs --steps-dir, the folder with the pictures of earlier steps")
    if from_step > count:
        raise InputError(f"--from-step {from_step}: the recipe has only {count} steps")
    paths = [steps_dir / _name(step, count) for step in range(from_step - 1)]
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: no such picture; --from-step {from_step} keeps the pictures of the steps before")
    return [_read_picture(path) for path in paths]


def _read_picture(path: Path) -> np.ndarray:
    """A picture or photo, uint8 RGB [h, w, 3], turned as its EXIF data say."""
    from PIL import Image, UnidentifiedImageError

    from recipevis.sampling import photo

    try:
        with Image.open(path) as image:
            return photo.upright(image)
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: is not a picture, or of a kind that Pillow can't read; save it as JPEG") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: has too many pixels; scale it down") from error
    except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises for a damaged file
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: can't be read: {' '.join(str(reason).split())}") from error


@contextmanager
def _kept(saved: Sequence[Path], steps_dir: Path | None) -> Iterator[Path]:
    """The folder for the pictures of the steps: `steps_dir`, or a temporary one that is removed after a success.

    If the block ends early, the pictures stay there, and the last line on stderr says where.

    Args:
        saved: the files that were saved; the block appends to it.
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
        where = f"the pictures of {len(saved)} steps are in {folder}" if saved else "no picture was drawn"
        if steps_dir is None and not saved:
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
    lines = []
    if not all(map(str.isascii, sentences)):  # every font has these letters
        from recipevis.cli import fonts

        lines = fonts.warnings(sentences)
    if tokenizer.is_dir():
        from recipevis.data.vocabulary import Vocabulary

        lines = [*_unread(sentences, Vocabulary.load(tokenizer)), *lines]
    if _in_one_step(sentences):
        lines = [*lines, "all of it is one step; write one sentence a line for a picture of each"]
    for line in lines:
        typer.echo(f"warning: {line}", err=True)


def _in_one_step(sentences: Sequence[str]) -> bool:
    """Whether a whole recipe was read as one step: a paragraph of several sentences."""
    return len(sentences) == 1 and bool(re.search(r"[.!?]\s+\S", sentences[0]))


def _unread(sentences: Sequence[str], vocabulary: Vocabulary) -> Iterator[str]:
    from recipevis.data.vocabulary import show_cut

    for number, sentence in enumerate(sentences, start=1):
        if (end := vocabulary.end(sentence)) is not None:
            place = show_cut(sentence, end)
            yield f"step {number}: the model reads {vocabulary.length} tokens, the rest is left out: {place}"
    if unknown := vocabulary.unknown(sentences):
        more = f" and {len(unknown) - 20} more" if len(unknown) > 20 else ""
        yield f"the model doesn't know: {', '.join(unknown[:20])}{more}"


def _check_target(path: Path, steps_dir: Path | None, variants: int) -> None:
    """Refuse a file that can't be written before the images are generated, which takes long."""
    if path.suffix.lower() not in outputs.FORMATS:
        raise InputError(f"{path}: can't be written: the name must end in one of {', '.join(outputs.FORMATS)}")
    if variants > 1 and path.suffix.lower() not in outputs.SHEETS:
        raise InputError(f"{path}: holds one drawing; --variants needs a name that ends in {', '.join(outputs.SHEETS)}")
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
