from functools import cache

import numpy as np
import pytest
from PIL import Image

from recipevis.data.tables.scenes import COUNTER, NEW, OLD, VESSEL
from recipevis.evaluation import scene
from recipevis.kitchen import truth
from recipevis.kitchen.drawing.rendering import picture
from recipevis.kitchen.recipes import recipe

VIDEOS = [f"validation-{number:04d}" for number in range(40)]

questions = cache(truth.questions)  # several tests ask the same


def steps(cuts=0.0, videos=VIDEOS):
    for video in videos:
        for step, made in enumerate(recipe(0, video, cuts).steps):
            yield video, step, made


@pytest.mark.parametrize(
    ("pixels", "cuts", "videos"), [(256, 0.0, VIDEOS), (64, 0.0, VIDEOS[:4]), (256, 0.5, VIDEOS[:4])]
)
def test_the_true_picture_gives_every_right_answer(pixels, cuts, videos):
    asked = 0
    for video, step, made in steps(cuts, videos):
        image = Image.fromarray(picture(made.done)).resize((pixels, pixels), Image.Resampling.LANCZOS)
        for question in questions(0, cuts, video, step, pixels):
            assert scene.is_right(question, np.asarray(image)), (video, step, question.kind, question.name)
            asked += 1
    assert asked > 15 * len(videos)


def test_what_is_asked_is_what_the_recipe_says():
    for video, step, made in steps():
        asked = questions(0, 0.0, video, step, 256)
        names = {kind: [one.name for one in asked if one.kind == kind] for kind in (COUNTER, VESSEL, NEW, OLD)}
        assert names[COUNTER] == [made.done.counter]
        assert names[VESSEL] == [made.done.colour]
        shown_before = {*made.begun.contents, made.begun.finish} - {""}
        added = {*made.done.contents, made.done.finish} - {""} - shown_before
        assert set(names[NEW]) <= added
        assert set(names[OLD]) <= shown_before
        assert names[NEW] or not added  # what was just added is on top, so that it is always asked for


def test_a_copy_of_the_previous_picture_lacks_what_the_step_adds():
    missing, kept = [], []
    for video, step, _ in steps():
        if step == 0:
            continue
        before = recipe(0, video).steps[step - 1].done
        found = scene.answers(questions(0, 0.0, video, step, 256), picture(before))
        missing.append(found["new_ingredient"])
        assert found["counter_colour"] == found["vessel_colour"] == 1
        if not recipe(0, video).steps[step].done.acts:  # stirring moves what is there
            kept.append(found["old_ingredients"])
    assert np.nanmean(missing) < 0.06  # not 0: the hand or the jug of the step before can look like it
    assert np.nanmean(kept) > 0.98


def test_a_mean_picture_knows_no_colour():
    pictures = [picture(made.done) for _, _, made in steps()]
    mean = np.rint(np.mean(pictures, axis=0)).astype(np.uint8)
    found = [scene.answers(questions(0, 0.0, video, step, 256), mean) for video, step, _ in steps()]
    for column in ("counter_colour", "vessel_colour"):
        assert np.mean([one[column] for one in found]) < 0.3  # chance is 0.125; one answer for all


def test_another_recipes_picture_is_wrong():
    """A picture that shows a wrong counter is not right by its vessel."""
    made, other = recipe(0, VIDEOS[0]).steps[2], recipe(0, VIDEOS[11]).steps[2]
    assert made.done.counter != other.done.counter
    assert scene.answers(questions(0, 0.0, VIDEOS[0], 2, 256), picture(other.done))["counter_colour"] == 0


def test_a_hidden_ingredient_moves_no_other():
    for video, step, made in steps():
        for name in made.done.contents:
            changed = (picture(made.done) != picture(made.done, hidden=name)).any(-1)
            assert not changed[:40].any()  # the board
            if name == made.done.contents[-1] and not made.done.acts:
                assert changed.any(), (video, step, name)
