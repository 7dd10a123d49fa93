"""A small evaluation whose scores can be written down."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from recipevis.data.tables import samples as samples_table
from recipevis.data.tables.samples import COLUMNS, read_samples
from recipevis.evaluation import baselines, reference, scores

PIXELS = 16
OFFSETS = {
    "autoregressive": 5,
    "teacher_forced": 3,
    "wrong_previous": 7,
    "no_previous": 11,
    "untouched_backbone": 9,
    "vae_round_trip": 0,
}


def plain(path, *colour):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (PIXELS, PIXELS), colour).save(path)
    return str(path)


class Means:
    """An encoder whose vectors can be written down: the mean of each channel, of a sentence its length thrice."""

    has_text = True

    def __init__(self):
        self.encoded = 0

    def images(self, images):
        self.encoded += len(images)
        means = np.stack([image.mean((0, 1)) for image in images]).astype(np.float32)
        return {"pooled": means, "projected": 2 * means}

    def sentences(self, sentences):
        return np.array([[len(sentence)] * 3 for sentence in sentences], np.float32)


@pytest.fixture
def generated(tmp_path):
    """The folder `samples/` of three recipes of two types.

    The ground truth of a step is grey, of level 20 (video + 1) + step; each generated image is off by `OFFSETS`.
    """
    rows = []
    for video, (recipe_type, steps) in enumerate([("a", 3), ("a", 2), ("b", 2)]):
        previous = ""
        for step in range(steps):
            sample = f"v{video}_{step:02d}"
            level = 20 * (video + 1) + step
            frame = plain(tmp_path / "frames" / f"{sample}.png", level, level, level)
            scored = (video, step) != (1, 1)
            for name, offset in OFFSETS.items():
                if scored or name == "autoregressive":
                    plain(tmp_path / "samples" / name / f"{sample}.png", *3 * [level + offset])
            image = frame if scored else ""
            other = str(tmp_path / "frames" / f"v{2 if video < 2 else 0}_00.png") if scored else ""
            about = [sample, recipe_type, f"v{video}", step, f"stir, NA {'o' * step}"]
            rows.append([*about, image, previous, other, int(scored), int(scored)])
            previous = frame
    pd.DataFrame(rows, columns=COLUMNS).to_csv(tmp_path / "samples" / "samples.csv", index=False)
    return tmp_path / "samples"


def score(generated, work="work", blank="white", encoders=None, scenes=None):
    """Score everything in the folder, as the stages `reference` and `evaluate` do.

    The mean image is grey, of level 50; the nearest training frame of a step is its own frame.
    """
    encoders = {"clip": Means()} if encoders is None else encoders
    samples = read_samples(generated / "samples.csv")
    training = pd.DataFrame({"recipe_type": ["a", "b", "b"], "sentence": ["chop", "stir", "fry it"]})
    mean, nearest = np.full((PIXELS, PIXELS, 3), 50, np.uint8), dict(zip(samples.sample_id, samples.image, strict=True))
    read = baselines.frame_baselines(mean, nearest, blank)
    read |= {name: scores.in_folder(generated / name, samples_table.steps_of(name, samples)) for name in OFFSETS}
    sets = {name: scores.ImageSet(of_row, name == "autoregressive") for name, of_row in read.items()}
    truth = reference.measure(samples, training, encoders, scenes or {})
    return scores.score(samples, sets, truth, encoders, generated / work)
