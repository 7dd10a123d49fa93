"""Experiments whose scores can be written down."""

import numpy as np
import pandas as pd
import pytest

from recipevis.evaluation.rows import GROUPS, LINES, MODES
from recipevis.randomness import numpy_generator
from recipevis.table1.experiments import Experiment
from recipevis.table1.rows import ROWS

VIDEOS, STEPS = 8, 4
PSNR = {"copy_previous": 16.0, "mean_image": 15.0, "untouched_backbone": 15.5}


def images(level, seed, sets=MODES):
    """A row a set and sample: PSNR about `level`; the other metrics follow it."""
    random, rows = np.random.default_rng(seed), []
    sets = {mode: level for mode in sets} | {
        line.row: PSNR.get(line.row, 14.0) for line in LINES if line.row not in ("model", "untouched_native")
    }
    for name, psnr in sets.items():
        for video in range(VIDEOS):
            for step in range(STEPS):
                value = psnr + 0.2 * video + random.normal(0, 0.1)
                about = {"picture": name, "sample_id": f"v{video}_{step:02d}", "video_id": f"v{video}", "step": step}
                truth = {"counter_colour": float(value > 16), "vessel_colour": 1.0, "new_ingredient": np.nan}
                about |= {"psnr": value, "ssim": value / 30, "clip_l2": 30 - value, "encoder_l2": 31 - value}
                about |= {**truth, "old_ingredients": 1.0}
                rows.append(
                    about | {"encoder_cosine": 40 - value, "image_encoder_cosine": 41 - value, "sharpness": 0.8}
                )
    return pd.DataFrame(rows)


def experiment(key, level, seed=0, **about):
    """An experiment of a row with this PSNR."""
    row = next(row for row in ROWS if row.key == key)
    described = {"backbone": {"source": "kitchen"}, "data_hash": "d", "steps": 5, "sampler": {"steps": 3}} | about
    entry = {mode: {group: {"fid": {"mean": level, "low": 1.0, "high": 2.0}} for group in GROUPS} for mode in MODES}
    mean = {mode: {group: {"fid": {"mean": 9.0, "low": 1.0, "high": 12.0}} for group in GROUPS} for mode in MODES}
    result = {"experiment": described, "rows": {"model": entry, "mean_image": mean}}
    return Experiment(
        row,
        seed,
        row.experiment(seed),
        "0" * 40,
        described,
        result,
        images(level, numpy_generator(seed, key).integers(99)),
    )


@pytest.fixture
def found():
    """Baseline, text only and a fuser with three seeds; the fuser's cycle row, better by both judges, with one."""
    levels = {"baseline": 16.0, "text_only": 16.1, "attend_to_image": 20.0}
    several = [experiment(key, level + 0.1 * seed, seed) for key, level in levels.items() for seed in range(3)]
    return [*several, experiment("attend_to_image-cycle", 21.0), experiment("concat", 14.5)]
