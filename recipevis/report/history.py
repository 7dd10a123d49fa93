"""The history of a training, short enough to commit with every experiment."""

import math

import pandas as pd


def thinned(history: pd.DataFrame, rows: int = 1000) -> pd.DataFrame:
    """Reduce a history to at most `rows` rows.

    Each row is the mean over a window of steps, with the number of the window's last step and its last validation loss.

    Args:
        history: a row per optimizer step, with `step` and `validation_loss`, which is NaN where it was not measured.
        rows: the most rows to keep.
    """
    window = max(1, math.ceil(len(history) / rows))
    how = dict.fromkeys(history.columns, "mean") | {"step": "last", "validation_loss": "last"}
    return history.groupby(history.index // window).agg(how)[list(history.columns)]
