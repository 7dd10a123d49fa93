"""What this machine has and lacks for the configured run: a finding a line, each with its remedy."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import requests

from recipevis.cli import disk
from recipevis.config import Config
from recipevis.core import files
from recipevis.core.findings import Finding
from recipevis.data import annotations, ffmpeg
from recipevis.data.sources.base import source_class
from recipevis.data.tables.recipes import Recipe
from recipevis.errors import InputError, ParameterError


def examine(parameters: Config) -> Iterator[Finding]:
    """Every finding, in the order of the stages that need it."""
    finding, found = _annotations(parameters)
    yield finding
    yield _ffmpeg()
    yield from _videos(parameters, found)
    yield _weights(parameters)
    yield _device(parameters)
    yield from _disk(parameters, found)
    yield _git()


def recipes(parameters: Config) -> list[Recipe] | None:
    """The run's recipes, or None if they are not at hand."""
    return _annotations(parameters)[1]


def _annotations(parameters: Config) -> tuple[Finding, list[Recipe] | None]:
    """What there is, and the recipes if they are at hand."""
    dataset = parameters.dataset
    in_a_file = "annotations" in source_class(dataset.source).needs
    where = dataset.annotations if in_a_file else f"written by the source {dataset.source!r}"
    if where.startswith(("http://", "https://")):
        return Finding("annotations", "note", f"fetched from {where}; assumed to be as many as YouCook2's"), None
    try:
        recipes = annotations.load(dataset)
    except InputError as error:
        return Finding("annotations", "missing", str(error), "correct the file, or set dataset.annotations"), None
    return Finding("annotations", "ok", f"{where}: {_counted(recipes)}"), recipes


def _counted(recipes: Sequence[Recipe]) -> str:
    return f"{len(recipes):,} videos, {sum(len(recipe.steps) for recipe in recipes):,} steps"


def _ffmpeg() -> Finding:
    try:
        told = subprocess.run([ffmpeg.FFMPEG, "-version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        return Finding("ffmpeg", "missing", str(error), "pip install --force-reinstall imageio-ffmpeg")
    return Finding("ffmpeg", "ok", " ".join(told.split()[:3]))


def _videos(parameters: Config, recipes: Sequence[Recipe] | None) -> Iterator[Finding]:
    yield from source_class(parameters.dataset.source).findings(parameters.dataset, recipes)
    if parameters.execution.dask and importlib.util.find_spec("distributed") is None:
        yield Finding("Dask", "missing", "not installed", "pip install 'recipevis[cluster]'")


def _weights(parameters: Config) -> Finding:
    backbone = parameters.backbone
    if backbone.source in ("kitchen", "random"):
        return Finding("backbone", "ok", {"kitchen": "ships with the package", "random": "made here"}[backbone.source])
    if backbone.source == "folder":
        folder = files.user_path(backbone.folder)
        if (folder / "unet").is_dir():
            return Finding("backbone", "ok", str(folder))
        return Finding("backbone", "missing", f"{folder}: has no unet/", "set backbone.folder")
    from huggingface_hub import constants, try_to_load_from_cache

    wanted = {"unet/config.json": backbone.stable_diffusion, "config.json": backbone.clip}
    if all(isinstance(try_to_load_from_cache(m.id, file, revision=m.revision), str) for file, m in wanted.items()):
        return Finding("backbone", "ok", f"begun or whole in the hub's cache, {constants.HF_HUB_CACHE}")
    try:
        for model in wanted.values():
            address = f"{constants.ENDPOINT}/api/models/{model.id}/revision/{model.revision}"
            requests.get(address, timeout=10).raise_for_status()
    except requests.RequestException as error:
        text = f"the hub, {constants.ENDPOINT}: {_why(error)}"
        return Finding("backbone", "missing", text, "connect, or set backbone.source: folder")
    return Finding("backbone", "ok", "on the hub, not yet fetched")


def _why(error: requests.RequestException) -> str:
    """A short reason."""
    if error.response is not None:
        return f"answers {error.response.status_code} to {error.response.url}"
    return "no answer in time" if isinstance(error, requests.Timeout) else "can't be reached"


def _device(parameters: Config) -> Finding:
    import torch

    from recipevis.core.devices import check_training, device

    published = parameters.backbone.source == "hub"
    processes = max(parameters.train.processes, parameters.embed.processes)
    needed = 16 * disk.PUBLISHED["unet"] / disk.GIB
    try:
        where = device(parameters.device)
        check_training(where, parameters.train.precision, parameters.train.processes)
    except ParameterError as error:
        return Finding("device", "missing", str(error), "set it in the parameter file")
    if where.type == "cuda":
        found, count = torch.cuda.get_device_properties(where), torch.cuda.device_count()
        memory = found.total_memory / disk.GIB
        text = f"{found.name}, {memory:.0f} GiB" + (f", one of {count}" if count > 1 else "")
        if processes > count:
            return Finding("device", "missing", f"{text}; {processes} processes want a card each", "fewer processes")
        if published and memory < needed:
            return Finding("device", "missing", f"{text}; training keeps {needed:.0f} GiB of weights", "a larger card")
        return Finding("device", "ok", text)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / disk.GIB
    name = {"cpu": "CPU", "mps": "Apple GPU"}[where.type]
    text = f"{name}, {os.cpu_count()} cores, {memory:.0f} GiB of memory"
    if published and where.type == "cpu":
        return Finding("device", "note", f"{text}; training at the published sizes wants a GPU", "run it on one")
    return Finding("device", "ok", text)


def _disk(parameters: Config, recipes: Sequence[Recipe] | None) -> Iterator[Finding]:
    from huggingface_hub import constants

    shares = disk.needed(parameters, recipes)
    paths = {disk.PROJECT: Path.cwd(), disk.HOME: files.home(), disk.HUB: Path(constants.HF_HUB_CACHE)}
    places = [place for place in paths if any(share.place == place for share in shares)]
    for place in places:
        listed = (f"{share.stage} {disk.told(share.gib)}" for share in shares if share.place == place)
        yield Finding(f"GiB wanted in {place}", "ok", f"{', '.join(listed)} (computed)")
    by_device: dict[int, list[str]] = {}
    there = {place: next(f for f in (paths[place], *paths[place].parents) if f.exists()) for place in places}
    for place in places:
        by_device.setdefault(_device_number(there[place]), []).append(place)
    for shared in by_device.values():
        wanted = sum(share.gib for share in shares if share.place in shared)
        free = shutil.disk_usage(there[shared[0]]).free / disk.GIB
        state, remedy = ("ok", "") if free > wanted else ("missing", f"make room, or move {' or '.join(shared)}")
        text = f"{free:,.0f} GiB free at {there[shared[0]]}, {disk.told(wanted)} wanted"
        yield Finding(f"disk of {', '.join(shared)}", state, text, remedy)


def _device_number(path: Path) -> int:
    """Equal for two paths on one file system."""
    return path.stat().st_dev


def _git() -> Finding:
    if not shutil.which("git"):
        return Finding("git", "missing", "dvc exp run makes commits", "install git")
    named = [subprocess.run(["git", "config", key], capture_output=True).stdout for key in ("user.name", "user.email")]
    if all(named):
        return Finding("git", "ok", "knows your name and e-mail")
    return Finding("git", "missing", "dvc exp run makes commits", "git config user.name and user.email")
