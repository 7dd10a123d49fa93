"""The page: one file that opens from disk, with its images embedded."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from recipevis.compare.experiments import Experiment
from recipevis.errors import InputError
from recipevis.evaluation import metrics, summary
from recipevis.evaluation.rows import MODES
from recipevis.report import contact_sheet, strips, templates

_TEMPLATE = Path(__file__).with_name("page.html")
_TITLES = {
    (MODES[0], "all"): "Generated, all steps",
    (MODES[0], "after_first"): "Generated, steps after the first",
    (MODES[1], "all"): "Generated from ground truth, all steps",
    (MODES[1], "after_first"): "Generated from ground truth, steps after the first",
}
_ORDERS = {"first": "largest difference first", "last": "smallest difference first"}
_RESAMPLES = "evaluate.resamples"
# Parameters that change who judges: a key or a group, and the scores that then don't compare.
_JUDGES = {"backbone": "CLIP", "evaluate.encoder": "second encoder", "evaluate.image_encoder": "image encoder"}


def page(found: Sequence[Experiment], count: int) -> str:
    """The page as HTML.

    Args:
        found: the experiments; the others are compared with the first.
        count: how many recipes to show: those whose mean PSNR differs most.

    Raises:
        InputError: an image is not there.
    """
    recipes, different = _Recipes(found), _different(found)
    return templates.render(
        _TEMPLATE,
        names=[one.name for one in found],
        models=[one.result["experiment"]["model"] for one in found],
        parameters=different,
        judges=[judge for key, judge in _JUDGES.items() if any(line["key"].startswith(key) for line in different)],
        sections=[_section(found, mode, group, title) for (mode, group), title in _TITLES.items()],
        recipes=[recipes.shown(video) for video in recipes.by_difference()[:count]],
        recipes_in_all=len(recipes.by_difference()),
        choices=recipes.choices,
        orders=_ORDERS,
    )


def _different(found: Sequence[Experiment]) -> list[dict[str, Any]]:
    """The parameters in which the experiments differ, with the value of each."""
    keys = dict.fromkeys(key for one in found for key in one.parameters)
    lines = [{"key": key, "values": [_text(one.parameters.get(key)) for one in found]} for key in keys]
    return [line for line in lines if len(set(line["values"])) > 1]


def _text(value: Any) -> str:
    """A parameter as `params.yaml` has it; an empty one as a dash."""
    if value is None or value != value:
        return "–"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _section(found: Sequence[Experiment], mode: str, group: str, title: str) -> dict[str, Any]:
    """The scores of a mode and a group of steps, and the differences to the first experiment."""
    first = found[0]
    entries = [one.result["rows"]["model"][mode][group] for one in found]
    resamples, seed = int(first.parameters[_RESAMPLES]), int(first.parameters["seed"])
    differences = [summary.margin(one.scores, mode, first.scores, mode, group, resamples, seed) for one in found[1:]]
    shown = [metric for name, metric in metrics.named().items() if any(name in entry for entry in entries)]
    shown.sort(key=lambda metric: (not metric.headline, metric.name != "psnr"))
    tables = []
    for columns in ([one for one in shown if one.headline], [one for one in shown if not one.headline]):
        lines = [
            {
                "name": one.name,
                "cells": [_cell(entry.get(metric.name), metric.digits) for metric in columns],
                "difference": [
                    _cell(less.get(metric.name), max(metric.digits, 2), "+")
                    | {"state": _state(less.get(metric.name), metric)}
                    for metric in columns
                ]
                if less
                else None,
            }
            for one, entry, less in zip(found, entries, [None, *differences], strict=True)
        ]
        tables.append({"columns": columns, "lines": lines})
    return {"title": title, "tables": tables, "images": differences[0]["images"], "videos": differences[0]["videos"]}


def _cell(entry: Mapping[str, float | None] | None, digits: int, sign: str = "") -> dict[str, str]:
    if entry is None or entry["mean"] is None:
        return {"mean": "–", "interval": ""}
    interval = "" if entry["low"] is None else f"{entry['low']:{sign}.{digits}f} to {entry['high']:{sign}.{digits}f}"
    return {"mean": f"{entry['mean']:{sign}.{digits}f}", "interval": interval}


def _state(entry: Mapping[str, float | None] | None, metric: metrics.Metric) -> str:
    """What a difference says: `better`, `worse`, or nothing where its interval contains zero."""
    if entry is None or metric.higher_is_better is None or entry["low"] is None or entry["low"] <= 0 <= entry["high"]:
        return ""
    return "better" if (entry["low"] > 0) == metric.higher_is_better else "worse"


class _Recipes:
    """Recipes with the ground truth and the image of each experiment below each other."""

    def __init__(self, found: Sequence[Experiment]):
        self._found = found
        tables = [one.scores.table[one.scores.table.picture == MODES[0]] for one in found]
        self._names = strips.sorting_metrics([name for name in tables[0] if all(name in table for table in tables)])
        self._scores = [table.set_index("sample_id")[self._names] for table in tables]
        self._means = [table.groupby("video_id")[self._names].mean() for table in tables]
        self._range = pd.concat(self._means).groupby(level=0).agg(lambda column: column.max() - column.min())
        shared = set.intersection(*(set(means.index) for means in self._means))
        self._range = self._range.loc[sorted(shared)]
        self._steps = dict(list(found[0].samples.groupby("video_id", sort=False)))
        self.choices = [choice | {"sign": -1} for choice in strips.choices(self._names)]

    def by_difference(self) -> list[str]:
        """The recipes that all experiments have, the one whose mean PSNR differs most first."""
        return list(self._range.psnr.sort_values(ascending=False, kind="stable").index)

    def shown(self, video: str) -> strips.Recipe:
        """One recipe."""
        steps = self._steps[video]
        names = [name for name in self._names if not any(pd.isna(means.loc[video, name]) for means in self._means)]
        texts = {
            name: ", ".join(
                f"{one.name} {strips.text(name, means.loc[video, name])}"
                for one, means in zip(self._found, self._means, strict=True)
            )
            for name in names
        }
        return strips.Recipe(
            contact_sheet.title(video, steps),
            steps.recipe_type.iloc[0],
            [strips.Step(int(step.step) + 1, step.sentence, self._pictures(step)) for step in steps.itertuples()],
            {name: float(f"{self._range.loc[video, name]:.5g}") for name in names},
            texts,
            "means: ",
        )

    def _pictures(self, step: Any) -> list[strips.Picture]:
        truth = strips.jpeg(io.BytesIO(self._found[0].read(step.image))) if step.image else None
        pictures = [strips.Picture(contact_sheet.GROUND_TRUTH, truth, "no ground truth: not scored")]
        for one, scores in zip(self._found, self._scores, strict=True):
            of_image = scores.loc[step.sample_id].dropna() if step.sample_id in scores.index else {}
            try:
                image = strips.jpeg(io.BytesIO(one.read(f"samples/{MODES[0]}/{step.sample_id}.png")))
            except InputError:
                if step.sample_id in set(one.samples.sample_id):
                    raise
                image = None
            texts = {name: strips.text(name, value) for name, value in of_image.items()}
            pictures.append(strips.Picture(one.name, image, "not generated", texts))
        return pictures
