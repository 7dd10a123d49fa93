"""A small evaluation whose scores can be written down."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

PIXELS = 16
OFFSETS = {
    "autoregressive": 5,
    "teacher_forced": 3,
    "wrong_previous": 7,
    "untouched_backbone": 9,
    "vae_round_trip": 0,
}


def plain(path, *colour):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (PIXELS, PIXELS), colour).save(path)
    return str(path)


class Means:
    """An encoder whose vectors can be written down: the mean of each channel."""

    def __init__(self):
        self.encoded = 0

    def pooled(self, images):
        self.encoded += len(images)
        return np.stack([image.mean((0, 1)) for image in images]).astype(np.float32)


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
            rows.append([sample, recipe_type, f"v{video}", step, "stir, NA", image, previous, int(scored)])
            previous = frame
    columns = ["sample_id", "recipe_type", "video_id", "step", "sentence", "image", "previous_image", "scored"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "samples" / "samples.csv", index=False)
    return tmp_path / "samples"
