"""The toy kitchen: deterministic, in YouCook2's form, the middle frame the one that counts."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from recipevis.data import annotations
from recipevis.data.sources.base import PLAIN_ID
from recipevis.kitchen import captions, recipes
from recipevis.kitchen.drawing import food, rendering
from recipevis.randomness import numpy_generator

MANY = [recipes.recipe(0, f"training-{number:04d}") for number in range(200)]


def kitchen(seed=0, training=20, validation=10):
    content = json.dumps(recipes.youcook2(seed, training, validation)).encode()
    return annotations.parse(content, "kitchen", PLAIN_ID)


def picture_at(video: list[np.ndarray], time_s: float) -> np.ndarray:
    return video[int(time_s * rendering.RATE)]


def test_annotations_pass_the_checks_and_cover_every_type_in_both_splits():
    table = annotations.summary(kitchen())
    for subset, videos in (("training", 20), ("validation", 10)):
        assert table[subset]["videos"] == videos
        assert table[subset]["recipe_types"] == len(recipes.TYPES) >= 8


def test_same_seed_same_kitchen_other_seed_another():
    assert kitchen(3) == kitchen(3)
    assert kitchen(3) != kitchen(4)
    assert kitchen(3, training=40)[:20] == kitchen(3)[:20]  # more videos leave the first ones as they are


def test_what_is_poured_is_drawn_as_a_liquid():
    assert {name for name, (*_, texture) in food._BASES.items() if texture == "liquid"} == recipes._POURED


def test_steps_have_idle_time_around_them():
    for recipe in kitchen(training=100):
        assert 3 <= len(recipe.steps) <= 7
        times = [0.0, *(time for step in recipe.steps for time in (step.start_s, step.end_s)), recipe.duration_s]
        assert all(after - before >= 1 for before, after in pairwise(times))
    assert {len(recipe.steps) for recipe in MANY} == {3, 4, 5, 6, 7}


def test_colours_are_named_in_the_first_sentence_only():
    for made in MANY:
        first, *later = made.steps
        assert f"{first.done.colour} {first.done.vessel}" in first.sentence
        assert f"{first.done.counter} counter" in first.sentence
        words = {word for step in later for word in step.sentence.split()}
        assert not words & set(recipes.COLOURS)


def test_what_is_in_the_vessel_is_named_by_its_own_step_only():
    for made in MANY:
        for earlier, step in pairwise(made.steps):
            new = set(step.done.contents) - set(earlier.done.contents)
            named = {name for name in step.done.contents if name in step.sentence}
            assert named == new


def test_the_next_picture_needs_sentence_and_previous_picture():
    """The same sentence leaves many pictures, and the same picture goes on to many."""
    after = {}
    for number in range(2000):
        made = recipes.recipe(0, f"training-{number:04d}")
        for earlier, step in pairwise(made.steps):
            after.setdefault(step.sentence, set()).add(step.done)
            after.setdefault(earlier.done, set()).add(step.done)
    sentences = [len(scenes) for key, scenes in after.items() if isinstance(key, str)]
    assert np.median(sentences) > 5
    assert sum(len(scenes) > 1 for key, scenes in after.items() if not isinstance(key, str)) > 100


def test_sentences_vary():
    sentences = {step.sentence for made in MANY for step in made.steps}
    assert len(sentences) > 300
    assert not [sentence for sentence in sentences if "a orange" in sentence]


def test_the_middle_of_a_step_shows_what_it_made_and_idle_time_does_not():
    for made in MANY[:10]:
        video = list(rendering.video(made))
        assert len(video) == made.duration_s * rendering.RATE
        assert {picture.shape for picture in video} == {(rendering.SIDE, rendering.SIDE, 3)}
        for step in made.steps:
            middle = picture_at(video, (step.start_s + step.end_s) / 2)
            assert np.array_equal(middle, rendering.picture(step.done))
            for time in (step.end_s, step.start_s - 1):  # wobble and an arm
                assert (middle != picture_at(video, time)).any(axis=2).mean() > 0.1
        done = [picture_at(video, (step.start_s + step.end_s) / 2) for step in made.steps]
        assert all((before != after).any(axis=2).mean() > 0.03 for before, after in pairwise(done))


@pytest.mark.parametrize("recipe_type", recipes.TYPES)
def test_everything_of_a_type_can_be_seen(recipe_type):
    made = recipes.TYPES[recipe_type]
    bases = [group[0] for group in made.bases]
    full = recipes.Scene("white", made.vessel, "blue", (*bases, made.toppings[0]))
    scenes = [replace(full, contents=(*full.contents, name)) for name in made.toppings[1:]]
    for place, group in enumerate(made.bases):
        others = [[*bases[:place], name, *bases[place + 1 :], made.toppings[0]] for name in group[1:]]
        scenes += [replace(full, contents=tuple(contents)) for contents in others]
    scenes += [replace(full, acts=(made.act,))]
    scenes += [replace(full, finish=name) for name in made.finish]
    scenes += [replace(full, board=name) for name in (*made.toppings, *bases)]
    for scene in scenes:
        changed = np.abs(rendering.picture(scene).astype(int) - rendering.picture(full)).max(axis=2) > 20
        assert changed.mean() > 0.01, scene


def test_every_tool_that_is_used_can_be_drawn():
    used = {step.done.tool for made in MANY for step in made.steps} - {""}
    assert used == {"hand", "jug", "shaker", "spoon", "spatula", "mitt"}
    empty = recipes.Scene("white", "bowl", "blue")
    for tool in used:
        assert (rendering.picture(replace(empty, tool=tool)) != rendering.picture(empty)).any(axis=2).mean() > 0.01


@pytest.mark.parametrize("colour", recipes.COLOURS)
def test_counter_and_vessel_have_the_named_colour(colour):
    paint = rendering.PAINT[colour]
    assert tuple(rendering.picture(recipes.Scene(colour, "bowl", "red"))[4, 4]) == paint
    assert tuple(rendering.picture(recipes.Scene("white", "bowl", colour))[146, 108 + 90]) == paint


def test_captions_say_everything():
    for made in MANY:
        for number, step in enumerate(made.steps):
            said, scene = captions.caption(step.done, numpy_generator(0, "caption", number)), step.done
            for words in (f"{scene.colour} {scene.vessel}", f"{scene.counter} counter", scene.finish):
                assert words in said
            assert all(name in said for name in (*scene.contents, scene.tool))
            lying = (f"{scene.board} on the board", f"on the board {scene.board}")
            assert any(words in said for words in lying) == bool(scene.board)
            for act, word in {"toss": "tossed", "stir": "stirred", "fold": "folded", "bake": "baked"}.items():
                assert (word in said) == (act in scene.acts)


def test_camera_cuts_change_the_view_and_nothing_else():
    """In that share of the steps after the first; a view stays until the next cut."""
    cuts, steps = 0, 0
    for number in range(200):
        plain, cut = (recipes.recipe(0, f"training-{number:04d}", share) for share in (0.0, 0.4))
        assert [step.sentence for step in cut.steps] == [step.sentence for step in plain.steps]
        assert [step.start_s for step in cut.steps] == [step.start_s for step in plain.steps]
        for one, other in zip(plain.steps, cut.steps, strict=True):
            assert replace(other.done, view=None) == one.done
            assert other.begun.view == other.done.view
        views = [step.done.view for step in cut.steps]
        assert views[0] is None
        assert [step.before.view for step in cut.steps[1:]] == views[:-1]  # idle time has the old view
        cuts += sum(one != other for one, other in pairwise(views))
        steps += len(views) - 1
        assert all(step.done.view is None for step in plain.steps)
    assert 0.35 < cuts / steps < 0.45
    every = [recipes.recipe(0, f"training-{number:04d}", 1.0) for number in range(20)]
    assert all(a.done.view != b.done.view for one in every for a, b in zip(one.steps, one.steps[1:], strict=False))


def test_a_view_moves_the_picture():
    scene = MANY[0].steps[2].done
    still = rendering.picture(scene)
    assert np.array_equal(rendering.picture(replace(scene, view=recipes.View(0, 0, 1, 0))), still)
    moved = rendering.picture(replace(scene, view=recipes.View(20, -10, 1, 0)))
    assert np.array_equal(moved[:-10, 20:], still[10:, :-20])  # to the right and up
    nearer = rendering.picture(replace(scene, view=recipes.View(0, 0, 2, 0)))
    halves = Image.fromarray(nearer).resize((128, 128), Image.Resampling.BOX)
    middle = still[64:192, 64:192].astype(int)
    assert np.abs(np.asarray(halves).astype(int) - middle).mean() < 6
    turned = rendering.picture(replace(scene, view=recipes.View(0, 0, 1, 90)))
    assert np.abs(np.rot90(turned)[8:-8, 8:-8].astype(int) - still[8:-8, 8:-8]).mean() < 6
