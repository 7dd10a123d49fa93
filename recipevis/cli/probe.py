"""`recipevis doctor --probe`: 20 real training steps of the configured run, timed.

The probe trains the run's own networks on its own embeddings, so the stages up to `embed` must have run. It keeps
nothing of what it trains.
"""

import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import torch

from recipevis.backbone.base import source_of
from recipevis.config import Config
from recipevis.core.devices import device
from recipevis.data.tables.triplets import read_triplets
from recipevis.embeddings.reader import Embeddings
from recipevis.errors import InputError
from recipevis.fusers.base import count_weights, select_options
from recipevis.model.configuration import read_configuration
from recipevis.model.latents import latent_shape
from recipevis.model.networks import Backbone
from recipevis.model.shapes import fuser_shapes
from recipevis.training.trainer import Trainer, new_conditioner, new_trainer

STEPS = 20
_UNTIMED = 3  # the first steps are slower: memory is allocated, kernels are chosen
_GIB = 2**30
_BACKBONE, _EMBEDDINGS, _TRIPLETS = Path("models/backbone"), Path("data/embeddings"), Path("data/triplets.csv")


def run(parameters: Config) -> None:
    """Run the steps and print what the configured run takes.

    Raises:
        InputError: a stage must run first, or the memory is too small.
    """
    print(f"\nprobe: {STEPS} training steps", flush=True)
    networks, embeddings = _inputs(parameters)
    trainer = _new_trainer(parameters, networks, embeddings)
    try:
        seconds = measure(trainer, networks.device)
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"out of memory: {str(error).splitlines()[0]}; raise train.accumulation, or set "
            "train.gradient_checkpointing: true"
        ) from error
    print(*_report(parameters, trainer, seconds, networks), sep="\n")


def _inputs(parameters: Config) -> tuple[Backbone, Embeddings]:
    """The configured run's own backbone and embeddings.

    Raises:
        InputError: they aren't there, or are another run's; the message names the stage to run.
    """
    origin = _BACKBONE / "backbone.json"
    if not origin.is_file():
        raise InputError(f"{_BACKBONE}: missing; run `dvc repro backbone` first")
    if json.loads(origin.read_text(encoding="utf-8")) != source_of(parameters.backbone).origin():
        raise InputError(f"{_BACKBONE}: holds another backbone than configured; run `dvc repro backbone` first")
    if not (_EMBEDDINGS / "images.json").is_file() or not _TRIPLETS.is_file():
        raise InputError(f"{_EMBEDDINGS}: missing; run `dvc repro embed` first")
    networks, embeddings = Backbone(_BACKBONE, device(parameters.device)), Embeddings(_EMBEDDINGS)
    shapes = fuser_shapes(_BACKBONE, _BACKBONE / "clip", parameters.condition_tokens)
    latents = latent_shape(read_configuration(_BACKBONE / "vae"), parameters.frames.pixels)
    for array, expected in (
        (embeddings.text_tokens, (shapes.text_tokens, shapes.text_width)),
        (embeddings.image_tokens, (shapes.image_tokens, shapes.image_width)),
        (embeddings.latent_mean, latents),
    ):
        if array.shape[1:] != expected:
            raise InputError(f"{_EMBEDDINGS}: made with other networks or frames; run `dvc repro embed` first")
    return networks, embeddings


def _new_trainer(parameters: Config, networks: Backbone, embeddings: Embeddings) -> Trainer:
    """A trainer of one process's share of the batch."""
    p = parameters
    options = select_options(p.fuser, {"hidden": p.fuser_hidden, "residual": p.fuser_residual}, p.fuser_options)
    how = p.condition, p.previous_latent, p.first_latent
    conditioner = new_conditioner(networks, p.fuser, options, p.condition_tokens, p.seed, *how)
    share = {"batch_size": p.train.batch_size // p.train.processes, "processes": 1}
    train, triplets = p.train.model_copy(update=share), read_triplets(_TRIPLETS)
    return new_trainer(networks, conditioner, triplets, embeddings, train, p.cycle, p.frames.pixels, p.seed)


def measure(trainer: Trainer, where: torch.device, steps: int = STEPS) -> float:
    """Train, and return the median seconds of a step, loading its batch included; the first steps are not timed."""
    seconds, start = [], time.perf_counter()
    for parts in trainer.loaded(0, steps):
        trainer.step(parts)
        if where.type == "cuda":
            torch.cuda.synchronize(where)
        seconds.append(time.perf_counter() - start)
        start = time.perf_counter()
    return median(seconds[min(_UNTIMED, steps - 1) :])


def peak_gib(where: torch.device) -> float:
    """Peak memory until now, GiB: of the GPU, or of this process where it computes on the CPU."""
    if where.type == "cuda":
        return torch.cuda.max_memory_allocated(where) / _GIB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / _GIB


def _report(parameters: Config, trainer: Trainer, seconds: float, networks: Backbone) -> Iterator[str]:
    train, where = parameters.train, networks.device
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else where.type
    yield f"  {name}, {train.precision}, batch {train.batch_size // train.processes}: {seconds:.3g} s a step"
    if train.processes > 1:
        yield f"  one process's share of the batch; {train.processes} processes also average their gradients"
    yield f"  peak memory: {peak_gib(where):.1f} GiB"
    hours = train.steps * seconds / 3600
    yield f"  train, {train.steps:,} steps: " + (f"{hours:,.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes")
    trained = 4 * count_weights(trainer.denoiser, trained=True)  # bytes, fp32
    parts = (trainer.denoiser, networks.text_encoder, networks.clip.vision_model, networks.vae)
    whole = 4 * sum(map(count_weights, parts))
    checkpoint = trained * (3 if train.ema is None else 4)  # the weights, AdamW's two moments, the moving average
    yield f"  disk: models/trained {trained / _GIB:.2g} GiB, models/recipevis {whole / _GIB:.2g} GiB"
    yield f"  disk while training, in RECIPEVIS_HOME: two checkpoints of {checkpoint / _GIB:.2g} GiB"
