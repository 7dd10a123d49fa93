"""Which guidance and how many steps draw best? Asked on training recipes that the model was not shown.

    dvc exp run -S dataset.kitchen.training_videos=105
    python -m scripts.choose_guidance --count 15

The toy kitchen renders the same recipes whatever their number, so those that follow the 105 are the committed demo's
training recipes, but not this model's. The validation recipes are left for the evaluation. Pictures are compared as
they are rendered, not as they come out of a video, which are a little softer.
"""

from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from recipevis import metrics, parameters, rollout
from recipevis.backbone import ClipImages
from recipevis.fusers import FUSERS
from recipevis.kitchen import recipes, rendering


def main(
    model: Annotated[Path, typer.Option(help="what the stage `train` left")] = Path("models/recipevis"),
    clip: Annotated[Path, typer.Option(help="the CLIP that measures")] = Path("models/encoder"),
    settings: Annotated[Path, typer.Option(help="the parameters it was trained with")] = Path("params.yaml"),
    count: Annotated[int, typer.Option(help="how many of the recipes after the training recipes to draw")] = 15,
    guidance: Annotated[list[float], typer.Option(help="scales of the sentence to try")] = (1, 1.5, 2),
    image_guidance: Annotated[list[float], typer.Option(help="scales of the image; -1: the same")] = (-1,),
    steps: Annotated[list[int], typer.Option(help="numbers of steps to try")] = (1, 2, 3, 5, 12),
) -> None:
    """Draw held-out recipes autoregressively and teacher-forced in each way, and print the scores."""
    trained = parameters.load(settings, FUSERS)
    first = trained.dataset.kitchen.training_videos
    numbers = range(first, first + count)
    made = [recipes.recipe(trained.dataset.seed, f"training-{number:04d}") for number in numbers]
    pipeline = rollout.load_pipeline(model, "cpu")
    encoder = ClipImages(clip, "cpu")
    rows = []
    for scale, image_scale, number in product(guidance, image_guidance, steps):
        sampler = rollout.Sampler(pipeline, trained.seed, number, scale, None if image_scale < 0 else image_scale)
        for mode in ("autoregressive", "teacher_forced"):
            pairs = _draw(sampler, made, mode == "autoregressive")
            vectors = encoder.pooled([picture for pair in pairs for picture in pair])
            rows.append(
                {
                    "guidance": scale,
                    "image_guidance": scale if image_scale < 0 else image_scale,
                    "steps": number,
                    "mode": mode,
                    "psnr": np.mean([metrics.psnr(*pair) for pair in pairs]),
                    "ssim": np.mean([metrics.ssim(*pair) for pair in pairs]),
                    "encoder_l2": np.mean(
                        [metrics.clip_l2(*pair) for pair in zip(vectors[::2], vectors[1::2], strict=True)]
                    ),
                }
            )
            print(pd.DataFrame(rows[-1:]).round(3).to_string(index=False, header=len(rows) == 1), flush=True)


def _draw(
    sampler: rollout.Sampler, made: list[recipes.KitchenRecipe], autoregressive: bool
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every step of the recipes, as drawn and as it is."""
    pairs, previous = [], [sampler.pipeline.blank_image] * len(made)
    for number in range(max(len(recipe.steps) for recipe in made)):
        there = [index for index, recipe in enumerate(made) if number < len(recipe.steps)]
        steps = [made[index].steps[number] for index in there]
        keys = [f"{index}_{number}" for index in there]
        drawn = sampler.draw(keys, [step.sentence for step in steps], [previous[index] for index in there])
        for index, step, picture in zip(there, steps, drawn, strict=True):
            true = rendering.picture(step.done)
            pairs.append((picture, true))
            previous[index] = picture if autoregressive else true
    return pairs


if __name__ == "__main__":
    typer.run(main)
