"""Experiments whose images and scores can be written down, as files of a project."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from recipevis.data.tables.samples import COLUMNS
from recipevis.evaluation import summary
from recipevis.evaluation.rows import MODES
from recipevis.evaluation.scores import Scores

VIDEOS, STEPS, PIXELS = 4, 2, 16


def psnr(offset: float) -> float:
    """Of an image whose every pixel is off by so much."""
    return 20 * math.log10(255 / offset)


def offset(mode: str, base: int, video: int) -> int:
    """By how much the images of a video are off, grey levels; with the ground truth before it by one less."""
    return base + video - MODES.index(mode)


def write(folder: Path, base: int, data_hash: str = "d") -> None:
    """Write the outputs of an experiment whose images are off by `base`, plus the number of the video."""
    rows, table = [], []
    for video, step in np.ndindex(VIDEOS, STEPS):
        sample, level = f"v{video}_{step:02d}", 20 * (video + 1) + step
        frame = f"data/frames/{sample}.png"
        plain(folder / frame, level)
        rows.append([sample, f"<type {video % 2}>", f"v{video}", step, f"stir & <b>{step}</b>", frame, "", "", 1, 1])
        for mode in MODES:
            off = offset(mode, base, video)
            plain(folder / "samples" / mode / f"{sample}.png", level + off)
            about = {"picture": mode, "sample_id": sample, "video_id": f"v{video}", "step": step}
            table.append(about | {"psnr": psnr(off), "clip_l2": float(off**2)})
    pd.DataFrame(rows, columns=COLUMNS).to_csv(folder / "samples/samples.csv", index=False)
    scores = Scores(pd.DataFrame(table))
    scores.write(folder / "scores/model")
    about = {"model": "concat", "data_hash": data_hash}
    (folder / "reports").mkdir(exist_ok=True)
    result = {"experiment": about, "rows": summary.summarise(scores, 20, 0)}
    (folder / "reports/evaluation.json").write_text(json.dumps(result))
    parameters = f"seed: 0\nfuser: concat\nsample: {{steps: {base}, scheduler: ddpm}}\nevaluate: {{resamples: 20}}\n"
    (folder / "params.yaml").write_text(parameters)


def plain(path: Path, level: int) -> None:
    """Write a grey image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (PIXELS, PIXELS), 3 * (level,)).save(path)
