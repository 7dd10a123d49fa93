"""What this machine has and lacks for the configured run: a finding a line, each with its remedy."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests

from recipevis import encoding, store
from recipevis.parameters import Parameters

_GIB = 2**30
# Weights of the published networks: UNet, VAE, text encoder of Stable Diffusion v1-4; CLIP ViT-L/14.
_PUBLISHED = {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480, "clip": 427_616_513}
_YOUCOOK2 = (1_790, 13_829)  # videos, steps
_VIDEO_BYTES = {"kitchen": 0.2e6, "local": 0, "youtube": 13.4e6}  # youtube: five minutes at 360 lines
_FRAME_BYTES = 1.6  # a pixel, PNG


@dataclass(frozen=True)
class Finding:
    """One line.

    Attributes:
        what: what was looked at.
        state: `ok`, `note` (works, but know it) or `missing` (the run would fail or stop).
        text: what was found.
        remedy: what to do; empty where nothing is to be done.
    """

    what: str
    state: str
    text: str
    remedy: str = ""


def examine(parameters: Parameters) -> Iterator[Finding]:
    """Every finding, in the order of the stages that need it."""
    yield _annotations(parameters)
    yield _ffmpeg()
    yield from _videos(parameters)
    yield _weights(parameters)
    yield _device(parameters)
    yield from _disk(parameters)
    yield _git()


def _annotations(parameters: Parameters) -> Finding:
    named = parameters.dataset.annotations
    if parameters.dataset.source == "kitchen":
        return Finding("annotations", "ok", "written by the toy kitchen")
    if named.startswith(("http://", "https://")):
        return Finding("annotations", "note", f"fetched from {named}")
    path = store.user_path(named)
    if path.is_file():
        return Finding("annotations", "ok", str(path))
    return Finding("annotations", "missing", f"{path}: no such file", "set dataset.annotations")


def _ffmpeg() -> Finding:
    try:
        told = subprocess.run([encoding.FFMPEG, "-version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        return Finding("ffmpeg", "missing", str(error), "pip install --force-reinstall imageio-ffmpeg")
    return Finding("ffmpeg", "ok", " ".join(told.split()[:3]))


def _videos(parameters: Parameters) -> Iterator[Finding]:
    dataset = parameters.dataset
    if dataset.source == "local":
        folder = store.user_path(dataset.videos_dir)
        if folder.is_dir():
            yield Finding("videos", "ok", f"{sum(1 for path in folder.rglob('*') if path.is_file())} files in {folder}")
        else:
            yield Finding("videos", "missing", f"{folder}: no such folder", "set dataset.videos_dir")
    if dataset.source == "youtube":
        runtime = next((name for name in ("deno", "node", "bun", "qjs") if shutil.which(name)), None)
        if runtime:
            yield Finding("JavaScript for yt-dlp", "ok", runtime)
        else:
            yield Finding("JavaScript for yt-dlp", "missing", "no deno, node, bun or qjs", "pip install deno")
        shown = [name for name in ("RECIPEVIS_COOKIES", "RECIPEVIS_COOKIES_FROM_BROWSER") if os.environ.get(name)]
        if shown:
            yield Finding("cookies", "ok", f"from {shown[0]}")
        else:
            yield Finding("cookies", "note", "none: about 300 videos an hour as a guest", "set RECIPEVIS_COOKIES")
    if parameters.execution.dask and importlib.util.find_spec("distributed") is None:
        yield Finding("Dask", "missing", "not installed", "pip install 'recipevis[cluster]'")


def _weights(parameters: Parameters) -> Finding:
    backbone = parameters.backbone
    if backbone.source in ("kitchen", "random"):
        return Finding("backbone", "ok", {"kitchen": "ships with the package", "random": "made here"}[backbone.source])
    if backbone.source == "folder":
        folder = store.user_path(backbone.folder)
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
        text = " ".join(str(error).split())[:120]
        return Finding("backbone", "missing", f"the hub can't be reached: {text}", "or backbone.source: folder")
    return Finding("backbone", "ok", "on the hub, not yet fetched")


def _device(parameters: Parameters) -> Finding:
    import torch

    published = parameters.backbone.source == "hub"
    needed = 16 * _PUBLISHED["unet"] / _GIB
    if parameters.device != "cpu" and torch.cuda.is_available():
        found = torch.cuda.get_device_properties(0)
        memory = found.total_memory / _GIB
        text = f"{found.name}, {memory:.0f} GiB"
        if published and memory < needed:
            return Finding("device", "missing", f"{text}; training keeps {needed:.0f} GiB of weights", "a larger card")
        return Finding("device", "ok", text)
    if parameters.device.startswith("cuda"):
        return Finding("device", "missing", f"{parameters.device} asked for, no CUDA here", "device: auto")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    text = f"CPU, {os.cpu_count()} cores, {memory:.0f} GiB of memory"
    if published:
        return Finding("device", "note", f"{text}; training at the published sizes wants a GPU", "run it on one")
    return Finding("device", "ok", text)


def disk_gib(parameters: Parameters) -> dict[str, float]:
    """What each stage writes, GiB, computed; those with a star lie below `RECIPEVIS_HOME`."""
    dataset, published = parameters.dataset, parameters.backbone.source in ("hub", "folder")
    videos, steps = _YOUCOOK2
    if dataset.source == "kitchen":
        videos = dataset.kitchen.training_videos + dataset.kitchen.validation_videos
        steps = 6 * videos
    elif dataset.limit:
        steps, videos = steps * min(1, 2 * dataset.limit / videos), min(videos, 2 * dataset.limit)
    # Small networks: as the kitchen's. Tokens and latents are fp16, weights and AdamW's moments fp32.
    text, image = (77 * 768, 257 * 1024) if published else (40 * 64, 65 * 64)
    unet = _PUBLISHED["unet"] if published else 3.4e6
    frozen = sum(_PUBLISHED.values()) - _PUBLISHED["unet"] if published else 2e6
    latents = 2 * 4 * (parameters.frames.pixels // 8) ** 2
    pictures = steps * parameters.frames.pixels**2 * _FRAME_BYTES
    written = {
        "download*": videos * _VIDEO_BYTES[dataset.source],
        "frames": pictures,
        "backbone": 4 * (unet + frozen),
        "embed": 2 * steps * (text + image + latents),
        "train*": 2 * 12 * unet,
        "train": 4 * (unet + frozen),
        "sample": pictures,
    }
    if parameters.backbone.source == "hub":
        written["hub's cache"] = 4 * (unet + frozen)
    return {stage: taken / _GIB for stage, taken in written.items()}


def _disk(parameters: Parameters) -> Iterator[Finding]:
    needed = disk_gib(parameters)
    at_home = sum(taken for stage, taken in needed.items() if stage.endswith("*"))
    here = sum(needed.values()) - at_home
    listed = ", ".join(f"{stage} {taken:.2g}" for stage, taken in needed.items())
    yield Finding("disk", "ok", f"computed, GiB: {listed} (*: below RECIPEVIS_HOME)")
    for what, path, wanted in (("the project", Path.cwd(), here), ("RECIPEVIS_HOME", store.home(), at_home)):
        there = next(folder for folder in (path, *path.parents) if folder.exists())
        free = shutil.disk_usage(there).free / _GIB
        state, remedy = ("ok", "") if free > wanted else ("missing", f"make room, or move {what}")
        yield Finding(f"disk of {what}", state, f"{free:.0f} GiB free at {there}, {wanted:.2g} wanted", remedy)


def _git() -> Finding:
    named = [subprocess.run(["git", "config", key], capture_output=True).stdout for key in ("user.name", "user.email")]
    if all(named):
        return Finding("git", "ok", "knows your name and e-mail")
    return Finding("git", "missing", "dvc exp run makes commits", "git config user.name and user.email")
