"""What a run costs on this machine, measured: a few training steps of the configured networks, a few pictures drawn.

Seconds and peak memory are measured for two batches without the cycle loss, and for one with it. A part of each grows
with the images; the rest is fixed (weights, gradients, moments, the optimizer's step). Both depend on shapes alone, so
`stand_ins` will do. What follows from the measurements, `estimates` computes.
"""

import ctypes
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import psutil
import torch
from PIL import Image

from recipevis import images
from recipevis.cli import disk, stand_ins
from recipevis.config import Config, SampleConfig, TrainConfig
from recipevis.embeddings import writer
from recipevis.embeddings.writer import Embeddings
from recipevis.errors import InputError
from recipevis.model.networks import Backbone
from recipevis.randomness import generator
from recipevis.sampling.pipeline import RecipePipeline, assemble
from recipevis.training.trainer import Trainer, new_conditioner, new_cycle_loss, new_trainer

_STEPS = 4  # of each measurement; the first is not timed
_LONGEST_S = 90  # that a measurement may take
_MOST_AT_ONCE = 8  # pictures that are embedded or drawn at once


@dataclass(frozen=True)
class Costs:
    """What was measured: seconds and peak memory of one training step, by what they grow with; seconds of the rest.

    A step is taken in parts (`train.accumulation`): all but the first find the gradients of those before in memory.
    """

    device: str
    trained_weights: int
    fixed_s: float
    part_s: float  # each part but the first
    image_s: float
    checkpointed_image_s: float  # with gradient checkpointing
    cycle_image_s: float  # more, of an image that L_cyc is taken on
    fixed_gib: float
    parts_gib: float  # where there is more than one part
    image_gib: float  # of a part
    checkpointed_image_gib: float
    cycle_gib: float  # L_cyc's networks
    cycle_image_gib: float
    embed_s: float  # a sentence and a frame
    pass_s: float  # one denoising step of one image, all its guided passes
    picture_s: float  # what drawing an image takes beside: encoding, decoding

    def step_s(self, images: float, cycle_images: float, parts: int = 1, checkpointed: bool = False) -> float:
        """Seconds of a step of so many images in so many parts, L_cyc taken on some."""
        image = self.checkpointed_image_s if checkpointed else self.image_s
        return self.fixed_s + (parts - 1) * self.part_s + images * image + cycle_images * self.cycle_image_s

    def memory_gib(self, images: float, cycle_images: float, parts: int = 1, checkpointed: bool = False) -> float:
        """Peak memory, GiB, of a step whose parts have so many images each, L_cyc taken on some."""
        image = self.checkpointed_image_gib if checkpointed else self.image_gib
        several = self.parts_gib if parts > 1 else 0
        cycle = self.cycle_gib + cycle_images * self.cycle_image_gib if cycle_images else 0
        return self.fixed_gib + several + images * image + cycle


@dataclass(frozen=True)
class Taken:
    """What a call takes: median seconds, and the peak memory, GiB."""

    seconds: float
    gib: float


def measure(parameters: Config, networks: Backbone, folder: Path) -> Costs:
    """Train and draw for a few steps, 25 of training, and divide what they took.

    Args:
        parameters: the configured run.
        networks: as `backbone` gives them.
        folder: an empty one, for random embeddings.

    Raises:
        InputError: not even two images fit this device's memory.
    """
    p, pixels = parameters, parameters.frames.pixels
    stand_ins.embeddings(networks, p.condition_tokens, pixels, folder / "embeddings")
    conditioner = new_conditioner(networks, p.fuser, p.fuser_hidden, p.fuser_residual, p.condition_tokens, p.seed)
    settings = p.train.model_copy(
        update={"batch_size": 1, "processes": 1, "accumulation": 1, "gradient_checkpointing": False}
    )
    without = p.cycle.model_copy(update={"weight": 0})
    trainer = new_trainer(
        networks, conditioner, stand_ins.triplets(), Embeddings(folder / "embeddings"), settings, without, pixels, 0
    )
    try:
        costs = _measure_training(trainer, settings, networks, parameters)
        embed_s = _measure_embedding(networks, p, folder)
        pipeline = assemble(networks, conditioner, networks.unet, pixels, p.frames.blank).to(networks.device)
        pass_s, picture_s = _measure_drawing(pipeline, p.sample)
    except torch.OutOfMemoryError as error:
        raise InputError(f"out of memory: {_name(networks.device)}: {str(error).splitlines()[0]}") from error
    return Costs(
        device=_name(networks.device),
        trained_weights=sum(weight.numel() for weight in trainer.denoiser.parameters()),
        **costs,
        embed_s=embed_s,
        pass_s=pass_s,
        picture_s=picture_s,
    )


def _taken(
    trainer: Trainer,
    settings: TrainConfig,
    networks: Backbone,
    images: int,
    cycle_images: int = 0,
    parts: int = 1,
    steps: int = _STEPS,
) -> Taken:
    """What a step takes, in parts of so many images each."""
    weights = torch.cat([torch.ones(cycle_images), torch.zeros(images - cycle_images)]) / images
    batches = trainer.batches["training"]
    part = (batches.load(batches.training(0, images, settings)), weights if cycle_images else None)
    return measured(lambda: trainer.step([part] * parts), networks.device, steps)


def _measure_training(
    trainer: Trainer, settings: TrainConfig, networks: Backbone, parameters: Config
) -> dict[str, float]:
    """The fields of `Costs` that a training step has; L_cyc's networks are loaded last."""
    taken = partial(_taken, trainer, settings, networks)
    share = parameters.train.batch_size // parameters.train.processes
    taken(1, steps=2)  # makes the moments
    one = taken(1)
    more, several = _largest([n for n in _falling(share, one.seconds * _STEPS) if n > 1] or [2], taken)
    in_two_parts = taken(1, parts=2)
    networks.unet.enable_gradient_checkpointing()
    checkpointed = taken(more)
    networks.unet.disable_gradient_checkpointing()
    cycle = parameters.cycle.model_copy(update={"weight": 1.0})
    trainer.cycle = new_cycle_loss(networks, cycle, parameters.frames.pixels)
    beside_cycle, with_cycle = taken(1), taken(1, cycle_images=1)
    image_s = max(0.0, several.seconds - one.seconds) / (more - 1)
    image_gib = max(0.0, several.gib - one.gib) / (more - 1)
    fixed_s, fixed_gib = max(0.0, one.seconds - image_s), one.gib - image_gib
    return {
        "fixed_s": fixed_s,
        "part_s": max(0.0, in_two_parts.seconds - one.seconds - image_s),
        "image_s": image_s,
        "checkpointed_image_s": max(0.0, checkpointed.seconds - fixed_s) / more,
        "cycle_image_s": max(0.0, with_cycle.seconds - beside_cycle.seconds),
        "fixed_gib": fixed_gib,
        "parts_gib": max(0.0, in_two_parts.gib - one.gib),
        "image_gib": image_gib,
        "checkpointed_image_gib": max(0.0, checkpointed.gib - fixed_gib) / more,
        "cycle_gib": max(0.0, beside_cycle.gib - one.gib),
        "cycle_image_gib": max(0.0, with_cycle.gib - beside_cycle.gib),
    }


def _falling(most: int, seconds: float) -> list[int]:
    """32, 16, 8 ... 1: so many images, at most, as are done soon enough where one takes so many seconds."""
    return [n for n in (32, 16, 8, 4, 2, 1) if n == 1 or (n <= most and n * seconds <= _LONGEST_S)]


def _largest(counts: list[int], taken: Callable[[int], Taken]) -> tuple[int, Taken]:
    """The first of `counts` that the memory holds, and what it takes; the last may raise OutOfMemoryError."""
    for count in counts[:-1]:
        try:
            return count, taken(count)
        except torch.OutOfMemoryError:
            continue
    return counts[-1], taken(counts[-1])


def _measure_embedding(networks: Backbone, parameters: Config, folder: Path) -> float:
    """Seconds that a sentence and a frame take."""
    pixels, count = parameters.frames.pixels, min(parameters.embed.batch_size, _MOST_AT_ONCE)
    pictures = [str(folder / f"{number}.png") for number in range(count - 1)]
    for number, path in enumerate(pictures):
        Image.new("RGB", (pixels, pixels), (20 * number, 90, 200)).save(path)
    blank = images.blank(pixels, parameters.frames.blank)
    for number in range(2):  # the first, cold call isn't timed
        start = time.perf_counter()
        with redirect_stdout(io.StringIO()):  # its progress
            writer.embed(pictures, pictures, networks, blank, count, folder / f"embedded-{number}")
    return (time.perf_counter() - start) / count  # with the empty sentence and the blank image


def _measure_drawing(pipeline: RecipePipeline, sample: SampleConfig) -> tuple[float, float]:
    """Seconds of one denoising step of one image, and of all else that an image takes."""
    pipeline.set_progress_bar_config(disable=True)

    def taken(images: int, steps: int) -> float:
        """Seconds of an image."""
        previous, random = [pipeline.blank_image] * images, [generator(0, "probe", i) for i in range(images)]

        def draw() -> None:
            pipeline(["a"] * images, previous, random, steps, sample.guidance, sample.image_guidance)

        return measured(draw, pipeline.device, 3).seconds / images

    counts = _falling(min(sample.batch_size, _MOST_AT_ONCE), 9 * taken(1, 2))  # three times two and four steps
    two_s, four_s = taken(counts[0], 2), taken(counts[0], 4)
    pass_s = max(0.0, four_s - two_s) / 2
    return pass_s, max(0.0, two_s - 2 * pass_s)


def measured(function: Callable[[], object], where: torch.device, calls: int = _STEPS) -> Taken:
    """Median seconds of all calls but the first, and the peak memory of them all: a card's own, else the process's."""
    taken = []
    with _peak(where) as peak:
        for _ in range(calls):
            start = time.perf_counter()
            function()
            if where.type == "cuda":
                torch.cuda.synchronize(where)
            taken.append(time.perf_counter() - start)
    return Taken(median(taken[1:]), peak[0] / disk.GIB)


@contextmanager
def _peak(where: torch.device) -> Iterator[list[int]]:
    """A list that holds the peak of the memory in use within the block, bytes, when it is left."""
    peak = [0]
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats(where)
        yield peak
        peak[0] = torch.cuda.max_memory_allocated(where)
        return
    _give_back()
    ended, process = threading.Event(), psutil.Process()

    def watch() -> None:
        while not ended.wait(0.02):
            peak[0] = max(peak[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()


def _give_back() -> None:
    """Let glibc give freed memory back, so that what one measurement kept isn't counted in the next."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def _name(where: torch.device) -> str:
    if where.type == "cuda":
        return torch.cuda.get_device_name(where)
    return f"{where.type}, {torch.get_num_threads()} threads"
