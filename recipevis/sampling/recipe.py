"""Whole recipes for applications: `draw_recipe` gives each image as soon as it is there, `draw_recipes` draws several.

No stage uses this file; a stage's recipes are in `rollout`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from recipevis import images
from recipevis.errors import ParameterError
from recipevis.sampling import photo
from recipevis.sampling.pipeline import InputImage, RecipePipeline
from recipevis.sampling.sampler import Sampler, generate_recipe


def draw_recipe(
    pipeline: RecipePipeline,
    prompts: Sequence[str],
    seed: int = 0,
    first_image: InputImage | None = None,
    kept: Sequence[InputImage] = (),
    safety_checker: Callable[[np.ndarray], np.ndarray] | None = None,
    **settings: Any,
) -> Iterator[Image.Image]:
    """Draw a recipe: an image for each step, from its sentence and the image before it.

    Args:
        pipeline: the model.
        prompts: the sentence of each step.
        seed: the same seed gives the same images, also from `recipevis generate --seed`.
        first_image: a photo from which the first step is drawn: a PIL image of any size and mode, or what
            `RecipePipeline.__call__` takes. None: the first step has the blank image before it.
        kept: images of the first steps, which are not drawn again; then the steps after them are drawn.
        safety_checker: what is yielded passes through it, for example `safety.SafetyChecker`; None: none.
        settings: `num_inference_steps`, `guidance_scale` and `image_guidance_scale`, as for `RecipePipeline.__call__`;
            `precision`, `fp32` or `bf16`.

    Yields:
        the image of each step that is drawn, as soon as it is there.

    Raises:
        ParameterError: there is no sentence, or more images are kept than there are steps; otherwise as for
            `RecipePipeline.__call__`.
    """
    prompts = _checked(prompts)
    if len(kept) > len(prompts):
        raise ParameterError(f"{len(kept)} images to keep of {len(prompts)} steps: keep at most one a step")
    shown = None if first_image is None else as_photo(first_image)
    drawn = generate_recipe(Sampler(pipeline, seed, **settings), prompts, shown, [as_photo(one) for one in kept])
    return map(Image.fromarray, map(safety_checker, drawn) if safety_checker else drawn)


def draw_recipes(
    pipeline: RecipePipeline,
    recipes: Sequence[Sequence[str]],
    seed: int = 0,
    first_images: Sequence[InputImage | None] | None = None,
    **settings: Any,
) -> list[list[Image.Image]]:
    """Draw several recipes together: their first steps are one batch, then their second steps, and so on.

    Each recipe has the images that `draw_recipe` gives it, within rounding: a batch of another size may round
    differently.

    Args:
        pipeline: the model.
        recipes: the sentences of each recipe; the recipes may have different lengths.
        seed: of all recipes, see `draw_recipe`.
        first_images: the photo of each recipe, see `draw_recipe`; None for one that has none.
        settings: see `draw_recipe`.

    Returns:
        the images of each recipe's steps.

    Raises:
        ParameterError: a recipe has no sentence, or the number of photos is not that of the recipes.
    """
    recipes = [_checked(prompts) for prompts in recipes]
    given = [None] * len(recipes) if first_images is None else list(first_images)
    if len(given) != len(recipes):
        raise ParameterError(f"{len(given)} first images for {len(recipes)} recipes: give one each, or None")
    photos = [None if one is None else as_photo(one) for one in given]
    sampler, drawn = Sampler(pipeline, seed, **settings), [[] for _ in recipes]
    for step in range(max(map(len, recipes), default=0)):
        numbers = [number for number, prompts in enumerate(recipes) if step < len(prompts)]
        pictures = sampler.generate(
            [str(step)] * len(numbers),
            [recipes[number][step] for number in numbers],
            [drawn[number][-1] if step else photos[number] for number in numbers],
            [drawn[number][0] if step else None for number in numbers],
        )
        for number, picture in zip(numbers, pictures, strict=True):
            drawn[number].append(picture)
    return [[Image.fromarray(picture) for picture in pictures] for pictures in drawn]


def as_photo(image: InputImage) -> np.ndarray:
    """A photo as uint8 RGB [h, w, 3]; a PIL image is made upright, see `photo.upright`."""
    return photo.upright(image) if isinstance(image, Image.Image) else images.as_uint8(image)


def _checked(prompts: Sequence[str]) -> list[str]:
    if isinstance(prompts, str) or not len(prompts):
        raise ParameterError(f"prompts = {prompts!r}: must be a list of sentences, one for each step")
    return list(prompts)
