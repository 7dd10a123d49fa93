"""Drawing recipes step by step: autoregressively (each from the image drawn before) and teacher-forced.

Pictures lie on disk as PNG, so the image before is always the one rounded to uint8, and an interrupted rollout goes
on after its last whole batch. The noise of a picture depends on the seed and its sample alone: the same in every mode
and for every fuser.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors import SafetensorError

from recipevis import images
from recipevis.config import FUSERS
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
from recipevis.errors import InputError
from recipevis.model.conditions import Conditioner
from recipevis.model.networks import Backbone, configuration
from recipevis.randomness import generator
from recipevis.sampling.controls import other_recipe
from recipevis.sampling.pipeline import RecipePipeline, assemble


@dataclass(frozen=True)
class Sampler:
    """A model and how it is asked to draw: see `RecipePipeline.__call__`."""

    pipeline: RecipePipeline
    seed: int
    steps: int
    guidance: float
    image_guidance: float | None

    def draw(self, keys: Sequence[str], sentences: Sequence[str], previous: Sequence[np.ndarray]) -> np.ndarray:
        """Pictures, uint8 [b, h, w, 3]; the noise of each depends on the seed and its key."""
        generators = [generator(self.seed, "sample", key) for key in keys]
        return self.pipeline(sentences, previous, generators, self.steps, self.guidance, self.image_guidance)


def load_pipeline(folder: Path, device: str | torch.device) -> RecipePipeline:
    """The model that the stage `train` saved.

    Raises:
        InputError: the folder isn't a RecipeVis model.
    """
    if not (folder / "model_index.json").is_file() or not (folder / "conditioner").is_dir():
        raise InputError(f"{folder}: not a RecipeVis model: needs model_index.json and conditioner/, as `train` saves")
    fuser = configuration(folder / "conditioner")["fuser"]
    if fuser not in FUSERS:
        raise InputError(f"{folder}: its fuser {fuser!r} is not here; there are {', '.join(FUSERS)}")
    try:
        pipeline = RecipePipeline.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{folder}: not a whole RecipeVis model: {' '.join(str(error).split())}") from error
    for part in ("conditioner", "unet", "vae"):  # diffusers leaves a weight that the file lacks without a value
        missing = [name for name, weight in getattr(pipeline, part).named_parameters() if weight.is_meta]
        if missing:
            raise InputError(f"{folder}: not a whole RecipeVis model: {part} lacks the weight {missing[0]}")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def draw_recipe(sampler: Sampler, sentences: Sequence[str]) -> Iterator[np.ndarray]:
    """Draw one recipe autoregressively: a picture a sentence, uint8 [h, w, 3], each as soon as it is drawn."""
    previous = sampler.pipeline.blank_image
    for step, sentence in enumerate(sentences):
        previous = sampler.draw([str(step)], [sentence], [previous])[0]
        yield previous


def plan(recipes: Sequence[Recipe], triplets: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """The steps to draw: all of the first `limit` validation recipes that have a triplet to be scored against.

    A step without a true frame, or whose previous one is missing, is drawn but not scored.

    Args:
        recipes: of all subsets, in the annotations' order.
        triplets: of all subsets.
        limit: at most so many recipes; None: all.

    Returns:
        A row a step with the columns `COLUMNS`, in the annotations' order; `scored` is 0 or 1.
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


def draw_all(table: pd.DataFrame, sampler: Sampler, backbone: Backbone, batch_size: int, folder: Path) -> None:
    """Draw a plan in every way that the evaluation compares, into `<way>/<sample_id>.png` below `folder`.

    Args:
        table: see `plan`.
        sampler: the trained model.
        backbone: the untouched networks; what they draw from the sentence alone, with the same sampler, is a floor.
        batch_size: pictures drawn at once.
        folder: what is there already as a whole batch isn't drawn again.
    """
    scored = table[table["scored"] == 1]
    untouched = _text_to_image(sampler, backbone)
    blank = sampler.pipeline.blank_image

    def true_previous(rows: pd.DataFrame) -> list[np.ndarray]:
        return [images.read(path) if path else blank for path in rows["previous_image"]]

    def wrong_previous(rows: pd.DataFrame) -> list[np.ndarray]:
        return [images.read(other_recipe(table, key, sampler.seed)) for key in rows["sample_id"]]

    def drawn_previous(rows: pd.DataFrame) -> list[np.ndarray]:
        before = [folder / AUTOREGRESSIVE / f"{r.video_id}_{r.step - 1:02d}.png" for r in rows.itertuples()]
        return [images.read(path) if step else blank for path, step in zip(before, rows["step"], strict=True)]

    def with_model(previous: Callable[[pd.DataFrame], list[np.ndarray]], which: Sampler = sampler):
        return lambda rows: which.draw(rows["sample_id"].tolist(), rows["sentence"].tolist(), previous(rows))

    def round_trip(rows: pd.DataFrame) -> np.ndarray:
        return _round_trip(sampler.pipeline, [images.read(path) for path in rows["image"]])

    batches = [
        (way, rows.iloc[first : first + batch_size], draw)
        for way, groups, draw in (
            (AUTOREGRESSIVE, [rows for _, rows in table.groupby("step")], with_model(drawn_previous)),
            (TEACHER_FORCED, [scored], with_model(true_previous)),
            (WRONG_PREVIOUS, [scored] if scored["video_id"].nunique() > 1 else [], with_model(wrong_previous)),
            (UNTOUCHED_BACKBONE, [scored], with_model(true_previous, untouched)),
            (VAE_ROUND_TRIP, [scored], round_trip),
        )
        for rows in groups  # all recipes' k-th steps are one batch, so that the image before is always drawn
        for first in range(0, len(rows), batch_size)
    ]
    missing = [batch for batch in batches if not all(path.exists() for path in _paths(folder, *batch[:2]))]
    total, left = (sum(len(rows) for _, rows, _ in some) for some in (batches, missing))
    # A step is drawn from the one before, so these batches follow each other; all others are independent.
    chain = [batch for batch in missing if batch[0] == AUTOREGRESSIVE]
    chains = [chain, *([batch] for batch in missing if batch[0] != AUTOREGRESSIVE)]
    counting = Lock()
    with meter("sample", total, total - left) as progress:

        def draw_chain(chain: list) -> None:
            for way, rows, draw in chain:
                for path, picture in zip(_paths(folder, way, rows), draw(rows), strict=True):
                    with files.replacing(path) as temporary:
                        Image.fromarray(picture).save(temporary)
                with counting:
                    progress.advance(len(rows), way)

        for _ in in_order(draw_chain, chains, threads(sampler.pipeline.device.type)):
            pass


def _paths(folder: Path, way: str, rows: pd.DataFrame) -> list[Path]:
    """Where the pictures of these steps lie, drawn in one way."""
    return [folder / way / f"{key}.png" for key in rows["sample_id"]]


def _text_to_image(sampler: Sampler, backbone: Backbone) -> Sampler:
    """The untouched backbone, always on text tokens, asked in the same way."""
    config = sampler.pipeline.config
    conditioner = Conditioner("baseline", 1, True, **asdict(backbone.shapes(condition_tokens=1)))
    pipeline = assemble(backbone, conditioner, backbone.unet, config.pixels, config.blank)
    pipeline.set_progress_bar_config(disable=True)
    return Sampler(pipeline, sampler.seed, sampler.steps, sampler.guidance, sampler.image_guidance)


@torch.no_grad()
def _round_trip(pipeline: RecipePipeline, pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures through the VAE and back, uint8 [b, h, w, 3]: the best that any latent model can draw."""
    latents = pipeline.vae.encode(images.to_vae(pictures).to(pipeline.device)).latent_dist.mean
    return pipeline.decode(latents * pipeline.vae.config.scaling_factor)
