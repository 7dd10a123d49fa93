"""What images are compared with, measured once for all models: ground-truth frames, sentences, recipe types, scenes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from recipevis import images
from recipevis.core import files
from recipevis.core.parallel import in_order, threads
from recipevis.core.progress import meter
from recipevis.data.tables.scenes import Question
from recipevis.errors import InputError
from recipevis.evaluation import metrics
from recipevis.evaluation.encoders import Encoder
from recipevis.evaluation.sequences import type_vectors

_BATCH = 32  # frames or sentences encoded at once


@dataclass(frozen=True)
class Reference:
    """The ground truth as metrics see it.

    Attributes:
        frames: vectors [d] of ground-truth frames by path, for each encoder and each metric with features of its own.
        sentences: vectors [d] of sentences, from the image-text encoder; empty without one.
        types: vectors [d] of recipe types, from their training recipes' sentences; empty without one.
        scenes: what is known of each sample's scene; empty where nothing is known.
    """

    frames: Mapping[str, Mapping[str, np.ndarray]]
    sentences: Mapping[str, np.ndarray]
    types: Mapping[str, np.ndarray]
    scenes: Mapping[str, Sequence[Question]]

    def write(self, folder: Path) -> None:
        """Write the vectors, as arrays and the names of their rows; `read` reads them."""
        folder.mkdir(parents=True, exist_ok=True)
        tables = {f"frames-{name}": vectors for name, vectors in self.frames.items()}
        for name, vectors in (tables | {"sentences": self.sentences, "types": self.types}).items():
            if vectors:
                np.save(folder / f"{name}.npy", np.stack(list(vectors.values())))
                files.write_json(folder / f"{name}.json", list(vectors))

    @classmethod
    def read(cls, folder: Path, scenes: Mapping[str, Sequence[Question]]) -> "Reference":
        """Read what `write` wrote.

        Args:
            folder: of the vectors.
            scenes: `data/scenes.npz`, which is not written again.
        """
        found = {path.stem: _read(path) for path in folder.glob("*.npy")}
        frames = {name.removeprefix("frames-"): found[name] for name in sorted(found) if name.startswith("frames-")}
        return cls(frames, found.get("sentences", {}), found.get("types", {}), scenes)


def _read(path: Path) -> dict[str, np.ndarray]:
    names = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return dict(zip(names, np.load(path), strict=True))


def measure(
    samples: pd.DataFrame,
    training: pd.DataFrame,
    encoders: Mapping[str, Encoder],
    scenes: Mapping[str, Sequence[Question]],
) -> Reference:
    """Encode the ground truth.

    Args:
        samples: `samples.csv`.
        training: the training triplets; their sentences give the recipe types' vectors.
        encoders: by name, see `encoders.load`.
        scenes: `data/scenes.npz`.

    Raises:
        InputError: a frame can't be read.
    """
    scored = samples[samples.scored == 1]
    paths = sorted({*scored.image, *scored.previous_image} - {""})
    frames: dict[str, dict[str, np.ndarray]] = {}
    batches = [paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH)]
    with meter("ground truth", len(paths)) as progress:
        encoded = in_order(lambda batch: vectors_of(list(map(read_image, batch)), encoders), batches, threads("cpu"))
        for batch, vectors in zip(batches, encoded, strict=True):
            for name, rows in vectors.items():
                frames.setdefault(name, {}).update(zip(batch, rows, strict=True))
            progress.advance(len(batch))
    sentences, types = {}, {}
    judge = encoders.get(metrics.ENCODERS[metrics.JUDGE].network)
    if judge is not None and judge.has_text:
        texts = sorted({*samples.sentence, *training.sentence})
        parts = [judge.sentences(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
        every = dict(zip(texts, np.concatenate(parts), strict=True))
        sentences = {text: every[text] for text in sorted(set(samples.sentence))}
        types = type_vectors(training.recipe_type.tolist(), np.stack([every[text] for text in training.sentence]))
    return Reference(frames, sentences, types, scenes)


def vectors_of(pictures: Sequence[np.ndarray], encoders: Mapping[str, Encoder]) -> dict[str, np.ndarray]:
    """What metrics compare of images, [n, d] each: by encoder, and by metric for those with features of their own.

    Each network runs once an image.

    Args:
        pictures: uint8 [h, w, 3] each.
        encoders: by name, see `encoders.load`.
    """
    spaces = {name: network.images(pictures) for name, network in encoders.items()}
    found = {
        name: spaces[about.network][about.space] for name, about in metrics.ENCODERS.items() if about.network in spaces
    }
    for name, metric in metrics.named().items():
        if metric.features:
            found[name] = np.stack([metric.features(picture) for picture in pictures])
    return found


def read_image(path: str | Path) -> np.ndarray:
    """An image file as uint8 RGB [h, w, 3].

    Raises:
        InputError: it can't be read.
    """
    try:
        return images.read(Path(path))
    except OSError as error:
        raise InputError(f"{path}: can't be read as an image") from error
