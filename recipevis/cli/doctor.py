"""`recipevis doctor`: what this machine lacks for the configured run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recipevis.core import files
from recipevis.core.findings import Finding
from recipevis.errors import InputError, ParameterError, install

if TYPE_CHECKING:
    from recipevis.config import Config
    from recipevis.data.tables.recipes import Recipe

GIB = 2**30
YOUCOOK2 = (1_790, 13_829)  # videos, steps
_FRAME_BYTES = 1.6  # a pixel of a PNG frame
_COLOURS = {"ok": "green", "note": "yellow", "missing": "red"}


def doctor(
    params: Annotated[Path, typer.Option(help="The parameter file.")] = Path("params.yaml"),
    probe: Annotated[
        bool, typer.Option("--probe", help="Also run 20 training steps and say what the whole run takes.")
    ] = False,
    ask: Annotated[
        bool, typer.Option("--ask", help="Also ask the source for an annotated video, without downloading it.")
    ] = False,
) -> None:
    """Check this machine for the configured run; the exit status is 2 if something is missing."""
    from rich.console import Console
    from rich.markup import escape

    from recipevis import config

    console, parameters, missing = Console(soft_wrap=True, highlight=False), config.load(params), 0
    for finding in examine(parameters, ask):
        remedy = f" -> {finding.remedy}" if finding.remedy else ""
        colour = _COLOURS[finding.state]
        console.print(f"[{colour}]{finding.state:8}[/] {finding.what}: {escape(finding.text + remedy)}")
        missing += finding.state == "missing"
    if probe:
        from recipevis.cli.probe import run

        run(parameters)
    if missing:
        raise typer.Exit(2)


def examine(parameters: Config, ask: bool = False) -> Iterator[Finding]:
    """Every finding, in the order of the stages that need it; the slow ones last.

    Args:
        parameters: of the run.
        ask: also request the annotations and one of their videos, if they are on a server.
    """
    from recipevis.backbone.base import source_of
    from recipevis.backbone.encoder import IMAGE, IMAGE_TEXT, check_encoder
    from recipevis.data.sources.base import source_class as video_source

    source = video_source(parameters.dataset.source)
    finding, recipes = _annotations(parameters, ask)
    yield finding
    yield from source.findings(parameters.dataset, recipes)
    if ask:
        yield from source.ask(parameters.dataset, parameters.download, recipes)
    if parameters.execution.dask and importlib.util.find_spec("distributed") is None:
        yield Finding("Dask", "missing", "not installed", install("cluster"))
    yield _ffmpeg()
    yield source_of(parameters.backbone).check()
    evaluate = parameters.evaluate
    for role, name, revision in (
        (IMAGE_TEXT, evaluate.encoder, evaluate.encoder_revision),
        (IMAGE, evaluate.image_encoder, evaluate.image_encoder_revision),
    ):
        if name:
            yield check_encoder(name, revision, role)
    yield from _disk(parameters, recipes)
    yield _git()
    yield from _queue()
    yield _device(parameters)


def _annotations(parameters: Config, ask: bool) -> tuple[Finding, list[Recipe] | None]:
    """The finding, and the recipes if they are on this machine or asked for."""
    from recipevis.data import annotations
    from recipevis.data.sources.base import source_class

    dataset = parameters.dataset
    in_a_file = "annotations" in source_class(dataset.source).needs
    where = dataset.annotations if in_a_file else f"written by the source {dataset.source!r}"
    if where.lower().startswith(("http://", "https://")) and not ask:
        return Finding("annotations", "note", f"fetched from {where}; assumed to be as many as YouCook2's"), None
    try:
        recipes = annotations.load(dataset)
    except InputError as error:
        return Finding("annotations", "missing", str(error), "correct the file, or set dataset.annotations"), None
    count = f"{len(recipes):,} videos, {sum(len(recipe.steps) for recipe in recipes):,} steps"
    return Finding("annotations", "ok", f"{where}: {count}"), recipes


def _ffmpeg() -> Finding:
    from recipevis.data.ffmpeg import FFMPEG

    try:
        answer = subprocess.run([FFMPEG, "-version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        return Finding("ffmpeg", "missing", str(error), "pip install --force-reinstall imageio-ffmpeg")
    return Finding("ffmpeg", "ok", " ".join(answer.split()[:3]))


def _disk(parameters: Config, recipes: Sequence[Recipe] | None) -> Iterator[Finding]:
    """Free space for the videos and for the frames. The probe says what the networks take."""
    from recipevis.data.sources.base import source_class

    videos, steps = YOUCOOK2 if recipes is None else (len(recipes), sum(len(recipe.steps) for recipe in recipes))
    needed = {
        "videos": (files.home(), videos * source_class(parameters.dataset.source).video_bytes),
        "frames": (Path.cwd(), steps * parameters.frames.pixels**2 * _FRAME_BYTES),
    }
    for what, (folder, size) in needed.items():
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(existing).free
        text = f"{free / GIB:,.1f} GiB free at {folder}, the {what} take about {size / GIB:,.2g} GiB"
        if free > size:
            yield Finding(f"disk for {what}", "ok", text)
        else:
            yield Finding(f"disk for {what}", "missing", text, "free some space, or move the folder")


def _git() -> Finding:
    if not shutil.which("git"):
        return Finding("git", "missing", "dvc exp run makes commits", "install git")
    named = [subprocess.run(["git", "config", key], capture_output=True).stdout for key in ("user.name", "user.email")]
    if all(named):
        return Finding("git", "ok", "knows your name and e-mail")
    return Finding("git", "missing", "dvc exp run makes commits", "git config user.name and user.email")


def _queue() -> Iterator[Finding]:
    """Whether DVC can copy its settings and git's to a temporary workspace: it writes the copies in ASCII."""
    if not (Path(".dvc").is_dir() and shutil.which("git")):
        return
    fails = "`dvc exp run --temp` and the queue fail: not only ASCII letters in"
    answer = subprocess.run([sys.executable, "-m", "dvc", "cache", "dir"], capture_output=True)
    if answer.returncode == 0 and not answer.stdout.isascii():
        cache = answer.stdout.decode(errors="backslashreplace").strip()
        yield Finding("queue", "note", f"{fails} {cache}", "move the project, or the cache: see troubleshooting.md")
    top = subprocess.run(["git", "rev-parse", "--show-toplevel"], capture_output=True).stdout
    for settings in (Path(os.fsdecode(top.rstrip(b"\n"))) / ".git/config", Path(".dvc/config.local")):
        if settings.is_file() and not settings.read_bytes().isascii():
            tool = "git" if settings.name == "config" else "dvc"
            yield Finding("queue", "note", f"{fails} {settings}", f"set these values with {tool} config --global")


def _device(parameters: Config) -> Finding:
    import torch

    from recipevis.backbone.base import source_of
    from recipevis.core.devices import check_training, device

    train, processes = parameters.train, max(parameters.train.processes, parameters.embed.processes)
    try:
        where = device(parameters.device)
        check_training(where, train.precision, train.processes)
    except ParameterError as error:
        return Finding("device", "missing", str(error), "set it in the parameter file")
    if where.type == "cuda":
        found, count = torch.cuda.get_device_properties(where), torch.cuda.device_count()
        text = f"{found.name}, {found.total_memory / GIB:.0f} GiB" + (f", one of {count}" if count > 1 else "")
        if processes > count:
            return Finding("device", "missing", f"{text}; {processes} processes need a GPU each", "use fewer processes")
        return Finding("device", "ok", text)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    name = "Apple GPU" if where.type == "mps" else "CPU"
    text = f"{name}, {os.cpu_count()} cores, {memory:.0f} GiB of memory"
    if where.type == "cpu" and source_of(parameters.backbone).on_hub:
        return Finding("device", "note", f"{text}; training networks of this size takes weeks", "use a GPU")
    return Finding("device", "ok", text)
