"""Score sets of images against the ground truth: a row of numbers an image, and the distances of whole sets.

Which numbers, is in `metrics`; what they become in `evaluation.json`, in `summary`. Every system is scored here: the
model, its controls, the baselines, and images that came from elsewhere.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recipevis.core import files
from recipevis.core.parallel import in_order, threads
from recipevis.core.progress import meter
from recipevis.evaluation import intervals, metrics, scene, sequences
from recipevis.evaluation.encoders import Encoder
from recipevis.evaluation.reference import Reference, read_image, vectors_of
from recipevis.evaluation.rows import GROUPS

_CHUNK = 8  # recipes per saved part: what an interrupted run loses
SAMPLE = ("picture", "sample_id", "video_id", "step")  # the columns before the metrics
_Vectors = dict[str, dict[str, dict[str, np.ndarray]]]  # encoder -> set of images -> sample -> [d]


@dataclass(frozen=True)
class ImageSet:
    """Images of one system for the steps of the samples table.

    Attributes:
        read: a row of `samples.csv` -> its image, uint8 RGB [h, w, 3]; None: the set has none for this step.
        is_autoregressive: whether an image was made from the set's own image of the step before, and not from the
            ground truth. Then `read` also gives the images of steps that are not scored.
    """

    read: Callable[[Any], np.ndarray | None]
    is_autoregressive: bool = False


@dataclass(frozen=True)
class Scores:
    """What `score` measures.

    Attributes:
        table: a row per set of images and sample: `picture` (the set), `sample_id`, `video_id`, `step`, and each metric
            of single images; NaN where it is undefined.
        sets: set metrics: `{set: {group: {metric: {"value": float, "left_out": [float]}}}}`, the value over all images
            and with each group of videos left out in turn (`intervals.groups`).
    """

    table: pd.DataFrame
    sets: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    def joined(self, other: "Scores") -> "Scores":
        """These scores and those of other sets of images."""
        return Scores(pd.concat([self.table, other.table], ignore_index=True), {**self.sets, **other.sets})

    def write(self, folder: Path) -> None:
        """Write `images.csv` and `sets.json`; `read` reads them."""
        folder.mkdir(parents=True, exist_ok=True)
        files.write_text(folder / "images.csv", self.table.to_csv(index=False, lineterminator="\n"))
        files.write_json(folder / "sets.json", self.sets)

    @classmethod
    def read(cls, folder: Path) -> "Scores":
        """Read what `write` wrote."""
        table = pd.read_csv(folder / "images.csv", dtype={"sample_id": str, "video_id": str})
        return cls(table, json.loads((folder / "sets.json").read_text(encoding="utf-8")))


def in_folder(folder: Path, steps: pd.DataFrame) -> Callable[[Any], np.ndarray | None]:
    """The `read` of a set of images that lie in a folder as `<sample_id>.png`.

    Args:
        folder: of the images. Without any, the set is empty: a single recipe, for one, has no wrong previous image.
        steps: the rows of `samples.csv` that have an image, see `samples.steps_of`.

    Raises:
        InputError: later, if one of them is missing or can't be read.
    """
    expected = set(steps.sample_id) if any(folder.glob("*.png")) else set()
    return lambda row: read_image(folder / f"{row.sample_id}.png") if row.sample_id in expected else None


def score(
    samples: pd.DataFrame,
    sets: Mapping[str, ImageSet],
    reference: Reference,
    encoders: Mapping[str, Encoder],
    work: Path,
    label: str = "evaluate",
) -> Scores:
    """Score every image of some sets. Equal images of a recipe are encoded and compared once.

    Args:
        samples: `samples.csv`; rows with `scored` are scored.
        sets: by name.
        reference: the ground truth.
        encoders: by name, see `encoders.load`.
        work: folder for finished parts; parts that it has already are not scored again.
        label: of the progress line.

    Raises:
        InputError: an image can't be read.
    """
    work.mkdir(parents=True, exist_ok=True)
    recipes = [steps.sort_values("step") for _, steps in samples.groupby("video_id", sort=False)]
    recipes = [steps for steps in recipes if steps.scored.any()]
    parts = []
    with meter(label, len(recipes)) as progress:
        for start in range(0, len(recipes), _CHUNK):
            chunk = recipes[start : start + _CHUNK]
            parts.append(work / f"{start:06d}.json")
            if not parts[-1].exists():

                def score_one(steps: pd.DataFrame) -> tuple[list[dict], _Vectors]:
                    return _Recipe(steps, sets, reference, encoders).scored()

                _save(parts[-1], list(in_order(score_one, chunk, threads("cpu"))))
            progress.advance(len(chunk))
    # Read back, so that a resumed run has exactly the numbers of an undisturbed one.
    table, vectors = _load(parts)
    return Scores(table, _set_values(table, vectors, samples, reference))


class _Recipe:
    """The images of all sets for one recipe, read and encoded once.

    Args:
        steps: the recipe's rows of `samples.csv`, in order.
        sets, reference, encoders: see `score`.
    """

    def __init__(
        self,
        steps: pd.DataFrame,
        sets: Mapping[str, ImageSet],
        reference: Reference,
        encoders: Mapping[str, Encoder],
    ):
        self.steps, self.sets, self.reference = list(steps.itertuples()), sets, reference
        self.last = max(row.step for row in self.steps)
        self.truths = {path: read_image(path) for row in self.steps for path in (row.image, row.previous_image) if path}
        self.images: dict[tuple[str, int], np.ndarray] = {}  # by set and step
        for name, image_set in sets.items():
            for row in self.steps:
                if (row.scored or image_set.is_autoregressive) and (image := image_set.read(row)) is not None:
                    self.images[name, row.step] = image
        self.digests = {key: hashlib.sha256(image.tobytes()).digest() for key, image in self.images.items()}
        distinct = {digest: self.images[key] for key, digest in self.digests.items()}
        encoded = vectors_of(list(distinct.values()), encoders) if distinct else {}
        self.vectors = {name: dict(zip(distinct, rows, strict=True)) for name, rows in encoded.items()}
        self._compared: dict[tuple, float] = {}

    def scored(self) -> tuple[list[dict], _Vectors]:
        """A row of scores for each scored image, and the vectors that set metrics need."""
        table, kept = [], {}
        of_sets = {metric.source for metric in metrics.named().values() if metric.kind == "set"} & self.vectors.keys()
        for name in self.sets:
            for row in self.steps:
                if not (row.scored and (name, row.step) in self.images):
                    continue
                about = {"picture": name, **{column: getattr(row, column) for column in SAMPLE[1:]}}
                table.append(about | self._values(name, row))
                for source in of_sets:
                    vector = self.vectors[source][self.digests[name, row.step]]
                    kept.setdefault(source, {}).setdefault(name, {})[row.sample_id] = vector
        return table, kept

    def _values(self, name: str, row: Any) -> dict[str, float]:
        """Every metric of single images for one image."""
        values = {}
        for metric in metrics.named().values():
            if metric.kind == "scene" or metric.kind == "set" or not self._is_known(metric):
                continue
            values[metric.name] = self._value(metric, name, row)
        if self.reference.scenes:
            values |= self._scene(name, row)
        return values

    def _is_known(self, metric: metrics.Metric) -> bool:
        """Whether what the metric compares is there: its encoder, and sentences for those that need them."""
        if metric.kind in ("sentence", "recipe_type") and not self.reference.sentences:
            return False
        return not metric.is_of_vectors or metric.source in self.vectors

    def _value(self, metric: metrics.Metric, name: str, row: Any) -> float:
        digest = self.digests[name, row.step]
        if metric.kind in ("pair", "vector"):  # the same for equal images, whatever their set
            key = (metric.name, row.step, digest)
            if key not in self._compared:
                mine, truth = self._picture(metric, (name, row.step)), self._truth(metric, row.image)
                self._compared[key] = metric.function(mine, truth)
            return self._compared[key]
        if metric.kind in ("change", "vector_change"):
            return self._change(metric, name, row)
        vector, sentences = self.vectors[metric.source][digest], self.reference.sentences
        if metric.kind == "sentence":
            others = [sentences[other.sentence] for other in self.steps if other.step != row.step]
            return metric.function(vector, sentences[row.sentence], np.array(others))
        types = self.reference.types
        if row.step != self.last or row.recipe_type not in types:
            return np.nan
        others = [types[kind] for kind in sequences.other_types(row.recipe_type, sorted(types), 0, row.sample_id)]
        return metric.function(vector, types[row.recipe_type], np.array(others))

    def _change(self, metric: metrics.Metric, name: str, row: Any) -> float:
        """A metric of neighbouring steps; NaN at a first step."""
        if not row.previous_image:
            return np.nan
        before = followed = self._truth(metric, row.previous_image)
        if self.sets[name].is_autoregressive:
            if (name, row.step - 1) not in self.images:  # others' images may leave out a step that isn't scored
                return np.nan
            followed = self._picture(metric, (name, row.step - 1))
        return metric.function(
            self._picture(metric, (name, row.step)), followed, self._truth(metric, row.image), before
        )

    def _picture(self, metric: metrics.Metric, key: tuple[str, int]) -> np.ndarray:
        """What a metric compares of a generated image: its vector, or itself."""
        return self.vectors[metric.source][self.digests[key]] if metric.is_of_vectors else self.images[key]

    def _truth(self, metric: metrics.Metric, path: str) -> np.ndarray:
        """The same of a ground-truth frame."""
        return self.reference.frames[metric.source][path] if metric.is_of_vectors else self.truths[path]

    def _scene(self, name: str, row: Any) -> dict[str, float]:
        """The answers to what is known of the scene."""
        scenes, before = self.reference.scenes, None
        if self.sets[name].is_autoregressive and (name, row.step - 1) in self.images:
            before = self.images[name, row.step - 1]
        elif row.previous_image:
            before = self.truths[row.previous_image]
        asked_before = scenes.get(f"{row.video_id}_{row.step - 1:02d}", ())
        return scene.answers(scenes.get(row.sample_id, ()), self.images[name, row.step], asked_before, before)


def _save(part: Path, scored: Sequence[tuple[list[dict], _Vectors]]) -> None:
    """Write a part; its JSON last, since its presence says that the part is finished."""
    vectors = {
        f"{source}/{name}/{sample}": vector
        for _, kept in scored
        for source, of_source in kept.items()
        for name, of_set in of_source.items()
        for sample, vector in of_set.items()
    }
    with files.replacing(part.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
        np.savez(file, **vectors)
    files.write_json(part, [{key: _or_none(value) for key, value in row.items()} for rows, _ in scored for row in rows])


def _or_none(value: Any) -> Any:
    """None for NaN, which JSON doesn't have."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _load(parts: Sequence[Path]) -> tuple[pd.DataFrame, _Vectors]:
    """Read parts back: the table of scores, and the vectors."""
    rows, vectors = [], {}
    for part in parts:
        rows += json.loads(part.read_text(encoding="utf-8"))
        with np.load(part.with_suffix(".npz")) as arrays:
            for key, vector in arrays.items():
                source, name, sample = key.split("/", 2)
                vectors.setdefault(source, {}).setdefault(name, {})[sample] = vector
    table = pd.DataFrame(rows, columns=None if rows else list(SAMPLE))
    return table.astype({name: float for name in table.columns if name not in SAMPLE}), vectors


def _set_values(table: pd.DataFrame, vectors: _Vectors, samples: pd.DataFrame, reference: Reference) -> dict:
    """`Scores.sets`."""
    frames = samples.set_index("sample_id").image
    values: dict[str, dict] = {}
    for name, rows in table.groupby("picture", sort=False):
        for group, first in GROUPS.items():
            chosen = rows[rows.step >= first]
            entry = values.setdefault(name, {}).setdefault(group, {})
            for metric in metrics.named().values():
                if metric.kind == "set" and name in vectors.get(metric.source, {}):
                    generated = np.array([vectors[metric.source][name][sample] for sample in chosen.sample_id])
                    truth = np.array([reference.frames[metric.source][frames[sample]] for sample in chosen.sample_id])
                    entry[metric.name] = _with_groups_left_out(metric, generated, truth, chosen.video_id)
    return values


def _with_groups_left_out(
    metric: metrics.Metric, generated: np.ndarray, truth: np.ndarray, videos: pd.Series
) -> dict[str, Any]:
    """A set metric over all images, and with each group of videos left out."""
    if not len(videos):
        return {"value": None, "left_out": []}

    group = intervals.groups(videos)
    if metric.left_out and len(set(group)) > 1:
        left_out = metric.left_out(generated, truth, group)
    else:
        left_out = intervals.left_out(lambda chosen: metric.function(generated[chosen], truth[chosen]), group)
    return {"value": _or_none(metric.function(generated, truth)), "left_out": list(map(_or_none, left_out))}
