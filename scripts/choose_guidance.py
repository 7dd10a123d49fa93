"""Which guidance and how many steps draw best? Asked on training recipes that the model was not shown.

    dvc exp run -S dataset.kitchen.training_videos=105
    python -m scripts.choose_guidance --count 15

The toy kitchen renders the same recipes whatever their number, so those that follow the 105 are the committed demo's
training recipes, but not this model's. The validation recipes are left for the evaluation. Pictures are compared as
they are rendered, not as they come out of a video, which are a little softer. `counter` and `vessel` are the shares of
pictures in which these have their true colour.
"""

from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from recipevis import config
from recipevis.evaluation import metrics, scores
from recipevis.kitchen import recipes
from recipevis.kitchen.drawing import rendering
from recipevis.model.networks import ClipImages
from recipevis.sampling import rollout


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
    trained = config.load(settings)
    first = trained.dataset.kitchen.training_videos
    numbers = range(first, first + count)
    made = [recipes.recipe(trained.dataset.seed, f"training-{number:04d}") for number in numbers]
    pipeline = rollout.load_pipeline(model, "cpu")
    encoder = ClipImages(clip, "cpu")
    rows = []
    for scale, image_scale, number in product(guidance, image_guidance, steps):
        sampler = rollout.Sampler(pipeline, trained.seed, number, scale, None if image_scale < 0 else image_scale)
        for mode in scores.MODES:
            way = {"guidance": scale, "image_guidance": scale if image_scale < 0 else image_scale, "steps": number}
            rows.append(way | {"mode": mode} | _scores(*_draw(sampler, made, mode == scores.MODES[0]), encoder))
            print(pd.DataFrame(rows[-1:]).round(3).to_string(index=False, header=len(rows) == 1), flush=True)


def _draw(
    sampler: rollout.Sampler, made: list[recipes.KitchenRecipe], autoregressive: bool
) -> tuple[list[np.ndarray], list[recipes.Scene]]:
    """Every step of the recipes: as drawn, and what should be seen."""
    drawn, scenes, previous = [], [], [sampler.pipeline.blank_image] * len(made)
    for number in range(max(len(recipe.steps) for recipe in made)):
        there = [index for index, recipe in enumerate(made) if number < len(recipe.steps)]
        steps = [made[index].steps[number] for index in there]
        keys = [f"{index}_{number}" for index in there]
        pictures = sampler.draw(keys, [step.sentence for step in steps], [previous[index] for index in there])
        for index, step, picture in zip(there, steps, pictures, strict=True):
            drawn.append(picture)
            scenes.append(step.done)
            previous[index] = picture if autoregressive else rendering.picture(step.done)
    return drawn, scenes


def _scores(drawn: list[np.ndarray], scenes: list[recipes.Scene], encoder: ClipImages) -> dict[str, float]:
    """Means over pictures."""
    pairs = list(zip(drawn, map(rendering.picture, scenes), strict=True))
    vectors = zip(*map(encoder.pooled, zip(*pairs, strict=True)), strict=True)
    scores = {
        "psnr": [metrics.psnr(*pair) for pair in pairs],
        "ssim": [metrics.ssim(*pair) for pair in pairs],
        "encoder_l2": [metrics.clip_l2(*pair) for pair in vectors],
        "counter": [nearest_colour(*pair, "counter") == pair[1].counter for pair in zip(drawn, scenes, strict=True)],
        "vessel": [nearest_colour(*pair, "colour") == pair[1].colour for pair in zip(drawn, scenes, strict=True)],
    }
    return {name: float(np.mean(values)) for name, values in scores.items()}


def nearest_colour(drawn: np.ndarray, scene: recipes.Scene, what: str) -> str:
    """The palette's colour that a part of a picture is nearest to.

    Args:
        drawn: uint8 [h, w, 3], of this scene.
        scene: what should be seen.
        what: `counter`, or `colour` for the vessel.

    Returns:
        the name whose own rendering is nearest in mean colour, where the colours' renderings differ.
    """
    shown, means = _colours(scene, what)
    return min(means, key=lambda colour: np.abs(drawn[shown].mean(0) - means[colour]).sum())


@cache
def _colours(scene: recipes.Scene, what: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Where the colour of a part shows, bool [h, w], and the mean there, [3], of each colour's rendering."""
    rendered = {colour: rendering.picture(replace(scene, **{what: colour})) for colour in recipes.COLOURS}
    shown = np.ptp(np.stack(list(rendered.values())), axis=0).max(axis=2) > 40  # grey levels
    return shown, {colour: picture[shown].mean(0) for colour, picture in rendered.items()}


if __name__ == "__main__":
    typer.run(main)
