"""Recipes as the pages show them: for each step the pictures below each other, with scores."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from recipevis.evaluation import metrics


@dataclass(frozen=True)
class Picture:
    """One picture of a step.

    Attributes:
        name: what it is, for its caption.
        uri: the picture as a data URI; None: there is none.
        missing: why there is none.
        scores: by metric, as text; the first is shown until the reader chooses another.
    """

    name: str
    uri: str | None
    missing: str = ""
    scores: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One step of a recipe: its number from 1, its sentence, and as many pictures as the other steps have."""

    number: int
    sentence: str
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Recipe:
    """One recipe.

    Attributes:
        title: its heading.
        type: its recipe type.
        steps: at least one.
        scores: by metric, what recipes are sorted by.
        texts: the same for the reader.
        about: what stands before them.
    """

    title: str
    type: str
    steps: Sequence[Step]
    scores: Mapping[str, float]
    texts: Mapping[str, str]
    about: str


def choices(names: Sequence[str]) -> list[dict]:
    """Metrics that a reader can choose: `name`, `label`, and a `sign` by which scores ascend from worst to best."""
    named = metrics.named()
    return [
        {"name": name, "label": f"{named[name].heading} {named[name].arrow}", "sign": 1 if is_up else -1}
        for name in names
        if (is_up := named[name].higher_is_better) is not None
    ]


def sorting_metrics(known: Sequence[str]) -> list[str]:
    """The headline metrics among some, PSNR first: it is always there."""
    return sorted((name for name in metrics.headline() if name in known), key=lambda name: name != "psnr")


def text(name: str, value: float, sign: str = "") -> str:
    """A score with its unit.

    Args:
        name: the metric's key.
        value: its value.
        sign: `+` to write the sign of a difference.
    """
    metric = metrics.named()[name]
    return f"{value:{sign}.{metric.digits}f} {metric.unit}".rstrip()


def jpeg(file: Path | BinaryIO) -> str:
    """A picture as a JPEG data URI: PNGs would make a page ten times as large."""
    encoded = io.BytesIO()
    with Image.open(file) as image:
        image.convert("RGB").save(encoded, format="jpeg", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.getvalue()).decode()}"
