"""The rendered kitchen: deterministic, in YouCook2's form, the middle frame the one that counts."""

import json
from itertools import pairwise

import numpy as np

from recipevis import annotations
from recipevis.kitchen import recipes, rendering


def kitchen(seed=0, training=12, validation=4):
    content = json.dumps(recipes.youcook2(seed, training, validation)).encode()
    return annotations.parse(content, "kitchen", annotations.VIDEO_IDS["kitchen"])


def picture_at(video: list[np.ndarray], time_s: float) -> np.ndarray:
    return video[int(time_s * rendering.RATE)]


def test_annotations_pass_the_checks_and_cover_every_type_in_both_splits():
    table = annotations.summary(kitchen())
    for subset, videos in (("training", 12), ("validation", 4)):
        assert table[subset]["videos"] == videos
        assert table[subset]["recipe_types"] == len(recipes.TYPES) >= 4


def test_same_seed_same_kitchen_other_seed_another():
    assert kitchen(3) == kitchen(3)
    assert kitchen(3) != kitchen(4)
    assert kitchen(3, training=20)[:12] == kitchen(3)[:12]  # more videos leave the first ones as they are


def test_steps_have_idle_time_around_them():
    for recipe in kitchen(training=40):
        assert 3 <= len(recipe.steps) <= 6
        times = [0.0, *(time for step in recipe.steps for time in (step.start_s, step.end_s)), recipe.duration_s]
        assert all(after - before >= 1 for before, after in pairwise(times))


def test_colours_are_named_in_the_first_sentence_only():
    for number in range(20):
        first, *later = recipes.recipe(0, f"training-{number:04d}").steps
        assert {first.done.counter, first.done.colour} <= set(first.sentence.split())
        words = {word for step in later for word in step.sentence.split()}
        assert not words & {first.done.counter, first.done.colour}


def test_the_middle_of_a_step_shows_what_it_made_and_idle_time_does_not():
    for number in range(8):
        made = recipes.recipe(0, f"training-{number:04d}")
        video = list(rendering.video(made))
        assert len(video) == made.duration_s * rendering.RATE
        for step in made.steps:
            middle = picture_at(video, (step.start_s + step.end_s) / 2)
            assert np.array_equal(middle, rendering._picture(step.done))
            assert not np.array_equal(middle, picture_at(video, step.end_s))
            assert not np.array_equal(middle, picture_at(video, step.start_s - 1))
        done = [picture_at(video, (step.start_s + step.end_s) / 2) for step in made.steps]
        assert all(np.any(before != after) for before, after in pairwise(done))


def test_every_ingredient_can_be_drawn():
    for vessel, ingredients, act in recipes.TYPES.values():
        bare = recipes.Scene("white", vessel, "blue", acts=(act,))
        for name in ingredients:
            scene = recipes.Scene("white", vessel, "blue", contents=(name,), acts=(act,), beside=name)
            changed = (rendering._picture(scene) != rendering._picture(bare)).any(axis=2).mean()
            assert changed > 0.02


def test_the_counter_has_the_named_colour():
    for colour, paint in rendering._PAINT.items():
        picture = rendering._picture(recipes.Scene(colour, "bowl", "red"))
        assert tuple(picture[20, 20]) == paint
