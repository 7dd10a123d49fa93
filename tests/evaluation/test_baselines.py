import numpy as np
import pandas as pd
import pytest
from PIL import Image

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


def test_baselines_that_are_made_of_frames(tmp_path):
    truth = [plain(tmp_path / f"{level}.png", level, level, level) for level in (10, 20, 30)]
    samples = pd.DataFrame(
        [("a_00", truth[0], "", truth[2]), ("a_01", truth[1], truth[0], truth[2]), ("b_00", truth[2], "", "")],
        columns=["sample_id", "image", "previous_image", "other_image"],
    )
    mean, nearest = np.full((PIXELS, PIXELS, 3), 50, np.uint8), dict.fromkeys(samples.sample_id, truth[1])

    def reds(row, blank="white"):
        read = baselines.frame_baselines(mean, nearest, blank)
        made = {name: of_row(samples.iloc[row]) for name, of_row in read.items()}
        return {name: image if image is None else int(image[0, 0, 0]) for name, image in made.items()}

    assert reds(1) == {"copy_previous": 10, "mean_image": 50, "other_recipe": 30, "nearest_training": 20}
    assert reds(0)["copy_previous"] == 255
    assert reds(0, "black")["copy_previous"] == 0
    assert reds(2)["other_recipe"] is None


class Vectors:
    """Embeddings of random vectors."""

    def __init__(self, steps):
        random = np.random.default_rng(0)
        self.sentence_rows = {text: row for row, text in enumerate(["", *sorted(set(steps.sentence))])}
        self.image_rows = {
            path: row for row, path in enumerate(["", *sorted({*steps.image, *steps.previous_image} - {""})])
        }
        self.text_pooled = random.normal(size=(len(self.sentence_rows), 5)).astype(np.float16)
        self.image_pooled = random.normal(size=(len(self.image_rows), 7)).astype(np.float16)


def test_the_nearest_training_frame_is_that_of_the_most_similar_step(monkeypatch):
    """Against a loop over all pairs; in blocks as at once."""
    rows = [(f"v{n}", f"say {n % 7}", f"f{n}", f"f{n - 1}" if n % 4 else "", 1) for n in range(40)]
    steps = pd.DataFrame(rows, columns=["sample_id", "sentence", "image", "previous_image", "scored"])
    training, samples = steps.iloc[:28], steps.iloc[28:]
    vectors = Vectors(steps)

    def cosine(a, b):
        a, b = a.astype(float), b.astype(float)
        return a @ b / np.sqrt((a @ a) * (b @ b))

    def alike(a, b):
        text = (vectors.text_pooled[vectors.sentence_rows[row.sentence]] for row in (a, b))
        image = (vectors.image_pooled[vectors.image_rows[row.previous_image]] for row in (a, b))
        return cosine(*text) + cosine(*image)

    expected = {
        mine.sample_id: max(training.itertuples(), key=lambda theirs, mine=mine: alike(mine, theirs)).image
        for mine in samples.itertuples()
    }
    for block in (512, 5):
        monkeypatch.setattr(baselines, "_BLOCK", block)
        assert baselines.nearest_training(samples, training, vectors) == expected
    assert len(set(expected.values())) > 3
