"""What the configured run would cost: a few training steps on this machine, and what follows from them.

Seconds and peak memory are measured for two batches without the cycle loss, and for one with it. A part of each grows
with the images; the rest is fixed (weights, gradients, moments, the optimizer's step). Both depend on shapes alone, so
untrained networks of the configured sizes, and random embeddings, do where there are no others yet.
"""

import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import psutil
import torch
from diffusers import UNet2DConditionModel
from PIL import Image

from recipevis import backbone_sources, diffusion, disk, embeddings, images, store, training, untrained
from recipevis.backbone import Backbone, check_fit, device
from recipevis.embeddings import Embeddings
from recipevis.fusers import FUSERS, count_weights, hidden_width
from recipevis.parameters import Parameters
from recipevis.pipeline import assemble
from recipevis.randomness import generator, numpy_generator
from recipevis.shapes import Shapes

# The paper's Table 1: each fuser with the cycle loss or without; its baseline is fine-tuned without.
TABLE_1 = [("baseline", False)] + [
    (fuser, cycle)
    for fuser in ("concat", "text_pooling", "image_pooling", "attend_to_text", "attend_to_image")
    for cycle in (False, True)
]
CARDS_GB = (24, 48, 80)
_GIB = 2**30
_USABLE = 0.9  # of a card: the driver's context and what fragments take the rest
_STEPS = 6  # of each measurement; the first is not timed
_LONGEST_S = 90  # that a measurement may take
_ITEMS = ["", *(f"item {row:02d}" for row in range(1, 64))]
_EMBEDDED = 3  # pictures that are embedded to see what it takes
_KITCHEN_STEPS = 5  # of a recipe, on average
_DRAWN_SETS = 4  # pictures that `sample` draws of a validation step: by the model in three ways, by the backbone


@contextmanager
def backbone(parameters: Parameters) -> Iterator[Backbone]:
    """The configured networks: those of `models/backbone` where they are, else made for the while; untrained ones of
    the sizes `backbone.random` stand for the hub's.

    Raises:
        InputError: a configured folder is of no use.
    """
    where = device(parameters.device)
    if (made := Path("models/backbone/backbone.json")).is_file():
        yield Backbone(made.parent, where)
        return
    store.home().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store.home(), prefix="probe-") as folder:
        if parameters.backbone.source == "hub":
            backbone_sources.at_random(parameters.backbone.random, Path(folder))
        else:
            backbone_sources.make(parameters.backbone, Path(folder))
        yield Backbone(Path(folder), where)


def random_embeddings(networks: Backbone, condition_tokens: int, pixels: int, folder: Path) -> None:
    """Write a cache of random embeddings in the form of `embeddings.embed`, for `random_triplets`.

    Args:
        networks: whose shapes the embeddings have.
        condition_tokens: as in `Backbone.shapes`.
        pixels: height and width of the frames.
        folder: where the arrays go.
    """
    shapes, rows = networks.shapes(condition_tokens), len(_ITEMS)
    side = pixels // 2 ** (len(networks.vae.config.block_out_channels) - 1)
    latents = (networks.vae.config.latent_channels, side, side)
    random = numpy_generator(0, "probe")
    folder.mkdir(parents=True)
    for name, size in {
        "text_tokens": (shapes.text_tokens, shapes.text_width),
        "text_pooled": (shapes.text_width,),
        "text_projected": (networks.clip.config.projection_dim,),
        "image_tokens": (shapes.image_tokens, shapes.image_width),
        "image_pooled": (shapes.image_width,),
        "latent_mean": latents,
        "latent_logvar": latents,
    }.items():
        np.save(folder / f"{name}.npy", random.standard_normal((rows, *size), np.float32).astype(np.float16))
    for kind in ("sentences", "images"):
        store.write_json(folder / f"{kind}.json", _ITEMS)


def random_triplets() -> pd.DataFrame:
    """Triplets of both subsets, of items in `random_embeddings`."""
    table = pd.DataFrame({"sentence": _ITEMS[1:], "image": _ITEMS[1:], "previous_image": _ITEMS[:-1]})
    return pd.concat([table.assign(subset=subset) for subset in ("training", "validation")], ignore_index=True)


@dataclass(frozen=True)
class Costs:
    """Seconds of one training step and peak GiB of memory: fixed, for each image, and for each image of L_cyc."""

    device: str
    trained_weights: int
    fixed_s: float
    image_s: float
    checkpointed_image_s: float  # with gradient checkpointing
    cycle_image_s: float
    fixed_gib: float
    image_gib: float
    checkpointed_image_gib: float
    cycle_image_gib: float
    embed_s: float  # a sentence and a frame
    pass_s: float  # one denoising step of one image, all its guided passes
    picture_s: float  # what drawing an image takes beside: encoding, decoding

    def step_s(self, images: float, cycle_images: float, checkpointed: bool = False) -> float:
        """Seconds of a step."""
        image = self.checkpointed_image_s if checkpointed else self.image_s
        return self.fixed_s + images * image + cycle_images * self.cycle_image_s

    def memory_gib(self, images: float, cycle_images: float, checkpointed: bool = False) -> float:
        """Peak memory of a step, GiB."""
        image = self.checkpointed_image_gib if checkpointed else self.image_gib
        return self.fixed_gib + images * image + cycle_images * self.cycle_image_gib


def measure(parameters: Parameters, networks: Backbone, folder: Path) -> Costs:
    """Train and draw for a few steps, about 20 of training, and divide what they took.

    Args:
        parameters: the configured run.
        networks: as `backbone` gives them.
        folder: an empty one, for random embeddings.
    """
    p, pixels = parameters, parameters.frames.pixels
    random_embeddings(networks, p.condition_tokens, pixels, folder / "embeddings")
    conditioner = training.new_conditioner(
        networks, p.fuser, p.fuser_hidden, p.fuser_residual, p.condition_tokens, p.seed
    )
    alone = p.train.model_copy(
        update={"batch_size": 1, "processes": 1, "accumulation": 1, "gradient_checkpointing": False}
    )
    cycle = p.cycle.model_copy(update={"weight": p.cycle.weight or 1.0, "max_amplification": None})
    trainer = training.new_trainer(
        networks, conditioner, random_triplets(), Embeddings(folder / "embeddings"), alone, cycle, pixels, 0
    )

    def took(count: int, cycle_images: int = 0) -> tuple[float, float]:
        """Seconds and peak GiB of a step."""
        weights = torch.cat([torch.ones(cycle_images), torch.zeros(count - cycle_images)]) / count
        batch = trainer.batches["training"].load(trainer.batches["training"].training(0, count, alone))
        return measured(lambda: trainer.step([(batch, weights if cycle_images else None)]), networks.device)

    took(1)  # makes the moments
    one_s, one_gib = took(1)
    share = p.train.batch_size // p.train.processes
    more = max((n for n in (2, 4, 8, 16, 32) if n <= share and n * one_s * _STEPS <= _LONGEST_S), default=2)
    more_s, more_gib = took(more)
    with_s, with_gib = took(1, 1)
    networks.unet.enable_gradient_checkpointing()
    checkpointed_s, checkpointed_gib = took(more)
    networks.unet.disable_gradient_checkpointing()
    image_s, image_gib = max(0.0, more_s - one_s) / (more - 1), max(0.0, more_gib - one_gib) / (more - 1)
    fixed_s, fixed_gib = max(0.0, one_s - image_s), one_gib - image_gib

    folders = [folder / f"embedded-{number}" for number in range(2)]  # the first, cold call isn't timed
    pictures = [str(folder / f"{number}.png") for number in range(_EMBEDDED)]
    for number, path in enumerate(pictures):
        Image.new("RGB", (pixels, pixels), (20 * number, 90, 200)).save(path)
    blank = images.blank(pixels, p.frames.blank)
    for where in folders:
        start = time.perf_counter()
        embeddings.embed(pictures, pictures, networks, blank, _EMBEDDED + 1, where)
        embed_s = (time.perf_counter() - start) / (_EMBEDDED + 1)  # the empty sentence and the blank image, too

    pipeline = assemble(networks, conditioner, networks.unet, pixels, p.frames.blank).to(networks.device)

    def draw(steps: int) -> None:
        pipeline(["a"], [pipeline.blank_image], [generator(0)], steps, p.sample.guidance, p.sample.image_guidance)

    pipeline.set_progress_bar_config(disable=True)
    (two_s, _), (four_s, _) = (measured(lambda n=steps: draw(n), networks.device, 3) for steps in (2, 4))
    pass_s = max(0.0, four_s - two_s) / 2
    return Costs(
        device=_name(networks.device),
        trained_weights=sum(weight.numel() for weight in trainer.denoiser.parameters()),
        fixed_s=fixed_s,
        image_s=image_s,
        checkpointed_image_s=max(0.0, checkpointed_s - fixed_s) / more,
        cycle_image_s=max(0.0, with_s - one_s),
        fixed_gib=fixed_gib,
        image_gib=image_gib,
        checkpointed_image_gib=max(0.0, checkpointed_gib - fixed_gib) / more,
        cycle_image_gib=max(0.0, with_gib - one_gib),
        embed_s=embed_s,
        pass_s=pass_s,
        picture_s=max(0.0, two_s - 2 * pass_s),
    )


def measured(function: Callable[[], object], where: torch.device, calls: int = _STEPS) -> tuple[float, float]:
    """Median seconds of all calls but the first, and the peak memory of them all in GiB: a card's own, else the
    process's."""
    taken = []
    with _peak(where) as peak:
        for _ in range(calls):
            start = time.perf_counter()
            function()
            if where.type == "cuda":
                torch.cuda.synchronize(where)
            taken.append(time.perf_counter() - start)
    return median(taken[1:]), peak[0] / _GIB


@contextmanager
def _peak(where: torch.device) -> Iterator[list[int]]:
    """A list that holds the peak of the memory in use within the block, bytes, when it is left."""
    peak = [0]
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats(where)
        yield peak
        peak[0] = torch.cuda.max_memory_allocated(where)
        return
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


def _name(where: torch.device) -> str:
    return (
        torch.cuda.get_device_name(where) if where.type == "cuda" else f"{where.type}, {torch.get_num_threads()} cores"
    )


@dataclass(frozen=True)
class Estimate:
    """What a run takes, from `Costs`: hours by stage, and of the whole of Table 1."""

    hours: dict[str, float]
    table_1_hours: float
    memory_gib: float  # of a process at the configured batch


def estimate(costs: Costs, parameters: Parameters, networks: Backbone) -> Estimate:
    """The configured run's hours and memory. With several processes: on as many devices like this one.

    Args:
        costs: as measured.
        parameters: the configured run.
        networks: the backbone's.
    """
    p, eligible = parameters, cycle_images(parameters, networks)
    share = p.train.batch_size / p.train.processes
    at_once = share / p.train.accumulation
    checkpointed, of_cycle = p.train.gradient_checkpointing, eligible / p.train.processes
    train = p.train.steps * costs.step_s(share, of_cycle if p.cycle.weight else 0, checkpointed) / 3600
    annotated = _annotated(p)
    embed = sum(steps for steps, _ in annotated.values()) * costs.embed_s / p.embed.processes / 3600
    steps, recipes = annotated["validation"]
    drawn = steps * min(1, (p.sample.recipes or recipes) / recipes) * _DRAWN_SETS
    sample = drawn * (p.sample.steps * costs.pass_s + costs.picture_s) / 3600
    shapes = networks.shapes(p.condition_tokens)
    unet = sum(weight.numel() for weight in networks.unet.parameters())
    rows = 0.0
    for fuser, cycle in TABLE_1:
        trained = unet + count_weights(fuser, shapes, hidden_width(fuser, shapes, p.fuser_hidden))
        fixed = costs.fixed_s * trained / costs.trained_weights  # the optimizer's step goes with the weights
        step = costs.step_s(share, of_cycle if cycle else 0, checkpointed) - costs.fixed_s + fixed
        rows += p.train.steps * step / 3600 + sample
    memory = costs.memory_gib(at_once, min(at_once, eligible) if p.cycle.weight else 0, checkpointed)
    return Estimate({"embed": embed, "train": train, "sample": sample}, rows + embed, memory)


def cycle_images(parameters: Parameters, networks: Backbone) -> float:
    """Images of a batch that L_cyc is taken on, expected."""
    p, scheduler = parameters, networks.scheduler
    every = torch.arange(scheduler.config.num_train_timesteps)
    limit = p.cycle.max_amplification
    little = 1.0 if limit is None else (diffusion.amplification(scheduler, every) <= limit).float().mean().item()
    eligible = p.train.batch_size * little * (1 - p.train.dropout_text - p.train.dropout_both)
    return min(eligible, p.cycle.images or eligible)


@dataclass(frozen=True)
class Recipe:
    """How the configured batch fits a card, or that it doesn't: then `images` is 0."""

    card_gb: int
    images: int  # at once
    accumulation: int
    checkpointed: bool
    memory_gib: float


def recipes(costs: Costs, parameters: Parameters, networks: Backbone) -> list[Recipe]:
    """For each of `CARDS_GB` the fewest parts that the batch of a process fits in, gradient checkpointing the last
    resort; computed from what was measured here."""
    share = parameters.train.batch_size // parameters.train.processes
    of_cycle = cycle_images(parameters, networks) if parameters.cycle.weight else 0
    found = []
    for card in CARDS_GB:
        ways = [
            Recipe(card, images, share // images, checkpointed, memory)
            for checkpointed in (False, True)
            for images in range(share, 0, -1)
            if share % images == 0
            and (memory := costs.memory_gib(images, min(images, of_cycle), checkpointed)) <= card * 1e9 / _GIB * _USABLE
        ]
        found.append(ways[0] if ways else Recipe(card, 0, 0, False, costs.memory_gib(1, min(1, of_cycle), True)))
    return found


@dataclass(frozen=True)
class FuserCosts:
    """A fuser at the configured sizes."""

    name: str
    hidden: int | None  # None: it has no weights
    weights: int
    activations_mib: float  # that one image keeps for the backward pass, fp32
    share: float  # of the trained weights, the UNet's included


def fusers(parameters: Parameters) -> list[FuserCosts]:
    """Every fuser at the configured backbone's sizes; nothing is loaded or allocated for it."""
    shapes, unet = _sizes(parameters)
    rows = []
    with torch.device("meta"):
        inputs = [
            torch.empty(1, *size)
            for size in (
                (shapes.text_tokens, shapes.text_width),
                (shapes.text_width,),
                (shapes.image_tokens, shapes.image_width),
                (shapes.image_width,),
            )
        ]
        for name, kind in FUSERS.items():
            hidden = hidden_width(name, shapes, parameters.fuser_hidden)
            fuser = kind(shapes, hidden, parameters.fuser_residual)
            weights = sum(weight.numel() for weight in fuser.parameters())
            kept = _kept_bytes(fuser, inputs) / 2**20
            rows.append(FuserCosts(name, hidden if weights else None, weights, kept, weights / (weights + unet)))
    return rows


def _sizes(parameters: Parameters) -> tuple[Shapes, int]:
    """The fuser's shapes and the UNet's number of weights, from configurations."""
    source, sizes, made = parameters.backbone.source, parameters.backbone.random, Path("models/backbone")
    folders = {"kitchen": backbone_sources.KITCHEN / "backbone", "folder": Path(parameters.backbone.folder or "")}
    folder = made if (made / "backbone.json").is_file() else folders.get(source)
    with torch.device("meta"):
        if folder is None:  # at random, or not yet fetched: the same sizes
            text, vision = sizes.text, sizes.vision
            tokens = (vision.pixels // vision.patch) ** 2 + 1
            shapes = Shapes(text.tokens, text.width, tokens, vision.width, parameters.condition_tokens, text.width)
            unet = untrained.unet(sizes)
        else:
            clip = parameters.backbone.clip_folder if folder == folders["folder"] else None
            shapes = check_fit(folder, store.user_path(clip) if clip else folder / "clip", parameters.condition_tokens)
            unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder / "unet"))
    return shapes, sum(weight.numel() for weight in unet.parameters())


def _kept_bytes(network: torch.nn.Module, inputs: list[torch.Tensor]) -> int:
    """Bytes of the tensors, weights aside, that a forward pass keeps for the backward pass."""
    own = {weight.untyped_storage()._cdata for weight in network.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}  # the storages stay alive, so no two have one number

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(*inputs)
    return sum(storage.nbytes() for storage in kept.values())


def _annotated(parameters: Parameters) -> dict[str, tuple[int, int]]:
    """Steps and videos of each subset: those annotated, or before anything was read, what the source should have."""
    dataset = parameters.dataset
    if (counted := Path("data/dataset.json")).is_file():
        counts = json.loads(counted.read_text(encoding="utf-8"))
        return {subset: (count["steps"], count["videos"]) for subset, count in counts.items()}
    if dataset.source == "kitchen":
        videos = {"training": dataset.kitchen.training_videos, "validation": dataset.kitchen.validation_videos}
        return {subset: (_KITCHEN_STEPS * count, count) for subset, count in videos.items()}
    return {subset: (steps, videos) for subset, (videos, steps) in disk.YOUCOOK2.items()}
