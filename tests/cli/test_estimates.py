"""What a run is said to take, by hand."""

import math
from dataclasses import replace

import pytest

from recipevis.cli import disk, estimates
from recipevis.cli.probe import Costs
from recipevis.data.tables.recipes import Recipe, Step
from recipevis.fusers.base import count_weights
from recipevis.model.networks import Backbone

COSTS = Costs(
    device="a card",
    trained_weights=1000,
    fixed_s=2.0,
    part_s=0.125,
    image_s=0.5,
    checkpointed_image_s=0.75,
    cycle_image_s=1.0,
    fixed_gib=13.0,
    parts_gib=3.0,
    image_gib=0.5,
    checkpointed_image_gib=0.1,
    cycle_gib=1.5,
    cycle_image_gib=2.0,
    embed_s=0.1,
    pass_s=0.25,
    picture_s=1.0,
)


@pytest.fixture
def networks(tiny_backbone) -> Backbone:
    """With Stable Diffusion's schedule: an error is amplified at most twofold up to step 562."""
    return Backbone(tiny_backbone)


def test_images_of_the_cycle_loss(parameters_of, networks):
    assert estimates.cycle_images(parameters_of(), networks) == 4
    eligible = 32 * 0.563 * 0.9
    assert estimates.cycle_images(parameters_of(changes={"cycle.images": None}), networks) == pytest.approx(eligible)
    unlimited = {"cycle.images": None, "cycle.max_amplification": None}
    assert estimates.cycle_images(parameters_of(changes=unlimited), networks) == pytest.approx(32 * 0.9)


def test_the_process_with_most_images_of_the_cycle_loss_is_waited_for(parameters_of, networks):
    one_each = {"train.processes": 32, "cycle.images": 4}
    assert estimates.cycle_images(parameters_of(changes=one_each), networks) == 1  # four of them have one
    two = estimates.cycle_images(parameters_of(changes={"train.processes": 2}), networks)
    # Of 4 among 32, 16 of them one's: 2, 3 or 4 lie with whichever has more.
    ways = {most: 2 * math.comb(16, most) * math.comb(16, 4 - most) for most in (3, 4)} | {2: math.comb(16, 2) ** 2}
    expected = sum(most * count for most, count in ways.items()) / math.comb(32, 4)
    assert two == pytest.approx(expected, rel=0.02)


def test_hours(parameters_of, networks):
    told = estimates.estimate(COSTS, parameters_of(), networks)
    assert told.hours["train"] == pytest.approx(100_000 * (2 + 32 * 0.5 + 4 * 1) / 3600)
    assert told.hours["sample"] == pytest.approx(4 * 3492 * (50 * 0.25 + 1) / 3600)
    assert told.hours["embed"] == pytest.approx((10_337 + 3_492) * 0.1 / 3600)


def test_hours_of_several_processes_and_parts(parameters_of, networks):
    spread = {"train.processes": 4, "train.accumulation": 2, "cycle.weight": 0, "embed.processes": 2}
    told = estimates.estimate(COSTS, parameters_of(changes=spread), networks)
    assert told.hours["train"] == pytest.approx(100_000 * (2 + 0.125 + 8 * 0.5) / 3600)
    assert told.hours["embed"] == pytest.approx((10_337 + 3_492) * 0.05 / 3600)
    checkpointed = {"train.gradient_checkpointing": True, "cycle.weight": 0}
    told = estimates.estimate(COSTS, parameters_of(changes=checkpointed), networks)
    assert told.hours["train"] == pytest.approx(100_000 * (2 + 32 * 0.75) / 3600)


def test_hours_of_the_runs_own_recipes(parameters_of, networks):
    steps = tuple(Step(number, 0.0, 1.0, "stir") for number in range(3))
    recipes = [Recipe("a", "training", "101", 2.0, steps + steps)]
    recipes += [Recipe(video_id, "validation", "101", 2.0, steps) for video_id in "bc"]
    told = estimates.estimate(COSTS, parameters_of(changes={"sample.recipes": 1}), networks, recipes)
    assert told.hours["embed"] == pytest.approx(12 * 0.1 / 3600)
    assert told.hours["sample"] == pytest.approx(4 * 3 * (50 * 0.25 + 1) / 3600)


def test_table_1_is_eleven_runs_on_one_cache(parameters_of, networks):
    told = estimates.estimate(COSTS, parameters_of(), networks)
    shapes, unet = networks.shapes(3), sum(weight.numel() for weight in networks.unet.parameters())
    runs = 0.0
    for fuser in ("baseline", "concat", "text_pooling", "image_pooling", "attend_to_text", "attend_to_image"):
        fixed = 2 * (unet + count_weights(fuser, shapes, 768)) / 1000
        runs += 100_000 * (fixed + 32 * 0.5) / 3600 + told.hours["sample"]
        if fuser != "baseline":
            runs += 100_000 * (fixed + 32 * 0.5 + 4) / 3600 + told.hours["sample"]
    assert len(estimates.TABLE_1) == 11
    assert told.table_1_hours == pytest.approx(told.hours["embed"] + runs)


def test_memory(parameters_of, networks):
    def memory(changes: dict[str, object]) -> float:
        return estimates.estimate(COSTS, parameters_of(changes=changes), networks).memory_gib

    assert memory({}) == 13 + 32 * 0.5 + 1.5 + 4 * 2
    assert memory({"cycle.weight": 0}) == 13 + 32 * 0.5
    assert memory({"cycle.images": None}) == 13 + 32 * 0.5 + 1.5 + 32 * 2  # as chance may have it, not as expected
    assert memory({"train.accumulation": 16}) == 13 + 3 + 2 * 0.5 + 1.5 + 2 * 2
    table_1 = estimates.estimate(COSTS, parameters_of(), networks)
    shapes, unet = networks.shapes(3), sum(weight.numel() for weight in networks.unet.parameters())
    largest = max(unet + count_weights(fuser, shapes, 768) for fuser, _ in estimates.TABLE_1)
    assert table_1.table_1_memory_gib == pytest.approx(table_1.memory_gib + 16 * (largest - 1000) / 2**30)
    assert memory({"cycle.weight": 0, "train.gradient_checkpointing": True}) == pytest.approx(13 + 32 * 0.1)


def test_disk_of_table_1(parameters_of, networks):
    """What all runs share once; of each its model and its drawn images."""
    told, alone = estimates.estimate(COSTS, parameters_of(), networks).table_1_disk_gib, {}
    for fuser in {fuser for fuser, _ in estimates.TABLE_1}:
        shares = disk.needed(parameters_of(changes={"fuser": fuser}))
        alone[fuser] = {(share.stage, share.place): share.gib for share in shares}
    own = [alone[fuser]["train", disk.PROJECT] + alone[fuser]["sample", disk.PROJECT] for fuser, _ in estimates.TABLE_1]
    shared = [
        gib
        for (stage, place), gib in alone["concat"].items()  # the largest checkpoints
        if not (place == disk.PROJECT and stage in ("train", "sample"))
    ]
    assert told == pytest.approx(sum(own) + sum(shared))
    assert alone["concat"]["train", disk.PROJECT] - alone["baseline"]["train", disk.PROJECT] == pytest.approx(
        4 * 249_302_016 / 2**30
    )


def test_cards_hold_what_fits_them_and_nothing_larger(parameters_of):
    small, middle, large = estimates.fit_cards(COSTS, parameters_of(changes={"cycle.images": None}))
    assert (small.images, small.accumulation, small.checkpointed) == (1, 32, False)  # 20 <= 20.1 < 22.5
    assert (middle.images, middle.accumulation) == (8, 4)  # 37.5 <= 40.2 < 57.5
    assert (large.images, large.accumulation) == (16, 2)  # 57.5 <= 67.1 < 94.5
    light = {"cycle.weight": 0}
    assert [fit.images for fit in estimates.fit_cards(COSTS, parameters_of(changes=light))] == [8, 32, 32]


def test_a_card_that_only_checkpointing_fits_and_one_that_nothing_fits(parameters_of):
    parameters = parameters_of(changes={"cycle.weight": 0})
    tight = estimates.fit_cards(replace(COSTS, fixed_gib=16.95), parameters)[0]
    assert (tight.images, tight.accumulation, tight.checkpointed) == (1, 32, True)  # 20.05 <= 20.1 < 20.15, 20.45
    none = estimates.fit_cards(replace(COSTS, fixed_gib=30.0), parameters)[0]
    assert (none.images, none.memory_gib) == (0, pytest.approx(33.1))


def test_lines_name_cards_of_one_kind_together(parameters_of, networks):
    parameters = parameters_of(changes={"cycle.weight": 0})
    told, fits = estimates.estimate(COSTS, parameters, networks), estimates.fit_cards(COSTS, parameters)
    lines = list(estimates.lines(COSTS, told, fits, parameters))
    assert "  a card of 24 GB: 8 at once, train.accumulation: 4, 20 GiB" in lines
    assert "  a card of 48 or 80 GB: 32 at once, train.accumulation: 1, 29 GiB" in lines
    assert not any("no card was at hand" in line for line in lines)
