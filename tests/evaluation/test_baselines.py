import numpy as np
import pandas as pd
import pytest
from PIL import Image

from recipevis.data.tables.samples import SETS
from recipevis.errors import InputError
from recipevis.evaluation import baselines

PIXELS = 16
SAMPLES = pd.DataFrame(
    [(f"v{video}_{step:02d}", kind, f"v{video}", step) for video, kind in enumerate("aab") for step in range(3)],
    columns=["sample_id", "recipe_type", "video_id", "step"],
).assign(image=lambda table: table.sample_id + ".png", previous_image="", scored=1)


def plain(path, *colour):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (PIXELS, PIXELS), colour).save(path)
    return str(path)


def test_other_recipe_is_a_true_frame_of_another_type():
    keys = [(sample, seed) for sample in SAMPLES.sample_id for seed in range(9)]
    chosen = {key: baselines.other_recipe(SAMPLES, *key) for key in keys}
    assert all(path.startswith("v2") != sample.startswith("v2") for (sample, _), path in chosen.items())
    assert len({path for (sample, _), path in chosen.items() if sample == "v2_00"}) > 1  # it depends on the seed
    assert chosen == {key: baselines.other_recipe(SAMPLES, *key) for key in reversed(keys)}


def test_other_recipe_makes_do_with_another_video():
    of_one_type = SAMPLES[SAMPLES.recipe_type == "a"]
    assert {baselines.other_recipe(of_one_type, "v0_00", seed)[:2] for seed in range(9)} == {"v1"}
    assert baselines.other_recipe(SAMPLES[SAMPLES.video_id == "v0"], "v0_00", 0) is None


def test_other_recipe_is_never_a_missing_frame():
    absent = SAMPLES.assign(image=SAMPLES.image.where(SAMPLES.step == 1, ""))
    assert {baselines.other_recipe(absent, "v0_00", seed) for seed in range(9)} == {"v2_01.png"}


def test_mean_image(tmp_path):
    paths = [plain(tmp_path / f"{level}.png", level, 0, 255) for level in (0, 1, 100)]
    mean = baselines.mean_image([*paths, paths[2]])
    assert mean.shape == (PIXELS, PIXELS, 3)
    assert mean.dtype == np.uint8
    assert mean[0, 0].tolist() == [50, 0, 255]  # 201 / 4, rounded
    with pytest.raises(InputError, match="no training triplet"):
        baselines.mean_image([])
    with pytest.raises(InputError, match=r"absent\.png: can't be read as a picture"):
        baselines.mean_image([str(tmp_path / "absent.png")])


def test_everything_that_is_compared(tmp_path):
    true = [plain(tmp_path / f"{level}.png", level, level, level) for level in (10, 20, 30)]
    samples = pd.DataFrame(
        [
            ("a_00", "x", "a", 0, true[0], ""),
            ("a_01", "x", "a", 1, true[1], true[0]),
            ("b_00", "y", "b", 0, true[2], ""),
        ],
        columns=["sample_id", "recipe_type", "video_id", "step", "image", "previous_image"],
    )
    for index, name in enumerate(SETS):
        for sample in samples.sample_id:
            plain(tmp_path / name / f"{sample}.png", 100 + index, 0, 0)
    mean = np.full((PIXELS, PIXELS, 3), 50, np.uint8)

    def reds(row, blank="white"):
        pictures = baselines.pictures(samples.iloc[row], samples, tmp_path, mean, blank, seed=0)
        assert {(picture.shape, str(picture.dtype)) for picture in pictures.values()} == {
            ((PIXELS, PIXELS, 3), "uint8")
        }
        return {name: int(picture[0, 0, 0]) for name, picture in pictures.items()}

    drawn = dict(zip(SETS, (100, 101, 102, 103, 104), strict=True))
    assert reds(1) == {"true": 20, "copy_previous": 10, "mean_image": 50, "other_recipe": 30, **drawn}
    assert reds(0)["copy_previous"] == 255
    assert reds(0, "black")["copy_previous"] == 0
