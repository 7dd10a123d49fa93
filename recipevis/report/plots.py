"""Plots as PNG, to be seen offline: the training curve, and the drift over the steps of a recipe."""

from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from recipevis.core import files
from recipevis.evaluation import metrics
from recipevis.evaluation.rows import MODES

# Colour-blind readers can tell these apart, and so can a grey print.
INK, MODEL, SECOND, FAINT = "#33312c", "#b4491f", "#2f6f8f", "#8d8a80"
_STYLE = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so the bytes don't depend on the machine's fonts
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
_ROUND = [1, 2, 5, 10]  # distances of ticks are multiples of these: 100 or 200 steps, never 60


def training_curve(history: pd.DataFrame, path: Path) -> None:
    """Plot the losses by optimizer step.

    Args:
        history: `plots/train.csv`, with `step, loss, cycle, validation_loss`; NaN where a loss was not measured.
        path: where the PNG goes.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        axes = figure.subplots()
        history = history[["step", "loss", "cycle", "validation_loss"]].astype(float)
        history["step"] += 1  # on the plot, steps count from 1
        window = max(1, len(history) // 50)  # rows
        steps_a_row = round(history.step.iloc[-1] / len(history)) if len(history) else 1
        axes.plot(history.step, history.loss, color=MODEL, alpha=0.25, linewidth=0.8)
        for name, label, colour in (("loss", "training loss", MODEL), ("cycle", "cycle loss", FAINT)):
            taken = history.dropna(subset=name)
            if taken[name].any():
                smooth = taken[name].rolling(window, min_periods=1, center=True).mean()
                axes.plot(taken.step, smooth, color=colour, label=f"{label}, mean of {window * steps_a_row} steps")
        validated = history.dropna(subset="validation_loss")
        if len(validated):
            style = {"marker": "o", "markersize": 3, "color": SECOND, "label": "validation loss"}
            axes.plot(validated.step, validated.validation_loss, **style)
        losses = history[["loss", "cycle", "validation_loss"]].stack().dropna()
        if len(losses):
            # Clip the few high losses of the first steps, which would flatten the rest.
            axes.set_ylim(0, max(1.1 * losses.quantile(0.99), 1e-3))
            axes.legend(loc="upper right")
        else:
            axes.text(0.5, 0.5, "no training step", color=FAINT, ha="center", transform=axes.transAxes)
        axes.set(xlabel="optimizer step", ylabel="loss")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, steps=_ROUND))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        _save(figure, path)


def drift(table: pd.DataFrame, path: Path) -> None:
    """Plot the model's metrics by step of the recipe: means in both modes, and beside them what the modes differ by.

    The difference is paired by image, with its 95 % interval. Below all, the number of images per step.

    Args:
        table: `plots/drift.csv`; every metric in it gets a row of charts.
        path: where the PNG goes.
    """
    shown = [metric for metric in metrics.named().values() if metric.name in table]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 1.2 + 1.9 * len(shown)), layout="constrained")
        grid = figure.subplots(len(shown) + 1, 2, sharex=True, squeeze=False)
        steps = table.step + 1  # on the plot, steps count from 1
        for (means, difference), metric in zip(grid, shown, strict=False):
            means.plot(steps, table[metric.name], "o-", color=MODEL, markersize=3.5, label="autoregressive")
            second = table[f"{MODES[1]}_{metric.name}"]
            means.plot(steps, second, "s--", color=SECOND, markersize=3.5, label="teacher-forced")
            means.set_title(f"{metric.heading}: {metric.direction}")
            _difference(difference, steps, table, f"drift_{metric.name}")
            difference.set_title("autoregressive minus teacher-forced")
        for axes in grid[-1]:
            _counts(axes, steps, table.images)
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
        _save(figure, path)


def _difference(axes: Axes, steps: pd.Series, table: pd.DataFrame, name: str) -> None:
    """Paired differences with their intervals; a step of a single video has none."""
    axes.axhline(0, color=FAINT, linewidth=0.8)
    ends = [(table[name] - table[f"{name}_low"]).fillna(0), (table[f"{name}_high"] - table[name]).fillna(0)]
    axes.errorbar(steps, table[name], yerr=[end.clip(lower=0) for end in ends], fmt="o", color=INK, markersize=3)


def _counts(axes: Axes, steps: pd.Series, images: pd.Series) -> None:
    axes.bar(steps, images, color="#d8d4c8")
    axes.set(xlabel="step of the recipe", ylabel="images")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _save(figure: Figure, path: Path) -> None:
    with files.replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, facecolor="white")
