"""Generate recipes step by step: autoregressively (each step from the image generated before it) and teacher-forced.

Images are saved as PNG, so a previous image is always one that was rounded to uint8, and an interrupted run resumes
after its last whole batch. The noise of an image depends on the seed and its sample alone: it is the same in every set
of images and for every fuser.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Lock

import numpy as np
import pandas as pd
import torch
from PIL import Image

from recipevis import images
from recipevis.core import files
from recipevis.core.parallel import in_order, threads
from recipevis.core.progress import meter
from recipevis.data.tables.recipes import Recipe
from recipevis.data.tables.samples import (
    AUTOREGRESSIVE,
    COLUMNS,
    TEACHER_FORCED,
    UNTOUCHED_BACKBONE,
    VAE_ROUND_TRIP,
    WRONG_PREVIOUS,
)
from recipevis.model.conditions import Conditioner
from recipevis.model.latents import LatentScaling
from recipevis.model.networks import Backbone
from recipevis.model.shapes import fuser_shapes
from recipevis.randomness import generator
from recipevis.sampling.controls import other_recipe
from recipevis.sampling.pipeline import RecipePipeline, assemble


@dataclass(frozen=True)
class Sampler:
    """A model and its sampling settings, see `RecipePipeline.__call__`; None: the model's default."""

    pipeline: RecipePipeline
    seed: int
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    image_guidance_scale: float | None = None

    def generate(
        self, keys: Sequence[str], prompts: Sequence[str], previous: Sequence[np.ndarray | None]
    ) -> list[np.ndarray]:
        """Generate images, uint8 [h, w, 3] each.

        Args:
            keys: names of the images; the noise of each depends on the seed and its key.
            prompts: a sentence each.
            previous: the previous image of each, uint8 [h, w, 3]; None: blank.
        """
        generated = self.pipeline(
            list(prompts),
            list(previous),
            [generator(self.seed, "sample", key) for key in keys],
            self.num_inference_steps,
            self.guidance_scale,
            self.image_guidance_scale,
        )
        return [np.asarray(image) for image in generated.images]


@dataclass(frozen=True)
class Batch:
    """Images that are generated together: rows of the samples table, and the set that they belong to."""

    set_name: str
    rows: pd.DataFrame
    generate: Callable[[pd.DataFrame], Sequence[np.ndarray]]

    def paths(self, folder: Path) -> list[Path]:
        """The file of each image."""
        return [folder / self.set_name / f"{sample_id}.png" for sample_id in self.rows["sample_id"]]


def generate_recipe(sampler: Sampler, sentences: Sequence[str]) -> Iterator[np.ndarray]:
    """Generate one recipe autoregressively: yields an image a sentence, uint8 [h, w, 3], as soon as it is there."""
    previous = None
    for step, sentence in enumerate(sentences):
        (previous,) = sampler.generate([str(step)], [sentence], [previous])
        yield previous


def plan(recipes: Sequence[Recipe], triplets: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """The steps to generate: all steps of the first `limit` validation recipes that have a triplet to score.

    A step whose ground truth or previous ground truth is missing is generated but not scored.

    Args:
        recipes: of all subsets, in the annotations' order.
        triplets: of all subsets.
        limit: the most recipes; None: all.

    Returns:
        a row a step with the columns of `samples.csv`, in the annotations' order; `scored` is 0 or 1.
    """
    scored = triplets[triplets["subset"] == "validation"].set_index("sample_id")
    chosen = [r for r in recipes if r.subset == "validation" and (scored["video_id"] == r.video_id).any()][:limit]
    rows = []
    for recipe in chosen:
        for step in recipe.steps:
            key = f"{recipe.video_id}_{step.step:02d}"
            pair = tuple(scored.loc[key, ["image", "previous_image"]]) if key in scored.index else ("", "")
            about = (key, recipe.recipe_type, recipe.video_id, step.step, step.sentence)
            rows.append((*about, *pair, int(key in scored.index)))
    return pd.DataFrame(rows, columns=COLUMNS)


def generate_with_model(table: pd.DataFrame, sampler: Sampler, batch_size: int, folder: Path) -> None:
    """Generate a plan with the trained model: autoregressively, teacher-forced, and from a wrong previous image.

    Args:
        table: see `plan`.
        sampler: the trained model.
        batch_size: images generated at once.
        folder: images go to `<set>/<sample_id>.png` below it; batches that are there already are not generated again.
    """
    scored = table[table["scored"] == 1]
    for name in (AUTOREGRESSIVE, TEACHER_FORCED, WRONG_PREVIOUS):  # a single recipe has no wrong image
        (folder / name).mkdir(parents=True, exist_ok=True)

    def own(rows: pd.DataFrame) -> list[np.ndarray | None]:
        before = [folder / AUTOREGRESSIVE / f"{row.video_id}_{row.step - 1:02d}.png" for row in rows.itertuples()]
        return [images.read(path) if step else None for path, step in zip(before, rows["step"], strict=True)]

    def wrong(rows: pd.DataFrame) -> list[np.ndarray]:
        return [images.read(other_recipe(table, key, sampler.seed)) for key in rows["sample_id"]]

    # All recipes' k-th steps form a batch, so that the image of the step before is there. These follow each other.
    steps = [rows for _, rows in table.groupby("step")]
    chain = [batch for rows in steps for batch in _batches(AUTOREGRESSIVE, rows, batch_size, _with(sampler, own))]
    independent = _batches(TEACHER_FORCED, scored, batch_size, _with(sampler, _ground_truth))
    if scored["video_id"].nunique() > 1:
        independent += _batches(WRONG_PREVIOUS, scored, batch_size, _with(sampler, wrong))
    _generate([chain, *([batch] for batch in independent)], sampler.pipeline.device, folder, "sample")


def generate_baselines(table: pd.DataFrame, sampler: Sampler, batch_size: int, folder: Path) -> None:
    """Generate what needs a network and no training: the untouched backbone, and the VAE's round trip.

    Args:
        table: see `plan`.
        sampler: the untouched backbone, see `untouched_backbone`.
        batch_size, folder: see `generate_with_model`.
    """
    scored = table[table["scored"] == 1]

    def round_trip(rows: pd.DataFrame) -> np.ndarray:
        return _round_trip(sampler.pipeline, [images.read(path) for path in rows["image"]])

    batches = _batches(UNTOUCHED_BACKBONE, scored, batch_size, _with(sampler, _ground_truth))
    batches += _batches(VAE_ROUND_TRIP, scored, batch_size, round_trip)
    _generate([[batch] for batch in batches], sampler.pipeline.device, folder, "baselines")


def untouched_backbone(backbone: Backbone, pixels: int, blank: str) -> RecipePipeline:
    """The backbone as a pipeline that uses the sentence alone; `pixels` and `blank` as for `assemble`."""
    shapes = fuser_shapes(backbone.folder, backbone.folder / "clip", condition_tokens=1)
    pipeline = assemble(backbone, Conditioner("baseline", {}, **asdict(shapes)), backbone.unet, pixels, blank)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _with(sampler: Sampler, previous: Callable[[pd.DataFrame], Sequence[np.ndarray | None]]):
    """A function that generates rows from the previous images that `previous` gives."""
    return lambda rows: sampler.generate(rows["sample_id"].tolist(), rows["sentence"].tolist(), previous(rows))


def _ground_truth(rows: pd.DataFrame) -> list[np.ndarray | None]:
    return [images.read(path) if path else None for path in rows["previous_image"]]


def _batches(set_name: str, rows: pd.DataFrame, batch_size: int, generate: Callable) -> list[Batch]:
    starts = range(0, len(rows), batch_size)
    return [Batch(set_name, rows.iloc[start : start + batch_size], generate) for start in starts]


def _generate(chains: Sequence[Sequence[Batch]], device: torch.device, folder: Path, label: str) -> None:
    """Generate chains of batches and save the images. Chains run at the same time, the batches of one in turn."""
    chains = [[b for b in chain if not all(path.exists() for path in b.paths(folder))] for chain in chains]
    total = sum(len(batch.rows) for chain in chains for batch in chain)
    for chain in chains:
        for batch in chain:
            (folder / batch.set_name).mkdir(parents=True, exist_ok=True)
    counting, failed = Lock(), Event()
    with meter(label, total) as progress:

        def save(batch: Batch) -> None:
            for path, image in zip(batch.paths(folder), batch.generate(batch.rows), strict=True):
                with files.replacing(path) as temporary:
                    Image.fromarray(image).save(temporary)
            with counting:
                progress.advance(len(batch.rows), batch.set_name)

        def run(chain: Sequence[Batch]) -> None:
            try:
                for batch in chain:
                    if failed.is_set():  # otherwise the error would show when the longest chain ends
                        return
                    save(batch)
            except BaseException:
                failed.set()
                raise

        for _ in in_order(run, chains, threads(device.type), ahead=len(chains)):
            pass


@torch.no_grad()
def _round_trip(pipeline: RecipePipeline, truth: Sequence[np.ndarray]) -> np.ndarray:
    """Images through the VAE and back, uint8 [b, h, w, 3]: the upper bound for any latent model."""
    scaling = LatentScaling(pipeline.vae.config, pipeline.device)
    latents = pipeline.vae.encode(images.to_vae(truth).to(pipeline.device)).latent_dist.mean
    return images.from_vae(pipeline.decode(scaling.scale(latents)))
