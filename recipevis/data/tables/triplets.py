"""`data/triplets.csv`: one row a sample of training or validation."""

from pathlib import Path

import pandas as pd

COLUMNS = ("sample_id", "subset", "recipe_type", "video_id", "step", "sentence", "image", "previous_image")


def read_triplets(path: Path) -> pd.DataFrame:
    """Read `data/triplets.csv`: `step` is int, the rest is text; `previous_image` is "" for a first step."""
    columns = {column: int if column == "step" else str for column in COLUMNS}
    return pd.read_csv(path, dtype=columns, keep_default_na=False)
