"""The web page of an evaluation: one file that opens from disk, offline, with its images embedded."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from recipevis.backbone.base import source_class
from recipevis.core import files
from recipevis.evaluation import metrics, rows
from recipevis.report import contact_sheet, plots, strips, templates

# The paper's Table 2.
_TABLE_2 = {
    "training": {"recipe_types": 89, "videos": 1333, "steps": 10337},
    "validation": {"recipe_types": 89, "videos": 457, "steps": 3492},
}
_MODES = {line.mode: line.label.lower() for line in rows.LINES if line.mode}
_GROUPS = {"all": "All steps", "after_first": "Steps after the first"}
# What a strip shows, top to bottom: the picture's name, why it is missing.
_STRIP = {
    contact_sheet.GROUND_TRUTH: ("ground truth", "no ground truth: not scored"),
    rows.MODES[0]: ("generated", "not generated"),
    rows.MODES[1]: ("from ground truth", "not generated: no ground truth"),
}
_TEMPLATE = Path(__file__).with_name("page.html")
_DRIFT_COLUMNS = ("", f"{rows.MODES[1]}_", "drift_")  # what stands before a metric's name in `drift.csv`
_ORDERS = {"first": "worst first", "last": "best first"}


def write(path: Path, **content: Any) -> None:
    """Write the page; the keyword arguments are those of `page`."""
    files.write_text(path, page(**content))


def page(
    result: Mapping[str, Any],
    images: pd.DataFrame,
    samples: pd.DataFrame,
    folder: Path,
    strips: int,
    training: Mapping[str, Any],
    dataset: Mapping[str, Any],
    survivors: Mapping[str, Any],
    history: pd.DataFrame,
    drift: pd.DataFrame,
) -> str:
    """The page as HTML.

    Args:
        result: `reports/evaluation.json`.
        images: `reports/images.csv`.
        samples: `samples/samples.csv`.
        folder: the folder of the generated images, with a folder per set.
        strips: how many recipes to show: the median by PSNR, the best and the worst.
        training: `training.json`.
        dataset: `data/dataset.json`.
        survivors: `data/survivors.json`.
        history: `plots/train.csv`.
        drift: `plots/drift.csv`.
    """
    experiment = result["experiment"]
    headline = result["rows"]["model"][rows.MODES[0]]["all"]
    shown = [metric for metric in _by_importance() if metric.name in headline]
    lead, listed = _chosen(result["recipes"], strips)
    recipes = _Recipes(result["recipes"], images, samples, folder)
    tiles = [_tile(result, metric) for metric in shown if metric.headline]
    return templates.render(
        _TEMPLATE,
        experiment=experiment,
        backbone={name.replace("_", " "): value for name, value in experiment["backbone"].items()},
        untrained=source_class(experiment["backbone"]["source"]).untrained,
        training=training,
        headline=headline,
        tiles=tiles,
        tile_columns=len(tiles) if len(tiles) <= 6 else math.ceil(len(tiles) / 2),
        groups=[_group(result, group, title, shown) for group, title in _GROUPS.items()],
        metrics=shown,
        norms=[
            {"encoder": encoder.label, "value": f"{result[f'{name}_norm']:.4g}"}
            for name, encoder in metrics.ENCODERS.items()
            if result.get(f"{name}_norm") is not None
        ],
        cap=f"{metrics.PSNR_CAP:g}",
        capped=_capped(result["rows"]),
        subsets=[_subset(name, dataset[name], survivors[name]) for name in ("training", "validation")],
        lead=recipes.shown(lead) if lead else None,
        recipes=[recipes.shown(video) for video in listed],
        recipes_in_all=len(result["recipes"]),
        choices=recipes.choices,
        orders=_ORDERS,
        training_plot=Markup(plots.training_svg(history)),
        **_drift(drift),
    )


def _chosen(recipes: Mapping[str, Any], count: int) -> tuple[str | None, list[str]]:
    """The recipe with the median PSNR, and of the others the worst and the best, worst first."""
    ordered = sorted(recipes, key=lambda video: recipes[video][rows.MODES[0]]["psnr"])
    if not count or not ordered:
        return None, []
    lead = ordered.pop((len(ordered) - 1) // 2)
    worst = ordered[: min(count - 1, len(ordered)) // 2]
    best = ordered[len(worst) :][::-1][: count - 1 - len(worst)][::-1]
    return lead, worst + best


def _drift(table: pd.DataFrame) -> dict[str, Any]:
    """The charts of the drift: those of the headline metrics, and the others."""
    charts, images = plots.drift_svgs(table)
    shown = [
        {
            "metric": chart.metric,
            "means": Markup(chart.means),
            "difference": Markup(chart.difference),
            "values": [
                _values(table[f"{before}{chart.metric.name}"]) for before in ("", f"{rows.MODES[1]}_", "drift_")
            ],
        }
        for chart in charts
    ]
    return {
        "drift": [
            [chart for chart in shown if bool(chart["metric"].headline) == is_first] for is_first in (True, False)
        ],
        "drift_images": {"plot": Markup(images), "values": _values(table.images)},
    }


def _values(column: pd.Series) -> str:
    """The values of a chart for those who can't see it."""
    return ", ".join("undefined" if pd.isna(value) else f"{value:.4g}" for value in column)


def _by_importance() -> list[metrics.Metric]:
    """Every metric, the headline first, image pairs before vectors."""
    order = ("pair", "vector", "sentence", "recipe_type", "scene", "change", "vector_change", "set")
    return sorted(metrics.named().values(), key=lambda metric: (not metric.headline, order.index(metric.kind)))


def _group(result: Mapping, group: str, title: str, shown: list[metrics.Metric]) -> dict:
    """The tables of a group of steps: scores of headline metrics, of the others, and paired differences."""
    table = rows.table(result["rows"], group)
    model = result["rows"]["model"][rows.MODES[0]][group]
    first, others = [m for m in shown if m.headline], [m for m in shown if not m.headline]
    return {
        "title": title,
        "images": model["images"],
        "videos": model["videos"],
        "tables": [
            {"columns": columns, "lines": _lines(table, result["margins"], group, columns)}
            for columns in (first, others)
            if columns
        ],
        "margins": {"columns": first, "lines": _margins(table, result["margins"], group, first)},
    }


def _lines(table: list, margins: Mapping, group: str, shown: list[metrics.Metric]) -> list[dict]:
    digits = {metric.name: _digits(table, metric) for metric in shown}
    scales = {metric.name: _scale([entries[metric.name] for _, entries in table]) for metric in shown}
    lines, kind = [], None
    for line, entries in table:
        cells = [
            _cell(entries[metric.name], digits[metric.name], scales[metric.name])
            | {"ahead": line.kind == rows.BASELINE and not _beats(margins, line.row, group, metric)}
            for metric in shown
        ]
        style = {None: line.kind.replace(" ", "-"), rows.MODES[0]: "model", rows.MODES[1]: "model second"}[line.mode]
        heading = _plural(line.kind) if line.kind != kind else None
        lines.append({"kind": heading, "style": style, "name": line.label, "text": line.description, "cells": cells})
        kind = line.kind
    return lines


def _margins(table: list, margins: Mapping, group: str, shown: list[metrics.Metric]) -> list[dict]:
    """The model minus each control and baseline, in both modes: a line each."""
    lines = []
    for line in dict.fromkeys(line for line, _ in table if line.kind in (rows.CONTROL, rows.BASELINE)):
        for mode in rows.MODES:
            entries = margins[line.row][mode][group]
            cells = []
            for metric in shown:
                entry = entries.get(metric.name, _UNDEFINED)
                cell = _cell(entry, max(metric.digits, 2), None, sign="+")
                cells.append(cell | {"state": _state(entry, metric)})
            lines.append({"name": line.label, "mode": _MODES[mode], "images": entries["images"], "cells": cells})
    return lines


_UNDEFINED = {"mean": None, "low": None, "high": None}


def _state(entry: Mapping, metric: metrics.Metric) -> str:
    """What a paired difference says: `better`, `worse`, or nothing where its interval contains zero."""
    low, high = entry["low"], entry["high"]
    if low is None or metric.higher_is_better is None or low <= 0 <= high:
        return ""
    return "better" if (low > 0) == metric.higher_is_better else "worse"


def _plural(kind: str) -> str:
    name = kind.capitalize()
    return f"{name}s" if len(rows.of_kind(kind)) > 1 else name


def _tile(result: Mapping, metric: metrics.Metric) -> dict:
    model = result["rows"]["model"][rows.MODES[0]]["all"]
    table = rows.table(result["rows"], "all")
    baselines = [line.row for line, _ in table if line.kind == rows.BASELINE]
    beaten = sum(_beats(result["margins"], row, "all", metric) for row in baselines)
    cell = _cell(model[metric.name], _digits(table, metric), None)
    return cell | {"name": metric.heading, "arrow": metric.arrow, "beaten": beaten, "baselines": len(baselines)}


def _beats(margins: Mapping, row: str, group: str, metric: metrics.Metric) -> bool:
    """Whether the autoregressive model is better than a row by the paired interval.

    A metric with no better direction, or without an interval, has no winner: then nothing is marked.
    """
    entry = margins[row][rows.MODES[0]][group].get(metric.name, _UNDEFINED)
    if metric.higher_is_better is None or entry["low"] is None:
        return True
    return _state(entry, metric) == "better"


def _digits(table: list, metric: metrics.Metric) -> int:
    """Digits after the point in a column: more where its largest mean is small, as with an untrained CLIP."""
    largest = max((abs(entries[metric.name]["mean"] or 0) for _, entries in table), default=0)
    return max(metric.digits, 2 - math.floor(math.log10(largest))) if largest > 0 else 2


def _scale(entries: list[Mapping]) -> tuple[float, float] | None:
    """The smallest and largest of all means and interval ends: what a column's bars span."""
    values = [value for entry in entries for value in entry.values() if value is not None]
    return (min(values), max(values)) if values and max(values) > min(values) else None


def _cell(entry: Mapping, digits: int, scale: tuple[float, float] | None, sign: str = "") -> dict:
    mean, low, high = entry["mean"], entry["low"], entry["high"]
    if mean is None:
        return {"mean": "–", "interval": "undefined", "bar": None}
    cell = {"mean": f"{mean:{sign}.{digits}f}", "interval": "one video: no interval", "bar": None}
    if low is not None:
        cell["interval"] = f"{low:{sign}.{digits}f} to {high:{sign}.{digits}f}"
    if scale:
        smallest, largest = scale
        left, dot, right = (
            round(100 * ((mean if value is None else value) - smallest) / (largest - smallest), 1)
            for value in (low, mean, high)
        )
        left, right = min(left, dot), max(right, dot)  # the bootstrap of a set metric can lie beside its mean
        cell["bar"] = {"left": left, "mean": dot, "width": round(right - left, 1)}
    return cell


def _capped(results: Mapping) -> str:
    """How many images of each row have the highest PSNR that counts, in words; empty if there are none."""
    counts = [
        f"{line.label.lower()} {entries['psnr_capped']} of {entries['images']}"
        for line, entries in rows.table(results, "all")
        if entries["psnr_capped"]
    ]
    return ", ".join(counts)


def _subset(name: str, dataset: Mapping, survivors: Mapping) -> dict:
    shares = {
        "videos_share": _share(survivors["videos_with_frames"], survivors["videos"]),
        "steps_share": _share(survivors["triplets"], survivors["steps"]),
    }
    types = [
        {**count, "name": kind, "share": _share(count["triplets"], count["steps"])}
        for kind, count in survivors["recipe_types"].items()
    ]
    counts = {**survivors, "name": name, "recipe_types": dataset["recipe_types"], "types": types}
    return {**counts, **shares, "paper": _TABLE_2[name]}


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""


class _Recipes:
    """Recipes with their pictures and scores.

    Args:
        means: `recipes` of `evaluation.json`.
        images, samples, folder: see `page`.
    """

    def __init__(self, means: Mapping[str, Any], images: pd.DataFrame, samples: pd.DataFrame, folder: Path):
        self._means, self._folder = means, folder
        self._names = strips.sorting_metrics(list(images))
        self._scores = images.set_index(["picture", "sample_id"])[self._names]
        self._steps = dict(list(samples.groupby("video_id", sort=False)))
        self.choices = strips.choices(self._names)

    def shown(self, video: str) -> strips.Recipe:
        """One recipe, sorted by the means over its generated images."""
        means = {name: self._means[video][rows.MODES[0]].get(name) for name in self._names}
        scores = {name: value for name, value in means.items() if value is not None}
        steps = self._steps[video]
        return strips.Recipe(
            contact_sheet.title(video, steps),
            steps.recipe_type.iloc[0],
            [strips.Step(step.step + 1, step.sentence, self._pictures(step)) for step in steps.itertuples()],
            scores,
            _texts(scores),
            "mean of its generated images: ",
        )

    def _pictures(self, step: Any) -> Sequence[strips.Picture]:
        found = {contact_sheet.GROUND_TRUTH: Path(step.image) if step.image else None}
        for mode in rows.MODES:
            file = self._folder / mode / f"{step.sample_id}.png"
            found[mode] = file if file.exists() else None
        return [
            strips.Picture(
                name, strips.jpeg(file) if (file := found[key]) else None, missing, self._scores_of(key, step.sample_id)
            )
            for key, (name, missing) in _STRIP.items()
        ]

    def _scores_of(self, picture: str, sample: str) -> dict[str, str]:
        if (picture, sample) not in self._scores.index:
            return {}
        return _texts(self._scores.loc[picture, sample].dropna())


def _texts(scores: Mapping[str, float]) -> dict[str, str]:
    return {name: strips.text(name, value) for name, value in scores.items()}
