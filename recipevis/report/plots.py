"""The pictures of curves: how training went, and how drawing drifts from step to step. PNG, seen offline."""

import math
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from recipevis.core import files
from recipevis.evaluation.glossary import METRICS

# Colours that stay apart for colour-blind readers and in grey.
INK, MODEL, FORCED, FAINT = "#33312c", "#b4491f", "#2f6f8f", "#8d8a80"
_STYLE = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so that the bytes do not depend on the machine's fonts
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
    "grid.color": "#e7e4dc",
    "axes.grid": True,
    "axes.axisbelow": True,
    "legend.frameon": False,
}
_DRIFTING = ("clip_l2", "clip_cosine", "psnr", "ssim")
_ROUND = [1, 2, 5, 10]  # of what a step between ticks may be a multiple: 100, 200, never 60


def thinned(history: pd.DataFrame, rows: int = 1000) -> pd.DataFrame:
    """A training history with at most `rows` rows: small enough to be committed with every experiment.

    Each row is the mean over a window of steps and named by the last of them; the validation loss is the window's last.
    """
    window = max(1, math.ceil(len(history) / rows))
    how = dict.fromkeys(history.columns, "mean") | {"step": "last", "validation_loss": "last"}
    return history.groupby(history.index // window).agg(how)[list(history.columns)]


def publish_curve(history: Path, folder: Path) -> None:
    """Write `train.csv`, thinned, and `train.png` of a training's `history.csv` into a folder."""
    table = pd.read_csv(history, float_precision="round_trip")
    files.write_text(folder / "train.csv", thinned(table).to_csv(index=False, lineterminator="\n"))
    training_curve(table, folder / "train.png")


def training_curve(history: pd.DataFrame, path: Path) -> None:
    """Draw the losses by optimizer step.

    Args:
        history: columns `step, loss, cycle, validation_loss` at least; a value that was not taken is NaN.
        path: where the PNG goes.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        axes = figure.subplots()
        history = history[["step", "loss", "cycle", "validation_loss"]].astype(float)
        history["step"] += 1  # people count from 1: the last step's point stands at their number
        window = max(1, len(history) // 50)
        axes.plot(history.step, history.loss, color=MODEL, alpha=0.25, linewidth=0.8)
        for name, label, colour in (("loss", "training loss", MODEL), ("cycle", "cycle loss", FAINT)):
            taken = history.dropna(subset=name)
            if taken[name].any():
                smooth = taken[name].rolling(window, min_periods=1, center=True).mean()
                axes.plot(taken.step, smooth, color=colour, label=f"{label}, mean of {window} steps")
        validated = history.dropna(subset="validation_loss")
        if len(validated):
            style = {"marker": "o", "markersize": 3, "color": FORCED, "label": "validation loss"}
            axes.plot(validated.step, validated.validation_loss, **style)
        seen = history[["loss", "cycle", "validation_loss"]].stack().dropna()
        if len(seen):
            # A few early losses far above the rest are left outside rather than flatten the curve.
            axes.set_ylim(0, max(1.1 * seen.quantile(0.99), 1e-3))
            axes.legend(loc="upper right")
        else:
            axes.text(0.5, 0.5, "no training step", color=FAINT, ha="center", transform=axes.transAxes)
        axes.set(xlabel="optimizer step", ylabel="loss")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, steps=_ROUND))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        _save(figure, path)


def drift(table: pd.DataFrame, path: Path) -> None:
    """Draw the model's metrics by step, in both modes, over how many images each point rests on.

    Args:
        table: from `evaluation.drift`.
        path: where the PNG goes.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 6.0), layout="constrained")
        grid = figure.subplots(3, 2, sharex=True, height_ratios=(3, 3, 1))
        steps = table.step + 1  # people count from 1
        for axes, metric in zip(grid[:2].flat, _DRIFTING, strict=True):
            axes.plot(steps, table[metric], "o-", color=MODEL, markersize=3.5, label="from its own images")
            forced = table[f"teacher_forced_{metric}"]
            axes.plot(steps, forced, "s--", color=FORCED, markersize=3.5, label="from the true images")
            axes.set_title(f"{METRICS[metric].name}: {METRICS[metric].better}")
        for axes in grid[2]:
            _counts(axes, steps, table.images)
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
        _save(figure, path)


def _counts(axes: Axes, steps: pd.Series, images: pd.Series) -> None:
    axes.bar(steps, images, color="#d8d4c8")
    axes.set(xlabel="step of the recipe", ylabel="images")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _save(figure: Figure, path: Path) -> None:
    with files.replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, facecolor="white")
