"""Generate images with a model and its sampling settings: a batch of steps, or one recipe.

The noise of an image depends on the seed and its key alone: it is the same in every set of images and for every fuser.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from recipevis.randomness import generator
from recipevis.sampling.pipeline import RecipePipeline


@dataclass(frozen=True)
class Sampler:
    """A model and its sampling settings, see `RecipePipeline.__call__`; None: the model's default."""

    pipeline: RecipePipeline
    seed: int
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    image_guidance_scale: float | None = None
    precision: str = "fp32"

    def generate(
        self,
        keys: Sequence[str],
        prompts: Sequence[str],
        previous: Sequence[np.ndarray | None] | None = None,
        first: Sequence[np.ndarray | None] | None = None,
    ) -> list[np.ndarray]:
        """Generate images, uint8 [h, w, 3] each.

        Args:
            keys: names of the images; the noise of each depends on the seed and its key.
            prompts: a sentence each.
            previous: the previous image of each, uint8 [h, w, 3], or None for one that is blank. None in place of the
                list: every previous image is dropped, as in training.
            first: the image of each one's first step, likewise; None for the previous one.
        """
        generated = self.pipeline(
            list(prompts),
            None if previous is None else list(previous),
            [generator(self.seed, "sample", key) for key in keys],
            self.num_inference_steps,
            self.guidance_scale,
            self.image_guidance_scale,
            first_image=None if first is None else list(first),
            drop_image=previous is None,
            precision=self.precision,
        )
        return [np.asarray(image) for image in generated.images]


def generate_recipe(
    sampler: Sampler,
    sentences: Sequence[str],
    first_image: np.ndarray | None = None,
    kept: Sequence[np.ndarray] = (),
) -> Iterator[np.ndarray]:
    """Generate one recipe autoregressively: yields an image a sentence, uint8 [h, w, 3], as soon as it is there.

    Args:
        sampler: the model, and the seed. The noise of a step depends on the seed and the step's number alone.
        sentences: of all steps.
        first_image: the previous image of the first step, uint8 [h, w, 3]: a photo that the recipe starts from. None:
            it is blank.
        kept: the images of the first steps, uint8 [h, w, 3] each, which are not generated again; the steps after them
            are yielded.
    """
    first, previous = (kept[0], kept[-1]) if len(kept) else (None, first_image)
    for step in range(len(kept), len(sentences)):
        (previous,) = sampler.generate([str(step)], [sentences[step]], [previous], [first])
        first = previous if first is None else first
        yield previous
