"""Image conventions."""

import numpy as np
import pytest
import torch
from PIL import Image

from recipevis import images
from recipevis.errors import ParameterError
from tests.pictures import picture


def test_to_and_from_the_vae_is_exact():
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    tensor = images.to_vae([levels])
    assert tensor.shape == (1, 3, 16, 16)
    assert (tensor.min(), tensor.max()) == (-1, 1)
    assert np.array_equal(images.from_vae(tensor)[0], levels)


def test_what_leaves_the_range_is_clamped():
    assert images.from_vae(torch.tensor([-3.0, 3.0, 0.0]).view(1, 3, 1, 1)).ravel().tolist() == [0, 255, 128]


def test_blank_images():
    assert (images.blank(8, "white") == 255).all()
    assert not images.blank(8, "black").any()


def test_images_of_every_type_become_uint8():
    array = picture(8)
    unit = array / 255
    tensor = torch.from_numpy(unit).permute(2, 0, 1)
    grey = Image.fromarray(array).convert("L")
    whole = torch.from_numpy(array).permute(2, 0, 1)
    for image in (array, unit, unit.astype(np.float32), tensor, whole, Image.fromarray(array)):
        assert np.array_equal(images.as_uint8(image), array)
    assert images.as_uint8(grey).shape == (8, 8, 3)


@pytest.mark.parametrize(
    "image",
    ["photo.png", np.zeros((8, 8)), np.full((8, 8, 3), 2.0), np.full((8, 8, 3), np.nan), np.zeros((8, 8, 3), int)],
    ids=["path", "grey", "range", "nan", "integers"],
)
def test_anything_else_is_refused(image):
    with pytest.raises(ParameterError, match="image"):
        images.as_uint8(image)
