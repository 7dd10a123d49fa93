"""The command `recipevis`. Heavy packages are imported by the command that needs them, when it runs."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from recipevis import __version__, arithmetic
from recipevis.errors import InputError, RecipeVisError

arithmetic.fix()  # before a command imports torch

app = typer.Typer(
    help="Draws a recipe step by step, each image from the step's sentence and the image before it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_Params = Annotated[Path, typer.Option(help="The parameter file.")]
_FORMATS = (".png", ".jpg", ".jpeg")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"recipevis {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """What stands before the command."""


@app.command()
def generate(
    recipe: Annotated[Path, typer.Argument(help="Text file, a sentence a line; blank lines are ignored.")],
    model: Annotated[Path, typer.Option(help="Folder of a trained model.")] = Path("models/recipevis"),
    out: Annotated[Path, typer.Option(help="The picture: .png or .jpg.")] = Path("storyboard.png"),
    seed: Annotated[int, typer.Option(help="Another seed draws other images.", min=0)] = 0,
    steps: Annotated[int, typer.Option(help="Denoising steps an image.", min=1)] = 50,
    guidance: Annotated[float, typer.Option(help="How closely images follow their sentence.")] = 7.5,
    image_guidance: Annotated[
        float | None, typer.Option(help="How closely they follow the image before; not given: as --guidance.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:<number>.")] = "auto",
) -> None:
    """Draw a recipe's steps, each from the one drawn before, as one captioned picture."""
    with _told_in_one_line("generate"):
        sentences = read_recipe(recipe)
        _check_target(out)
        if not model.is_dir():
            raise InputError(f"{model}: no such folder; a model is what the stage `train` leaves in models/recipevis")
        from recipevis.core import files
        from recipevis.core.progress import track
        from recipevis.model import networks
        from recipevis.report import storyboard
        from recipevis.sampling import rollout

        pipeline = rollout.load_pipeline(model, networks.device(device))
        sampler = rollout.Sampler(pipeline, seed, steps, guidance, image_guidance)
        pictures = list(track(rollout.draw_recipe(sampler, sentences), "generate", len(sentences)))
        board = storyboard.compose(pictures, sentences)
        try:
            with files.replacing(out) as temporary:
                board.save(temporary)
        except OSError as error:
            raise InputError(f"{out}: can't be written: {error.strerror or error}") from error
        print(out)


@app.command()
def fusers(params: _Params = Path("params.yaml")) -> None:
    """List the fusers at the configured backbone: weights, memory of their activations, share of what is trained."""
    with _told_in_one_line("fusers"):
        from rich.box import SIMPLE
        from rich.console import Console
        from rich.table import Column, Table

        from recipevis.cli import fuser_costs
        from recipevis.config import load

        numbers = ("hidden", "weights", "activations, MiB an image", "share of what is trained")
        table = Table("fuser", *(Column(name, justify="right") for name in numbers), box=SIMPLE)
        for row in fuser_costs.all_fusers(load(params)):
            if row.hidden is None:
                table.add_row(row.name, "–", "none", "–", "–")
                continue
            numbers = (f"{row.hidden:,}", f"{row.weights:,}", f"{row.activations_mib:.2f}", f"{row.share:.1%}")
            table.add_row(row.name, *numbers)
        Console(width=None if sys.stdout.isatty() else 100).print(table)
        print("activations: fp32 tensors kept for the backward pass, computed; halve them for bf16 and fp16")


@app.command()
def doctor(
    params: _Params = Path("params.yaml"),
    probe: Annotated[
        bool, typer.Option("--probe", help="Also train for a few steps and tell what the whole run would take.")
    ] = False,
) -> None:
    """Say what this machine has and lacks for the configured run; exit status 2 if it lacks something."""
    with _told_in_one_line("doctor"):
        from rich.console import Console

        from recipevis.cli import doctor as doctors
        from recipevis.config import load

        console, parameters = Console(soft_wrap=True, highlight=False), load(params)
        missing = 0
        for finding in doctors.examine(parameters):
            style = {"ok": "green", "note": "yellow", "missing": "red"}[finding.state]
            remedy = f" -> {finding.remedy}" if finding.remedy else ""
            console.print(f"[{style}]{finding.state:8}[/] {finding.what}: {escape(finding.text + remedy)}")
            missing += finding.state == "missing"
        if probe:
            _probe(parameters)
        if missing:
            raise typer.Exit(2)


def _probe(parameters) -> None:
    """Measure and print what the configured run takes."""
    import tempfile

    from recipevis.cli import doctor, estimates, probe, stand_ins
    from recipevis.core import files
    from recipevis.model.backbone import sources

    print("\nprobe: about 25 training steps on this machine", flush=True)
    if parameters.backbone.source == "hub" and sources.folders(parameters.backbone) is None:
        print("  untrained networks of the sizes networks.random stand for the hub's", flush=True)
    files.home().mkdir(parents=True, exist_ok=True)
    with stand_ins.backbone(parameters) as networks, tempfile.TemporaryDirectory(dir=files.home()) as folder:
        costs = probe.measure(parameters, networks, Path(folder))
        told = estimates.estimate(costs, parameters, networks, doctor.recipes(parameters))
    print(*estimates.lines(costs, told, estimates.fit_cards(costs, parameters), parameters), sep="\n")


@app.command()
def clean(
    days: Annotated[float, typer.Option(help="Half-done work counts as abandoned after so many days.", min=0)] = 7,
    videos: Annotated[bool, typer.Option("--videos", help="Remove the caches of videos, too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Show what lies in RECIPEVIS_HOME and remove, when told to, what is abandoned."""
    from recipevis.cli import cleaning
    from recipevis.core import files

    found = cleaning.items()
    caches = [item for item in found if videos and item.kind == "videos" and not item.busy]
    gone = cleaning.abandoned(found, days) + caches
    print(f"{files.home()}: {_megabytes(sum(item.bytes for item in found))}")
    for item in found:
        about = "a process is at work" if item.busy else "to be removed" if item in gone else ""
        used, source = datetime.fromtimestamp(item.used_s), f"  ({item.about})" if item.about else ""
        print(f"  {_megabytes(item.bytes):>12}  {used:%Y-%m-%d}  {item.name}{source}  {about}".rstrip())
    if not gone:
        hint = "" if videos else ", --videos: caches of videos, too"
        print(f"nothing to remove: no half-done work untouched for {days:g} days (--days: others{hint})")
    elif yes or _agreed(f"Remove {len(gone)}, {_megabytes(sum(item.bytes for item in gone))}?"):
        for item in gone:
            print(f"{item.name}: {'removed' if cleaning.remove(item) else 'left, a process has begun to work in it'}")


def _agreed(question: str) -> bool:
    """Whether the user says yes."""
    try:
        return typer.confirm(question)
    except typer.Abort:
        typer.echo("\nclean: no answer, so nothing was removed; --yes removes without asking", err=True)
        raise typer.Exit(2) from None


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    params: _Params = Path("params.yaml"),
) -> None:
    """Write the triplets as an image folder that `datasets` loads: original_image, edit_prompt, edited_image."""
    with _told_in_one_line("export"):
        from recipevis.config import load
        from recipevis.data import export as exporting
        from recipevis.data.tables.triplets import read_triplets

        table = Path("data/triplets.csv")
        if not table.is_file():
            raise InputError(f"{table}: missing; `dvc repro manifest` makes it")
        frames = load(params).frames
        counts = exporting.export(read_triplets(table), frames.blank, frames.pixels, folder)
        print(f"{folder}: {', '.join(f'{split} {count:,}' for split, count in counts.items())} triplets")


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
    """Tell before drawing, which takes long, that the picture can't be written."""
    if path.suffix.lower() not in _FORMATS:
        raise InputError(f"{path}: can't be written: the name must end in one of {', '.join(_FORMATS)}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: can't be written: there is no folder {path.parent}")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: can't be written: {'it is a folder' if path.is_dir() else 'permission denied'}")


@contextmanager
def _told_in_one_line(command: str) -> Iterator[None]:
    try:
        yield
    except RecipeVisError as error:
        typer.echo(f"{command}: {error}", err=True)
        raise typer.Exit(error.exit_status) from None
