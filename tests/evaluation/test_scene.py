import math

import numpy as np
import pytest

from recipevis.data.tables.scenes import COUNTER, NEW, OLD, VESSEL, Question, read_scenes, write_scenes
from recipevis.errors import InputError
from recipevis.evaluation import scene

PIXELS = 4


def ask(kind, name, position, right=0, colours=(200, 100, 0)):
    """Whether one pixel has the first of three grey levels."""
    options = np.array([[[level] * 3] for level in colours], np.uint8)
    return Question(kind, name, np.array([position], np.int32), options, right)


def image(**levels):
    """Black, but for the pixels p<position>."""
    picture = np.zeros((PIXELS * PIXELS, 3), np.uint8)
    for position, level in levels.items():
        picture[int(position[1:])] = level
    return picture.reshape(PIXELS, PIXELS, 3)


def test_the_nearest_picture_is_the_answer():
    assert scene.is_right(ask(COUNTER, "red", 3), image(p3=160))
    assert not scene.is_right(ask(COUNTER, "red", 3), image(p3=140))
    assert scene.is_right(ask(COUNTER, "red", 3, right=2), image(p3=10))


def test_answers_are_shares_by_kind():
    asked = [ask(COUNTER, "red", 0), ask(OLD, "peas", 1), ask(OLD, "feta", 2), ask(NEW, "rice", 3)]
    found = scene.answers(asked, image(p0=200, p1=200))
    assert (found["counter_colour"], found["old_ingredients"], found["new_ingredient"]) == (1, 0.5, 0)
    assert math.isnan(found["vessel_colour"])  # not asked
    assert all(math.isnan(found[name]) for name in found if name.endswith("_kept"))  # a first step
    assert list(found) == [name for name, _, _ in scene.DESCRIPTIONS]


def test_what_is_kept_counts_where_the_image_before_was_right():
    asked = [ask(COUNTER, "red", 0), ask(VESSEL, "blue", 1), ask(OLD, "peas", 2), ask(OLD, "feta", 3)]
    asked_before = [ask(COUNTER, "red", 0), ask(VESSEL, "blue", 1), ask(OLD, "peas", 4), ask(NEW, "feta", 5)]
    found = scene.answers(asked, image(p1=200, p2=200), asked_before, image(p0=200, p4=200, p5=200))
    assert found["counter_colour_kept"] == 0  # right before, wrong now
    assert math.isnan(found["vessel_colour_kept"])  # wrong before
    assert found["old_ingredients_kept"] == 0.5  # both were there, wherever they lay; one is
    without_peas = scene.answers(asked, image(p1=200, p2=200), asked_before, image(p5=200))
    assert without_peas["old_ingredients_kept"] == 0


def test_questions_are_read_as_they_were_written(tmp_path):
    scenes = {
        "b_00": [ask(COUNTER, "red", 1), ask(NEW, "peas", 2, right=1, colours=(9, 8))],
        "a_01": [ask(OLD, "x", 3)],
    }
    write_scenes(tmp_path / "scenes.npz", scenes)
    again = read_scenes(tmp_path / "scenes.npz")
    assert list(again) == list(scenes)
    for mine, theirs in zip(*([one for of in table.values() for one in of] for table in (scenes, again)), strict=True):
        assert (mine.kind, mine.name, mine.right) == (theirs.kind, theirs.name, theirs.right)
        assert np.array_equal(mine.positions, theirs.positions)
        assert np.array_equal(mine.options, theirs.options)
    first = (tmp_path / "scenes.npz").read_bytes()
    write_scenes(tmp_path / "scenes.npz", scenes)
    assert (tmp_path / "scenes.npz").read_bytes() == first  # DVC compares bytes


def test_nothing_is_known_of_other_sources(tmp_path):
    write_scenes(tmp_path / "scenes.npz", {})
    assert read_scenes(tmp_path / "scenes.npz") == {}
    (tmp_path / "broken.npz").write_bytes(b"PK broken")
    with pytest.raises(InputError, match=r"broken\.npz"):
        read_scenes(tmp_path / "broken.npz")
