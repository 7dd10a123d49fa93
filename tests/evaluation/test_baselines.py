import numpy as np
import pandas as pd
import pytest
from PIL import Image

from recipevis.data.tables.samples import SETS
from recipevis.errors import InputError
from recipevis.evaluation import baselines

PIXELS = 16


def plain(path, *colour):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (PIXELS, PIXELS), colour).save(path)
    return str(path)


def test_mean_image(tmp_path):
    paths = [plain(tmp_path / f"{level}.png", level, 0, 255) for level in (0, 1, 100)]
    mean = baselines.mean_image([*paths, paths[2]])
    assert mean.shape == (PIXELS, PIXELS, 3)
    assert mean.dtype == np.uint8
    assert mean[0, 0].tolist() == [50, 0, 255]  # 201 / 4, rounded
    with pytest.raises(InputError, match="triplets"):
        baselines.mean_image([])
    with pytest.raises(InputError, match=r"absent\.png"):
        baselines.mean_image([str(tmp_path / "absent.png")])


def test_the_compared_images(tmp_path):
    truth = [plain(tmp_path / f"{level}.png", level, level, level) for level in (10, 20, 30)]
    samples = pd.DataFrame(
        [
            ("a_00", "x", "a", 0, truth[0], ""),
            ("a_01", "x", "a", 1, truth[1], truth[0]),
            ("b_00", "y", "b", 0, truth[2], ""),
        ],
        columns=["sample_id", "recipe_type", "video_id", "step", "image", "previous_image"],
    )
    for index, name in enumerate(SETS):
        for sample in samples.sample_id:
            plain(tmp_path / name / f"{sample}.png", 100 + index, 0, 0)
    mean = np.full((PIXELS, PIXELS, 3), 50, np.uint8)

    def reds(row, blank="white"):
        compared = baselines.compared_images(samples.iloc[row], samples, tmp_path, mean, blank, seed=0)
        assert {(image.shape, str(image.dtype)) for image in compared.values()} == {((PIXELS, PIXELS, 3), "uint8")}
        return {name: int(image[0, 0, 0]) for name, image in compared.items()}

    generated = dict(zip(SETS, (100, 101, 102, 103, 104), strict=True))
    assert reds(1) == {"copy_previous": 10, "mean_image": 50, "other_recipe": 30, **generated}
    assert reds(0)["copy_previous"] == 255
    assert reds(0, "black")["copy_previous"] == 0
