"""`draw_recipe` and `draw_recipes`: a recipe from Python, one image after the other, or several recipes together."""

import numpy as np
import pytest
from PIL import Image

from recipevis import draw_recipe, draw_recipes
from recipevis.errors import ParameterError
from recipevis.sampling.recipe import as_photo
from recipevis.sampling.sampler import Sampler, generate_recipe

SETTINGS = {"num_inference_steps": 2, "guidance_scale": 2.0}


def arrays(pictures):
    return [np.asarray(picture) for picture in pictures]


@pytest.fixture
def photo():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))


def test_a_recipe_is_drawn_as_the_command_draws_it(pipeline, photo):
    prompts = ["melt", "stir", "serve"]
    expected = list(generate_recipe(Sampler(pipeline, 3, 2, 2.0), prompts, np.asarray(photo)))
    drawn = arrays(draw_recipe(pipeline, prompts, 3, photo, **SETTINGS))
    assert np.array_equal(drawn, expected)
    kept = arrays(draw_recipe(pipeline, prompts, 3, kept=[Image.fromarray(one) for one in drawn[:2]], **SETTINGS))
    assert np.array_equal(kept, expected[2:])


def test_images_come_one_by_one(pipeline, monkeypatch):
    calls = []
    monkeypatch.setattr(
        Sampler, "generate", lambda self, keys, *rest: calls.append(keys) or [np.zeros((8, 8, 3), "u1")]
    )
    drawn = draw_recipe(pipeline, ["melt", "stir"])
    assert not calls
    next(drawn)
    assert calls == [["0"]]


def test_recipes_of_different_lengths_are_drawn_together(pipeline, photo, monkeypatch):
    recipes = [["melt"], ["chop", "stir", "serve"], ["fry", "salt"]]
    photos = [None, photo, None]
    alone = [
        arrays(draw_recipe(pipeline, one, 5, shown, **SETTINGS)) for one, shown in zip(recipes, photos, strict=True)
    ]
    sizes, generate = [], Sampler.generate
    monkeypatch.setattr(Sampler, "generate", lambda self, *given: sizes.append(len(given[0])) or generate(self, *given))
    together = draw_recipes(pipeline, recipes, 5, photos, **SETTINGS)
    assert sizes == [3, 2, 1]
    for one, other in zip(alone, together, strict=True):
        assert len(one) == len(other)
        assert np.abs(np.asarray(one, int) - np.asarray(arrays(other))).max() <= 2  # a batch rounds differently
    assert draw_recipes(pipeline, []) == []


def test_what_makes_no_sense_is_refused(pipeline, photo):
    for prompts in ([], "melt the butter"):
        with pytest.raises(ParameterError, match="prompts"):
            draw_recipe(pipeline, prompts)
    with pytest.raises(ParameterError, match="keep"):
        draw_recipe(pipeline, ["melt"], kept=[photo, photo])
    with pytest.raises(ParameterError, match="2 first images for 1"):
        draw_recipes(pipeline, [["melt"]], first_images=[photo, photo])


def test_a_photo_of_any_mode_is_read_as_people_see_it():
    turned = Image.new("RGB", (4, 2), "red")
    turned.putpixel((0, 0), (0, 0, 255))
    turned.getexif()[0x0112] = 6  # to be turned clockwise by 90 degrees
    shown = as_photo(turned)
    assert shown.shape == (4, 2, 3)
    assert shown[0, 1].tolist() == [0, 0, 255]  # the corner at the top left is at the top right now
    clear = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    assert (as_photo(clear) == 255).all()
    deep = Image.fromarray(np.full((2, 2), 32_896, np.uint16))
    assert (as_photo(deep) == 128).all()
    for mode in ("1", "L", "LA", "P", "CMYK", "YCbCr"):
        assert as_photo(Image.new(mode, (3, 2))).shape == (2, 3, 3)
