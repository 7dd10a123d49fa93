"""The folder of an evaluation: its numbers, its page (one file that opens from disk, offline), its contact sheet.

Pictures are embedded. Whatever comes from outside (sentences, ids, reasons) is escaped by the template.
"""

import base64
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from PIL import Image

from recipevis import images
from recipevis.core import files
from recipevis.evaluation import scores
from recipevis.evaluation.glossary import METRICS
from recipevis.report import storyboard

# (row, mode): heading before it, style, name, what it is.
_LINES = {
    ("vae_round_trip", None): (
        "Ceiling", "ceiling", "VAE round trip", "the true frame, encoded and decoded: no drawing can be sharper"
    ),
    ("model", "autoregressive"): (
        "Model", "model", "From its own images", "each step from the image drawn before it: the headline"
    ),
    ("model", "teacher_forced"): (
        None, "model forced", "From the true images", "each step from the true image before it"
    ),
    ("wrong_previous", None): (
        "Control", "control", "Shown a wrong image", "a frame of another recipe as the image before: is it looked at?"
    ),
    ("copy_previous", None): (
        "Floors", "floor", "Previous image, copied", "the true image of the step before; blank for a first step"
    ),
    ("mean_image", None): (None, "floor", "Mean training image", "one and the same blur for every step"),
    ("other_recipe", None): (None, "floor", "Another recipe's frame", "a true frame that has nothing to do with it"),
    ("untouched_backbone", None): (None, "floor", "Untouched backbone", "drawn from the sentence, without training"),
}  # fmt: skip
# The paper's Table 2.
_TABLE_2 = {
    "training": {"recipe_types": 89, "videos": 1333, "steps": 10337},
    "validation": {"recipe_types": 89, "videos": 457, "steps": 3492},
}
_GROUPS = {"all": "All steps", "after_first": "Steps after the first"}
_PICTURES = {
    "true": ("true frame", "not scored: a true frame is missing"),
    "autoregressive": ("drawn from the image drawn before", "not drawn"),
    "teacher_forced": ("drawn from the true image before", "not drawn: a true frame is missing"),
}


def write(
    folder: Path,
    result: Mapping[str, Any],
    samples: pd.DataFrame,
    drawn: Path,
    strips: int,
    **about: Mapping[str, Any],
) -> None:
    """Write `evaluation.json`, `index.html` and `contact_sheet.png`; the arguments are those of `page`."""
    files.write_json(folder / "evaluation.json", result)
    files.write_text(folder / "index.html", page(result, samples, drawn, strips, **about))
    contact_sheet(samples, drawn, strips, folder / "contact_sheet.png")


def page(
    result: Mapping[str, Any],
    samples: pd.DataFrame,
    drawn: Path,
    strips: int,
    training: Mapping[str, Any],
    dataset: Mapping[str, Any],
    survivors: Mapping[str, Any],
    plots: Mapping[str, Path],
) -> str:
    """The page as HTML.

    Args:
        result: what `reports/evaluation.json` holds.
        samples: from `read_samples`.
        drawn: folder of the drawn pictures, a folder each.
        strips: recipes shown, the first so many.
        training: `training.json`.
        dataset: `data/dataset.json`.
        survivors: `data/survivors.json`.
        plots: PNG files `train` and `drift`.
    """
    rows, experiment = result["rows"], result["experiment"]
    headline = rows["model"]["autoregressive"]["all"]
    groups = [_group(rows, group, title) for group, title in _GROUPS.items()]
    recipes = list(samples.groupby("video_id", sort=False))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        experiment=experiment,
        backbone={name.replace("_", " "): value for name, value in experiment["backbone"].items()},
        training=training,
        headline=headline,
        tiles=[_tile(rows, metric) for metric in scores.HEADLINE],
        groups=groups,
        metrics=[_explained(metric, result) for metric in METRICS if metric in headline],
        capped=_capped(rows),
        subsets=[_subset(name, dataset[name], survivors[name]) for name in ("training", "validation")],
        recipes=[_recipe(video, steps, drawn) for video, steps in recipes[:strips]],
        recipes_in_all=len(recipes),
        plots={name: _uri(path.read_bytes(), "png") for name, path in plots.items()},
    )


def contact_sheet(samples: pd.DataFrame, drawn: Path, strips: int, path: Path) -> None:
    """Write a picture of the first `strips` recipes, true frames above drawn ones."""
    sheet = []
    for video, steps in list(samples.groupby("video_id", sort=False))[:strips]:
        true = [images.read(image) if image else None for image in steps.image]
        own = [images.read(drawn / "autoregressive" / f"{sample}.png") for sample in steps.sample_id]
        sheet.append(storyboard.Strip(_title(video, steps), true, own))
    with files.replacing(path) as temporary:
        storyboard.contact_sheet(sheet).save(temporary, format="png")


def _group(rows: Mapping, group: str, title: str) -> dict:
    lines = scores.table(rows, group)
    entries = rows["model"]["autoregressive"][group]
    columns = [metric for metric in METRICS if metric in entries]
    digits = {metric: _digits(rows, group, metric) for metric in columns}
    scales = {metric: _scale([line.entries[metric] for line in lines]) for metric in columns}
    described = []
    for line in lines:
        kind, style, name, text = _LINES[line.row, line.mode]
        cells = [
            _cell(line.entries[metric], digits[metric], scales[metric])
            | {"ahead": line.row in scores.FLOORS and not _beats(entries, line.entries, metric)}
            for metric in columns
        ]
        described.append({"kind": kind, "style": style, "name": name, "text": text, "cells": cells})
    counts = {"images": entries["images"], "videos": entries["videos"]}
    return {"title": title, "columns": [METRICS[metric] for metric in columns], "lines": described, **counts}


def _tile(rows: Mapping, metric: str) -> dict:
    own = rows["model"]["autoregressive"]["all"]
    beaten = sum(_beats(own, rows[floor]["autoregressive"]["all"], metric) for floor in scores.FLOORS)
    cell = _cell(own[metric], _digits(rows, "all", metric), None)
    name, arrow = METRICS[metric].name, METRICS[metric].arrow
    return cell | {"name": name, "arrow": arrow, "beaten": beaten, "floors": len(scores.FLOORS)}


def _explained(metric: str, result: Mapping) -> dict:
    """What a column says; of a distance of vectors, how long those of the true frames are."""
    told = METRICS[metric]
    norm = result.get(metric.removesuffix("_l2") + "_norm")
    scale = f"; the true frames' vectors are {norm:.4g} long on average" if norm is not None else ""
    return {"name": told.name, "text": f"{told.text}{scale}; {told.better}"}


def _beats(own: Mapping, floor: Mapping, metric: str) -> bool:
    """Whether the model's mean is the better one; a floor without images is no rival."""
    mine, theirs = own[metric]["mean"], floor[metric]["mean"]
    if mine is None or theirs is None:
        return True
    return mine > theirs if METRICS[metric].higher else mine < theirs


def _digits(rows: Mapping, group: str, metric: str) -> int:
    """Digits behind the point in a column: more where its largest mean is small, as with an untrained CLIP."""
    means = [line.entries[metric]["mean"] or 0 for line in scores.table(rows, group)]
    return max(METRICS[metric].digits, 2 - math.floor(math.log10(max(means)))) if max(means) > 0 else 2


def _scale(entries: list[Mapping]) -> tuple[float, float] | None:
    """Least and greatest of all means and ends: what a column's bars span."""
    values = [value for entry in entries for value in entry.values() if value is not None]
    return (min(values), max(values)) if values and max(values) > min(values) else None


def _cell(entry: Mapping, digits: int, scale: tuple[float, float] | None) -> dict:
    mean, low, high = entry["mean"], entry["low"], entry["high"]
    if mean is None:
        return {"mean": "–", "interval": "no image", "bar": None}
    text = {"mean": f"{mean:.{digits}f}", "interval": "one video: no interval", "bar": None}
    if low is not None:
        text["interval"] = f"{low:.{digits}f} to {high:.{digits}f}"
    if scale:
        least, most = scale
        left, dot, right = (
            round(100 * ((mean if value is None else value) - least) / (most - least), 1) for value in (low, mean, high)
        )
        text["bar"] = {"left": left, "mean": dot, "width": round(right - left, 1)}
    return text


def _capped(rows: Mapping) -> str:
    """How many images of each row stand at the cap of PSNR, in words; empty where there are none."""
    counts = []
    for line in scores.table(rows, "all"):
        if line.entries["psnr_capped"]:
            name = _LINES[line.row, line.mode][2]
            counts.append(f"{name.lower()} {line.entries['psnr_capped']} of {line.entries['images']}")
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


def _title(video: str, steps: pd.DataFrame) -> str:
    count = f"{len(steps)} step" if len(steps) == 1 else f"{len(steps)} steps"
    return f"Recipe type {steps.recipe_type.iloc[0]}, video {video}, {count}"


def _recipe(video: str, steps: pd.DataFrame, drawn: Path) -> dict:
    shown = []
    for step in steps.itertuples():
        files = {"true": Path(step.image) if step.image else None}
        for mode in scores.MODES:
            file = drawn / mode / f"{step.sample_id}.png"
            files[mode] = file if file.exists() else None
        pictures = [
            {"name": name, "missing": missing, "uri": _jpeg(files[key]) if files[key] else None}
            for key, (name, missing) in _PICTURES.items()
        ]
        shown.append({"number": step.step + 1, "sentence": step.sentence, "pictures": pictures})
    return {"title": _title(video, steps), "steps": shown}


def _jpeg(path: Path) -> str:
    """A picture as a data URI, compressed: a page of PNGs would be ten times as heavy."""
    encoded = io.BytesIO()
    Image.fromarray(images.read(path)).save(encoded, format="jpeg", quality=85)
    return _uri(encoded.getvalue(), "jpeg")


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
