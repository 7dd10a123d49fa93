"""Compare guidance scales and numbers of steps on training recipes that the model has not seen.

    dvc exp run -S dataset.kitchen.training_videos=105 -S train.dropout_both=0.1
    python -m scripts.choose_guidance --count 15 --guidance 1 --guidance 1.5 --guidance 2

The toy kitchen renders the same recipes whatever their number. So the recipes after the first 105 belong to the demo's
training set, but not to this model's, and the validation recipes stay untouched. The ground truth is rendered directly,
a little sharper than the frames of a video. `counter` and `vessel` are the shares of images in which these have the
right colour.
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
from recipevis.backbone.judges import Judge, open_judge
from recipevis.evaluation import metrics, similarity
from recipevis.evaluation.rows import MODES
from recipevis.kitchen import recipes
from recipevis.kitchen.drawing import rendering
from recipevis.sampling.pipeline import load_pipeline
from recipevis.sampling.sampler import Sampler


def main(
    model: Annotated[Path, typer.Option(help="the trained pipeline")] = Path("models/recipevis"),
    clip: Annotated[Path, typer.Option(help="the CLIP that measures")] = Path("models/encoder"),
    settings: Annotated[Path, typer.Option(help="the parameters of its training")] = Path("params.yaml"),
    count: Annotated[int, typer.Option(help="how many recipes to generate")] = 15,
    guidance: Annotated[list[float], typer.Option(help="guidance scales of the sentence to try")] = (1,),
    image_guidance: Annotated[list[float], typer.Option(help="guidance scales of the image; -1: the same")] = (-1,),
    steps: Annotated[list[int], typer.Option(help="numbers of steps to try")] = (1, 2, 3, 5, 12),
) -> None:
    """Generate the recipes with every combination, autoregressively and teacher-forced, and print the scores."""
    trained = config.load(settings)
    first = trained.dataset.kitchen.training_videos
    numbers = range(first, first + count)
    dataset = trained.dataset
    unseen = [recipes.recipe(dataset.seed, f"training-{number:04d}", dataset.kitchen.camera_cuts) for number in numbers]
    pipeline, encoder = load_pipeline(model, "cpu"), open_judge(clip, "cpu")
    header = True
    for scale, given, number in product(guidance, image_guidance, steps):
        image_scale = scale if given < 0 else given
        sampler = Sampler(pipeline, trained.seed, number, scale, image_scale)
        for mode in MODES:
            scores = _scores(*_generate(sampler, unseen, mode == MODES[0]), encoder)
            row = {"guidance": scale, "image_guidance": image_scale, "steps": number, "mode": mode} | scores
            print(pd.DataFrame([row]).round(3).to_string(index=False, header=header), flush=True)
            header = False


def _generate(
    sampler: Sampler, unseen: list[recipes.KitchenRecipe], autoregressive: bool
) -> tuple[list[np.ndarray], list[recipes.Scene]]:
    """Every step of the recipes: the generated image, and the scene that it should show."""
    generated, scenes, previous, first = [], [], [None] * len(unseen), [None] * len(unseen)
    for number in range(max(len(recipe.steps) for recipe in unseen)):
        there = [index for index, recipe in enumerate(unseen) if number < len(recipe.steps)]
        steps = [unseen[index].steps[number] for index in there]
        keys = [f"{index}_{number}" for index in there]
        sentences = [step.sentence for step in steps]
        shown = [previous[index] for index in there], [first[index] for index in there]
        images = sampler.generate(keys, sentences, *shown)
        for index, step, image in zip(there, steps, images, strict=True):
            generated.append(image)
            scenes.append(step.done)
            previous[index] = image if autoregressive else rendering.picture(step.done)
            first[index] = previous[index] if number == 0 else first[index]
    return generated, scenes


def _scores(generated: list[np.ndarray], scenes: list[recipes.Scene], encoder: Judge) -> dict[str, float]:
    """Means over images."""
    pairs = list(zip(generated, map(rendering.picture, scenes), strict=True))
    vectors = zip(*(encoder.images(part)["pooled"] for part in zip(*pairs, strict=True)), strict=True)
    shown = list(zip(generated, scenes, strict=True))
    values = {
        "psnr": [metrics.psnr(*pair) for pair in pairs],
        "ssim": [similarity.gaussian(*pair) for pair in pairs],
        "encoder_l2": [metrics.l2(*pair) for pair in vectors],
        "counter": [nearest_colour(image, scene, "counter") == scene.counter for image, scene in shown],
        "vessel": [nearest_colour(image, scene, "colour") == scene.colour for image, scene in shown],
    }
    return {name: float(np.mean(value)) for name, value in values.items()}


def nearest_colour(generated: np.ndarray, scene: recipes.Scene, part: str) -> str:
    """The palette's colour that is nearest to a part of an image.

    Args:
        generated: uint8 [h, w, 3], of this scene.
        scene: what the image should show.
        part: `counter`, or `colour` for the vessel.

    Returns:
        the name of the colour in which the part's rendering has the nearest mean.
    """
    shown, means = _colours(scene, part)
    return min(means, key=lambda colour: np.abs(generated[shown].mean(0) - means[colour]).sum())


@cache
def _colours(scene: recipes.Scene, part: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Where the colour of a part shows, bool [h, w], and the mean there, [3], of each colour's rendering."""
    rendered = {colour: rendering.picture(replace(scene, **{part: colour})) for colour in recipes.COLOURS}
    shown = np.ptp(np.stack(list(rendered.values())), axis=0).max(axis=2) > 40  # grey levels
    return shown, {colour: image[shown].mean(0) for colour, image in rendered.items()}


if __name__ == "__main__":
    typer.run(main)
