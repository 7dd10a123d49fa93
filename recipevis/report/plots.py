"""The training curve and the drift over the steps of a recipe: as PNG files, and as SVG for the page."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
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
_GRID, _BARS = "#e7e4dc", "#d8d4c8"
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
    "grid.color": _GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: it can be read aloud, and takes the page's font
    "svg.hashsalt": "recipevis",  # equal inputs give equal bytes
}
# The page's names for these colours, so that a plot on it turns dark with the page.
_ON_PAGE = {INK: "ink", MODEL: "model", SECOND: "second", FAINT: "soft", _GRID: "line", _BARS: "baseline"}
_ROUND = [1, 2, 5, 10]  # distances of ticks are multiples of these: 100 or 200 steps, never 60


@dataclass(frozen=True)
class Drift:
    """The plots of one metric by step of the recipe, as SVG elements.

    Attributes:
        metric: which one.
        means: in both modes.
        difference: autoregressive minus teacher-forced, with intervals.
    """

    metric: metrics.Metric
    means: str
    difference: str


def training_curve(history: pd.DataFrame, path: Path) -> None:
    """Plot the losses by optimizer step.

    Args:
        history: `plots/train.csv`, with `step, loss, cycle, validation_loss`; NaN where a loss was not measured.
        path: where the PNG goes.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        _losses(figure.subplots(), history)
        _save(figure, path)


def training_svg(history: pd.DataFrame) -> str:
    """The plot of `training_curve` as an SVG element."""
    return _svg("train", (4.8, 2.8), lambda axes: _losses(axes, history))


def _losses(axes: Axes, history: pd.DataFrame) -> None:
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


def drift(table: pd.DataFrame, path: Path) -> None:
    """Plot the model's metrics by step of the recipe: means in both modes, and beside them what the modes differ by.

    The difference is paired by image, with its 95 % interval. Below all, the number of images per step.

    Args:
        table: `plots/drift.csv`; every metric in it gets a row of charts.
        path: where the PNG goes.
    """
    shown = _drifting(table)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 1.2 + 1.9 * len(shown)), layout="constrained")
        grid = figure.subplots(len(shown) + 1, 2, sharex=True, squeeze=False)
        for (means, difference), metric in zip(grid, shown, strict=False):
            _means(means, table, metric.name)
            means.set_title(f"{metric.heading}: {metric.direction}")
            _difference(difference, table, metric.name)
            difference.set_title("autoregressive minus teacher-forced")
        for axes in grid[-1]:
            _counts(axes, table)
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
        _save(figure, path)


def drift_svgs(table: pd.DataFrame) -> tuple[list[Drift], str]:
    """The charts of `drift` as SVG elements: two for each metric, and the number of images per step."""

    def drawn(name: str, draw: Callable[..., None], *arguments: object) -> str:
        def with_steps(axes: Axes) -> None:
            draw(axes, table, *arguments)
            axes.set_xlabel("step of the recipe")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))

        return _svg(name, (3.4, 1.9), with_steps)

    charts = [
        Drift(
            metric,
            drawn(f"means-{metric.name}", _means, metric.name),
            drawn(f"difference-{metric.name}", _difference, metric.name),
        )
        for metric in _drifting(table)
    ]
    return charts, drawn("images", _counts)


def _drifting(table: pd.DataFrame) -> list[metrics.Metric]:
    return [metric for metric in metrics.named().values() if metric.name in table]


def _means(axes: Axes, table: pd.DataFrame, name: str) -> None:
    """A metric's means in both modes, by step; on the plot, steps count from 1."""
    axes.plot(table.step + 1, table[name], "o-", color=MODEL, markersize=3.5, label="autoregressive")
    second = table[f"{MODES[1]}_{name}"]
    axes.plot(table.step + 1, second, "s--", color=SECOND, markersize=3.5, label="teacher-forced")


def _difference(axes: Axes, table: pd.DataFrame, metric: str) -> None:
    """Paired differences with their intervals; a step of a single video has none."""
    name = f"drift_{metric}"
    axes.axhline(0, color=FAINT, linewidth=0.8)
    ends = [(table[name] - table[f"{name}_low"]).fillna(0), (table[f"{name}_high"] - table[name]).fillna(0)]
    heights = [end.clip(lower=0) for end in ends]
    axes.errorbar(table.step + 1, table[name], yerr=heights, fmt="o", color=INK, markersize=3)


def _counts(axes: Axes, table: pd.DataFrame) -> None:
    axes.bar(table.step + 1, table.images, color=_BARS)
    axes.set(xlabel="step of the recipe", ylabel="images")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _svg(name: str, inches: tuple[float, float], draw: Callable[[Axes], None]) -> str:
    """One chart as an SVG element that takes its colours and font from the page.

    Args:
        name: unique on the page; it goes before each id in the element.
        inches: width and height; the page scales it.
        draw: draws on the axes.
    """
    with matplotlib.rc_context({**_STYLE, "text.color": INK}):
        figure, drawn = Figure(figsize=inches, layout="constrained"), io.StringIO()
        draw(figure.subplots())
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    text = drawn.getvalue()
    text = re.sub(r"<(metadata|style).*?</\1>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r' xmlns:xlink="[^"]*"| xmlns="[^"]*"| width="[\d.]+pt"| height="[\d.]+pt"', "", text)
    text = text.replace("xlink:href", "href")
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = text.replace("font-family: 'DejaVu Sans'; ", "")
    for colour, variable in _ON_PAGE.items():
        text = text.replace(colour, f"var(--{variable})")
    return text.replace("<svg", '<svg aria-hidden="true"', 1).strip()


def _save(figure: Figure, path: Path) -> None:
    with files.replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, facecolor="white")
