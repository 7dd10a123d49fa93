"""The hours of Table 1 against sums over single images and steps."""

import pytest

from benchmarks import hours
from benchmarks.hours import Costs, Gpu, Hours
from recipevis.config import FUSERS
from recipevis.table1.rows import ROWS, select


@pytest.mark.parametrize("key", ["baseline", "concat", "text_only", "latent"])
@pytest.mark.parametrize("controls", [2, 10])
def test_an_image_counts_once(key, controls):
    """Listed one by one: an image is what it is generated from, so equal ones are one."""
    recipes, length = 5, 4
    [row] = select([key])
    images = set()
    for recipe in range(recipes):
        for step in range(length):
            before = {"autoregressive": ("generated", step - 1), "teacher forced": ("frame", step - 1)}
            if step == 0:
                before = dict.fromkeys(before, "blank")
            if recipe < controls:
                before |= {"wrong previous": "wrong", "no previous": "none"}
            if key in ("baseline", "text_only"):
                before = dict.fromkeys(before, None)
            images |= {(recipe, step, previous) for previous in before.values()}
    assert hours.distinct_images(row, recipes, recipes * length, controls) == len(images)


def test_hours_are_sums_of_seconds():
    costs = Costs({fuser: 0.1 + number / 100 for number, fuser in enumerate(FUSERS)}, 2.0, 0.5, 2.5, 0.01)
    rows = {row.name: row for row in hours.of_rows(costs, 1000)}
    assert len(rows) == len(ROWS)
    assert rows["Previous latent"].training > rows["Previous latent, DDIM"].training == 0
    plain, cycled = rows["Concatenation"], rows["Concatenation, cycle loss"]
    assert plain.training * 3600 == pytest.approx(sum(costs.steps["concat"] for _ in range(1000)))
    assert cycled.training == pytest.approx(2 * plain.training)
    assert cycled.sampling == plain.sampling
    # 3,492 steps, 3,035 with a step before, 100 of 457 recipes twice
    assert plain.sampling * 3600 == pytest.approx(0.5 * (3492 + 3035 + 2 * 764))
    assert rows["Baseline, fine-tuned"].sampling * 3600 == pytest.approx(0.5 * 3492)
    assert rows["Stable Diffusion, untouched"].sampling * 3600 == pytest.approx(0.5 * 3492 + 2.5 * 764)
    assert rows["Stable Diffusion, untouched"].training == 0
    total = hours.summed(list(rows.values()))
    by_hand = 0.0
    for row in rows.values():
        assert row.total == pytest.approx(row.training + row.sampling + row.scoring)
        by_hand += row.total
    assert total.total == pytest.approx(by_hand)


def test_another_card_takes_longer_by_its_narrower_limit():
    row, fast = Hours("row", 10.0, 4.0, 1.0), Gpu(1000, 4.0)
    by_arithmetic = hours.on_another(row, fast, Gpu(250, 2.0))
    assert (by_arithmetic.training, by_arithmetic.sampling, by_arithmetic.scoring) == (40, 16, 1)
    by_memory = hours.on_another(row, fast, Gpu(500, 0.5))
    assert (by_memory.training, by_memory.sampling, by_memory.scoring) == (80, 32, 1)
    assert hours.on_another(row, fast, fast) == row
