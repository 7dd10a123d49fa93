"""What the configured run, and the whole of Table 1, would take: computed from what `probe` measured."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from recipevis.cli import disk
from recipevis.cli.probe import Costs
from recipevis.config import Config
from recipevis.data.tables.recipes import Recipe
from recipevis.fusers.base import count_weights, hidden_width
from recipevis.model import cycle_loss
from recipevis.model.networks import Backbone

# The paper's Table 1: each fuser with the cycle loss or without; its baseline is fine-tuned without.
TABLE_1 = [("baseline", False)] + [
    (fuser, cycle)
    for fuser in ("concat", "text_pooling", "image_pooling", "attend_to_text", "attend_to_image")
    for cycle in (False, True)
]
CARDS_GB = (24, 48, 80)
_USABLE = 0.9  # of a card: the driver's context and what fragments take the rest
_BYTES_A_WEIGHT = 16  # fp32: itself, its gradient, AdamW's two moments
_DRAWN = 4  # pictures that are denoised of a validation step: by the model in three ways, by the untouched backbone


@dataclass(frozen=True)
class Estimate:
    """What the configured run takes, and the whole of Table 1."""

    hours: dict[str, float]  # by stage
    memory_gib: float  # of a training process at the configured batch
    table_1_hours: float
    table_1_memory_gib: float  # of the row that takes most
    table_1_disk_gib: float


def estimate(costs: Costs, parameters: Config, networks: Backbone, recipes: Sequence[Recipe] | None = None) -> Estimate:
    """The configured run's hours and memory. With several processes: on as many devices like this one.

    Args:
        costs: as measured.
        parameters: the configured run.
        networks: the backbone's.
        recipes: the run's; None: not at hand, and taken to be YouCook2's.
    """
    p, parts = parameters, parameters.train.accumulation
    share = p.train.batch_size // p.train.processes
    expected, most = cycle_images(p, networks), min(share // parts, p.cycle.images or share)

    def of_training(trained: int, with_cycle: bool) -> tuple[float, float]:
        """Hours and peak memory, GiB, of a training of so many weights: AdamW's step and its moments go with them."""
        checkpointed, more = p.train.gradient_checkpointing, trained - costs.trained_weights
        step_s = costs.step_s(share, expected if with_cycle else 0, parts, checkpointed)
        step_s += costs.fixed_s * more / costs.trained_weights
        gib = costs.memory_gib(share // parts, most if with_cycle else 0, parts, checkpointed)
        return p.train.steps * step_s / 3600, gib + _BYTES_A_WEIGHT * more / disk.GIB

    steps = disk.steps(parameters, recipes)
    embed = sum(map(sum, steps.values())) * costs.embed_s / p.embed.processes / 3600
    train, memory = of_training(costs.trained_weights, bool(p.cycle.weight))
    drawn = _DRAWN * sum(steps["validation"][: p.sample.recipes])
    sample = drawn * (p.sample.steps * costs.pass_s + costs.picture_s) / 3600
    shapes = networks.shapes(p.condition_tokens)
    unet = sum(weight.numel() for weight in networks.unet.parameters())
    rows = [
        of_training(unet + count_weights(fuser, shapes, hidden_width(fuser, shapes, p.fuser_hidden)), with_cycle)
        for fuser, with_cycle in TABLE_1
    ]
    return Estimate(
        hours={"embed": embed, "train": train, "sample": sample},
        memory_gib=memory,
        table_1_hours=embed + sum(hours for hours, _ in rows) + len(rows) * sample,
        table_1_memory_gib=max(gib for _, gib in rows),
        table_1_disk_gib=_disk(parameters, recipes),
    )


def _disk(parameters: Config, recipes: Sequence[Recipe] | None) -> float:
    """GiB of Table 1: what comes before training once, checkpoints once, each row's model and drawn images."""
    once, each = 0.0, 0.0
    for fuser, _ in TABLE_1:
        shares = disk.needed(parameters.model_copy(update={"fuser": fuser}), recipes)
        own = sum(s.gib for s in shares if s.stage in ("train", "sample") and s.place == disk.PROJECT)
        once, each = max(once, sum(s.gib for s in shares) - own), each + own
    return once + each


def cycle_images(parameters: Config, networks: Backbone) -> float:
    """Images that L_cyc is taken on, expected, in the process that has most of them: the others wait for it."""
    p = parameters
    timesteps = cycle_loss.eligible_timesteps(networks.scheduler, p.cycle.max_amplification)
    eligible = p.train.batch_size * timesteps.float().mean().item() * (1 - p.train.dropout_text - p.train.dropout_both)
    taken, processes = min(eligible, p.cycle.images or eligible), p.train.processes
    if processes == 1:
        return taken
    places = np.random.default_rng(0).multivariate_hypergeometric(
        [p.train.batch_size // processes] * processes, round(taken), size=10_000
    )
    return float(places.max(axis=1).mean())


@dataclass(frozen=True)
class Fit:
    """How a process's share of the batch fits a card, or that it doesn't: then `images` is 0."""

    card_gb: int
    images: int  # at once
    accumulation: int
    checkpointed: bool
    memory_gib: float


def fit_cards(costs: Costs, parameters: Config) -> list[Fit]:
    """For each of `CARDS_GB` the fewest parts that the batch of a process fits in, gradient checkpointing the last
    resort."""
    share, of_cycle = parameters.train.batch_size // parameters.train.processes, parameters.cycle
    ways = [
        (images, share // images, checkpointed)
        for checkpointed in (False, True)
        for images in range(share, 0, -1)
        if share % images == 0
    ]
    found = []
    for card in CARDS_GB:
        usable = card * 1e9 / disk.GIB * _USABLE
        for images, parts, checkpointed in ways:
            most = min(images, of_cycle.images or images) if of_cycle.weight else 0  # as chance may have it
            memory = costs.memory_gib(images, most, parts, checkpointed)
            if memory <= usable:
                found.append(Fit(card, images, parts, checkpointed, memory))
                break
        else:
            found.append(Fit(card, 0, 0, False, memory))  # of the last way, the smallest
    return found


def lines(costs: Costs, told: Estimate, fits: Sequence[Fit], parameters: Config) -> Iterator[str]:
    """What was measured, and what follows from it, for a terminal."""
    train, sample = parameters.train, parameters.sample
    yield f"measured on {costs.device}, {train.precision}, {costs.trained_weights:,} weights trained; of a step:"
    yield f"  {'':30} {'s':>8} {'GiB':>8}"
    for what, seconds, gib in (
        ("fixed: weights, AdamW", costs.fixed_s, costs.fixed_gib),
        ("an image", costs.image_s, costs.image_gib),
        ("  with gradient checkpointing", costs.checkpointed_image_s, costs.checkpointed_image_gib),
        ("an image of L_cyc, more", costs.cycle_image_s, costs.cycle_image_gib),
        ("  L_cyc's networks", None, costs.cycle_gib),
        ("each further part of a batch", costs.part_s, None),
        ("  gradients kept between parts", None, costs.parts_gib),
    ):
        yield f"  {what:30} {_figure(seconds):>8} {_figure(gib):>8}".rstrip()
    yield f"  embedding a sentence and a frame: {_figure(costs.embed_s)} s"
    yield f"  drawing a picture in {sample.steps} steps: {_figure(costs.pass_s * sample.steps + costs.picture_s)} s"
    if min(costs.checkpointed_image_s - costs.image_s, costs.part_s, costs.cycle_image_s) <= 0:
        yield "  (these contradict each other: something else was at work on this machine; measure again)"
    devices = max(train.processes, parameters.embed.processes)
    spread = f", for {devices} devices like this one, what they tell each other not counted" if devices > 1 else ""
    yield f"computed from that{spread}:"
    yield f"  memory of training: {told.memory_gib:.3g} GiB a process"
    for stage, hours in told.hours.items():
        yield f"  {stage}: {_hours(hours)}"
    yield f"  Table 1, {len(TABLE_1)} runs, each trained and sampled: {_hours(told.table_1_hours)}"
    most, on_disk = f"{told.table_1_memory_gib:.3g}", disk.told(told.table_1_disk_gib)
    yield f"    at most {most} GiB of memory a process, {on_disk} GiB of disk in all"
    share = f"a process's share of {train.batch_size // train.processes}" if train.processes > 1 else ""
    yield f"{share or f'a batch of {train.batch_size}'} with a tenth of the card left free, fits"
    for (images, accumulation, checkpointed), same in groupby(
        fits, lambda fit: (fit.images, fit.accumulation, fit.checkpointed)
    ):
        cards, how = list(same), f"{images} at once, train.accumulation: {accumulation}"
        how += ", train.gradient_checkpointing: true" if checkpointed else ""
        how = how if images else "not at all, one image at once takes"
        yield f"  a card of {_listed([card.card_gb for card in cards])} GB: {how}, {cards[0].memory_gib:.3g} GiB"
    at_hand = "; no card was at hand" if costs.device.startswith(("cpu", "mps")) else ""
    yield f"  (computed from the memory measured on {costs.device}{at_hand})"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _hours(hours: float) -> str:
    return f"{hours:,.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"


def _listed(numbers: Sequence[int]) -> str:
    """`24`, `24 or 48`, `24, 48 or 80`."""
    *others, last = map(str, numbers)
    return f"{', '.join(others)} or {last}" if others else last
