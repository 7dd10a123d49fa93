"""Measures of a generated sequence: sharpness, copying, consistency of neighbouring steps, faithfulness to the text.

Images are uint8 RGB [h, w, 3], vectors an encoder's, float [d].
"""

from collections.abc import Sequence

import numpy as np

from recipevis.evaluation.similarity import gaussian as ssim
from recipevis.randomness import numpy_generator


def gradient_energy(image: np.ndarray) -> float:
    """The mean squared difference of neighbouring pixels, grey levels²; the mean over both directions and channels."""
    levels = image.astype(np.float64)
    return float((np.diff(levels, axis=0) ** 2).mean() + (np.diff(levels, axis=1) ** 2).mean()) / 2


def sharpness(generated: np.ndarray, truth: np.ndarray) -> float:
    """The gradient energy of an image by that of its ground truth: 1 is as sharp, below 1 blurred, above 1 noisy.

    NaN where the ground truth has a single colour.
    """
    energy = gradient_energy(truth)
    return gradient_energy(generated) / energy if energy else float("nan")


def copy_rate(generated: np.ndarray, before: np.ndarray, truth: np.ndarray, truth_before: np.ndarray) -> float:
    """How close an image is to the one before it, against how close the truth is: the difference of the two SSIMs.

    In [-2, 2]: 0 is as much change as in truth; above 0 the image changes too little, as a copy does.
    """
    return ssim(generated, before) - ssim(truth, truth_before)


def consistency(generated: np.ndarray, before: np.ndarray, truth: np.ndarray, truth_before: np.ndarray) -> float:
    """The cosine of an image and the one before it, minus that of the truth; vectors [d].

    In [-2, 2]: 0 is as much change as in truth; above 0 neighbouring steps are too much alike.
    """
    return float(_cosines(generated, before[None])[0] - _cosines(truth, truth_before[None])[0])


def absolute_consistency(
    generated: np.ndarray, before: np.ndarray, truth: np.ndarray, truth_before: np.ndarray
) -> float:
    """The size of `consistency`, so that copies and breaks don't cancel each other in a mean."""
    return abs(consistency(generated, before, truth, truth_before))


def step_faithfulness(image: np.ndarray, own: np.ndarray, others: np.ndarray) -> float:
    """The share of a recipe's other sentences that fit an image worse than the sentence of its step.

    By chance it is 0.5, however long the recipe is: equal sentences count a half.

    Args:
        image: its vector [d], from an image-text encoder.
        own: the vector of its sentence [d].
        others: those of the recipe's other sentences [n, d]; NaN without any.
    """
    if not len(others):
        return float("nan")
    mine, theirs = _cosines(image, own[None])[0], _cosines(image, others)
    return float((mine > theirs).mean() + (mine == theirs).mean() / 2)


def goal_faithfulness(image: np.ndarray, own: np.ndarray, others: np.ndarray) -> float:
    """Whether an image fits its recipe type best: 1 or 0, shared with types that fit as well.

    By chance it is 1 / (n + 1). NaN without other types. Arguments as for `step_faithfulness`, of types.
    """
    if not len(others):
        return float("nan")
    mine, theirs = _cosines(image, own[None])[0], _cosines(image, others)
    return 0.0 if (theirs > mine).any() else 1 / (1 + int((theirs == mine).sum()))


def type_vectors(types: Sequence[str], vectors: np.ndarray) -> dict[str, np.ndarray]:
    """A vector of each recipe type: the mean direction of the sentences of its recipes, float32 [d].

    YouCook2's types are numbers, so their names say nothing.

    Args:
        types: the recipe type of each sentence.
        vectors: of the sentences, [n, d].
    """
    unit, kinds = _unit(vectors.astype(np.float64)), np.asarray(types)
    return {kind: _unit(unit[kinds == kind].mean(0)[None])[0].astype(np.float32) for kind in sorted(set(types))}


def other_types(own: str, types: Sequence[str], seed: int, key: str, count: int = 3) -> list[str]:
    """Recipe types to compare an image's own with; they depend on the seed and the key alone.

    Args:
        own: its type.
        types: all types, in order.
        seed, key: of the choice.
        count: how many; fewer if there are not as many.
    """
    others = [kind for kind in types if kind != own]
    chosen = numpy_generator(seed, "other_types", key).permutation(len(others))[:count]
    return [others[number] for number in chosen]


def _cosines(vector: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The cosines of a vector [d] and others [n, d], computed alike for equal ones, so that ties are ties."""
    vector, others = vector.astype(np.float64), others.astype(np.float64)
    norms = np.linalg.norm(vector) * np.sqrt((others**2).sum(1))
    return (others * vector).sum(1) / np.maximum(norms, 1e-12)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
